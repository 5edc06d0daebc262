"""`manage.py tasker_worker` as a process of its own: its options, every way for a task to end, stopping and dying."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_tasker import tasker
from django_tasker.models import Attempt, Task, TaskLog, Worker
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.end_to_end]


@pytest.fixture
def place(tmp_path: Path):
    """place("name"): a path for a runner to write to, as text."""
    return lambda name: str(tmp_path / name)


def fresh(task: Task) -> Task:
    return Task.objects.get(pk=task.pk)


def wait_for(*tasks: Task, timeout: float = PATIENCE) -> None:
    ids = [task.pk for task in tasks]
    wait_until(lambda: not Task.objects.filter(pk__in=ids, ended_at=None).exists(), timeout)


def wait_for_file(path: str) -> None:
    wait_until(Path(path).exists)


def is_stopping() -> bool:
    return Worker.objects.filter(stopping_at__isnull=False).exists()


def statuses(*tasks: Task) -> list[str]:
    return [fresh(task).status for task in tasks]


def numbers_of_logs(task: Task) -> list[int]:
    return list(TaskLog.objects.filter(task=task).order_by("seq").values_list("seq", flat=True))


def messages(task: Task) -> list[str]:
    return list(TaskLog.objects.filter(task=task).order_by("seq").values_list("message", flat=True))


# -- options ----------------------------------------------------------------------------------------------------------


def test_burst_runs_what_its_options_choose_and_ends(start_worker) -> None:
    chosen = tasker.add_task("describe", queue="fast")
    other_queue = tasker.add_task("describe")
    other_operation = tasker.add_task("noop", queue="fast")
    excluded = tasker.add_task("echo", queue="fast")
    later = tasker.add_task("describe", queue="fast", run_at=timezone.now() + timedelta(hours=1))
    options = ("--queue", "fast", "--operation", "describe", "--operation", "echo", "--exclude", "echo")

    worker = start_worker("--burst", "--executor", "thread", "--name", "chosen-one", *options)

    assert worker.wait() == 0, worker.output
    assert statuses(chosen, other_queue, other_operation, excluded, later) == ["done", "new", "new", "new", "new"]
    assert fresh(chosen).worker_name == "chosen-one"
    assert fresh(chosen).result["pid"] == worker.pid, "a thread of the worker itself"
    assert not Worker.objects.exists()


def test_max_tasks_ends_after_so_many_in_queue_order(start_worker) -> None:
    tasks = tasker.add_tasks([{"operation": "describe", "priority": -n} for n in range(5)])

    worker = start_worker("--max-tasks", "3", "--concurrency", "1", PREFETCH_SECONDS=0)

    assert worker.wait() == 0, worker.output
    assert statuses(*tasks) == ["new", "new", "done", "done", "done"]
    assert fresh(tasks[4]).result["pid"] != worker.pid, "a process of its own"


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--operation", "unknown"], "No runner is assigned to 'unknown'"),
        (["--concurrency", "0"], "must be 1 or more"),
        (["--grace", "-1"], "must be 0 or more"),
        (["--executor", "fiber"], "invalid choice"),
    ],
)
def test_wrong_options_are_refused(start_worker, arguments: list[str], complaint: str) -> None:
    worker = start_worker(*arguments)

    assert worker.wait() != 0
    assert complaint in worker.output
    assert "Traceback" not in worker.output


# -- ends -------------------------------------------------------------------------------------------------------------


def test_every_way_to_end(start_worker, place) -> None:
    """A bad runner costs its own task only: they all share one worker, and two slots."""
    quick = {"retry_delay": 0.05}
    after = timezone.now() + timedelta(seconds=4)
    cases: dict[str, tuple[Task, dict[str, Any]]] = {}

    def case(name: str, operation: str, data: Any = None, options: Any = None, **expected: Any) -> Task:
        cases[name] = tasker.add_task(operation, data, **(options or {})), expected
        return cases[name][0]

    case("done", "echo", {"a": [1, None, "é"]}, status="done", attempt=1, result={"a": [1, None, "é"]})
    fails = case("fails", "succeed-at-attempt", {"at": 9}, {"max_attempts": 3, **quick}, status="failed", attempt=3)
    heals = case("heals", "succeed-at-attempt", {"at": 3}, {"max_attempts": 3, **quick}, status="done", attempt=3)
    case("Retry", "succeed-at-attempt", {"at": 2, "by": "retry"}, {"max_attempts": 2}, status="done", attempt=2)
    postpones = case("Postpone", "postpone-once", {"seen": place("postponed")}, status="done", attempt=1)
    key = case("unserialisable", "unserialisable", status="failed", attempt=1)
    exits = case("exits", "die", {"how": "exit"}, status="failed", losses=3)
    segfaults = case("segfaults", "die", {"how": "segfault"}, status="failed", losses=3)
    dies_once = case("dies once", "die-once", {"seen": place("dead")}, status="done", attempt=1, losses=1)
    cap = case("cap", "log-much", {"count": 30, "size": 1}, status="done", log_count=11)
    slow = case("run_timeout", "loop-for-ever", None, {"run_timeout": 0.3}, status="aborted")
    renewed = {"seen": place("renewed"), "seconds": 5.0}
    case("time begins anew", "postpone-once", renewed, {"run_timeout": 9.0}, status="done", abort_reason=None)
    on_time = case("run_at", "noop", None, {"run_at": after, "priority": -1}, status="done")
    start_worker("--concurrency", "2", ABORT_GRACE=0.3, LOG_MAX_ENTRIES=10)

    wait_for(*(task for task, _ in cases.values()), timeout=3 * PATIENCE)

    seen = {name: (fresh(task), expected) for name, (task, expected) in cases.items()}
    assert {name: {key: getattr(task, key) for key in expected} for name, (task, expected) in seen.items()} == {
        name: expected for name, (_, expected) in seen.items()
    }
    assert all(numbers_of_logs(task) == list(range(1, fresh(task).log_count + 1)) for task, _ in cases.values())

    earlier = Attempt.objects.filter(task=fails).order_by("number").values_list("number", "outcome", "error__message")
    assert list(earlier) == [(1, "retried", "attempt 1"), (2, "retried", "attempt 2")]
    assert fresh(fails).error["message"] == "attempt 3"
    ends = [a.ended_at for a in Attempt.objects.filter(task=fails).order_by("number")]
    starts = [Attempt.objects.get(task=fails, number=2).started_at, fresh(fails).started_at]
    pauses = [(start - end).total_seconds() for end, start in zip(ends, starts, strict=True)]
    assert pauses[0] >= 0.045 and pauses[1] >= 0.09, "the delay doubles, and a tenth of it is chance"
    assert Attempt.objects.filter(task=heals, error__type="ValueError").count() == 2
    assert messages(heals) == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]
    assert [a.outcome for a in Attempt.objects.filter(task=postpones)] == ["postponed"]
    assert "items[3]" in fresh(key).error["message"]
    assert messages(exits) == ["about to die"] * 3
    assert [a.outcome for a in Attempt.objects.filter(task=segfaults)] == ["lost"] * 2
    assert fresh(exits).error["type"] == fresh(segfaults).error["type"] == "WorkerLost"
    assert messages(dies_once) == ["life one", "life two"]
    assert messages(cap)[-1] == "20 more log entries were dropped: the task's cap was reached."
    assert fresh(slow).abort_reason == "run_timeout of 0.3 s exceeded"
    assert fresh(on_time).started_at >= after


def test_aborts_end_every_kind_of_runner_and_spare_its_neighbours(start_worker, place) -> None:
    names = ["process", "stubborn", "thread", "coroutine", "neighbour"]
    data = [{"started": place(name), "end": place("end"), "times": 10**9} for name in names]
    operations = ["loop-for-ever", "loop-and-swallow", "thread-loop", "async-log-and-wait", "wait-for-file"]
    *aborted, neighbour = [tasker.add_task(op, d) for op, d in zip(operations, data, strict=True)]
    worker = start_worker("--concurrency", "3", ABORT_GRACE=0.5)
    for entry in data:
        wait_for_file(entry["started"])

    for task in aborted:
        tasker.abort_task(task, reason="enough")
    assert {fresh(task).is_aborting or fresh(task).status == "aborted" for task in aborted} == {True}
    wait_for(*aborted)

    assert [(fresh(task).status, fresh(task).abort_reason) for task in aborted] == [("aborted", "enough")] * 4
    assert messages(aborted[2]) == ["interrupted by RunAborted"]
    assert messages(aborted[3]) == ["cancelled"]
    Path(data[-1]["end"]).touch()
    wait_for(neighbour)
    assert fresh(neighbour).status == "done" and fresh(neighbour).losses == 0
    after = tasker.add_task("noop")
    wait_for(after)
    worker.signal()
    assert worker.wait() == 0, worker.output


def test_queue_timeouts_pauses_and_changes_reach_a_running_worker(start_worker, place) -> None:
    busy = tasker.add_task("wait-for-file", {"started": place("busy"), "end": place("end")})
    start_worker("--concurrency", "1", "--executor", "thread", PREFETCH_SECONDS=0)
    wait_for_file(place("busy"))
    tasker.pause(operation="echo")
    late = tasker.add_task("noop", queue_timeout={"after": 0.2, "then": "abort"})
    ahead = tasker.add_task("describe")
    hurried = tasker.add_task("describe", queue_timeout={"after": 0.2, "then": "prioritize", "priority": -5})
    paused = tasker.add_task("echo", priority=-100)
    wait_for(late)
    wait_until(lambda: fresh(hurried).priority == -5)

    Path(place("end")).touch()
    wait_for(busy, ahead, hurried)

    assert fresh(late).status == "aborted"
    assert fresh(late).abort_reason.startswith("queue_timeout")
    assert fresh(hurried).started_at <= fresh(ahead).started_at
    assert fresh(paused).status == "new"
    tasker.resume(operation="echo")
    wait_for(paused)
    assert fresh(paused).status == "done"


# -- stopping ---------------------------------------------------------------------------------------------------------


def test_stop_gives_grace_then_treats_each_by_its_on_stop(start_worker, place) -> None:
    data = [{"started": place(n), "end": place(f"{n}-end"), "times": 10**9} for n in ("a", "b", "c")]
    ends = tasker.add_task("wait-for-file", data[0])
    postponed = tasker.add_task("loop-and-swallow", data[1])
    aborted = tasker.add_task("loop-and-swallow", data[2], on_stop="abort")
    worker = start_worker("--concurrency", "3", "--grace", "6", ABORT_GRACE=0.3)
    for entry in data:
        wait_for_file(entry["started"])

    worker.signal()
    wait_until(is_stopping)
    not_begun = tasker.add_task("noop", priority=-1)
    Path(data[0]["end"]).touch()

    assert worker.wait() == 0, worker.output
    assert statuses(ends, postponed, aborted, not_begun) == ["done", "new", "aborted", "new"]
    assert fresh(postponed).attempt == 0, "a stop does not count as an attempt"
    assert fresh(aborted).abort_reason == "the worker stopped"
    assert not Worker.objects.exists()


def test_second_signal_skips_the_wait(start_worker, place) -> None:
    task = tasker.add_task("wait-for-file", {"started": place("started"), "end": place("never")})
    worker = start_worker("--concurrency", "1", "--grace", "600", ABORT_GRACE=0.3)
    wait_for_file(place("started"))

    worker.signal(signal.SIGINT)
    wait_until(is_stopping)
    assert fresh(task).status == "running"
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0, worker.output
    assert fresh(task).status == "new"


def test_tasks_of_a_killed_worker_are_finished_by_the_next(start_worker, place) -> None:
    data = {"started": place("started"), "end": place("end")}
    task = tasker.add_task("wait-for-file", data)
    stops = tasker.add_task("async-log-and-wait", {"started": place("stops")}, on_stop="abort")
    first = start_worker("--concurrency", "1", LEASE=3600)
    wait_for_file(place("started"))
    wait_for_file(place("stops"))

    first.kill()
    Path(data["end"]).touch()
    # The lease is not waited for: the process is gone.
    second = start_worker("--burst", "--concurrency", "1", LEASE=3600)

    assert second.wait() == 0, second.output
    assert [(t.status, t.losses, t.worker_name) for t in (fresh(task), fresh(stops))] == [
        ("done", 1, second.name),
        ("aborted", 1, first.name),
    ]
    assert "was lost" in fresh(stops).abort_reason
    assert [(a.outcome, a.worker_name) for a in Attempt.objects.filter(task=task)] == [("lost", first.name)]
    assert not Worker.objects.exists()


def test_a_claim_whose_answer_was_lost_is_given_back(start_worker) -> None:
    worker = start_worker("--executor", "thread", HEARTBEAT=0.3).wait_until_registered()
    task = tasker.add_task("describe", run_at=timezone.now() + timedelta(hours=1))

    Task.objects.filter(pk=task.pk).update(
        status="running", hold=-1, run_at=None, attempt=1, worker_id=worker.pk, started_at=timezone.now()
    )

    wait_for(task)
    assert (fresh(task).status, fresh(task).attempt, fresh(task).losses) == ("done", 1, 0)
