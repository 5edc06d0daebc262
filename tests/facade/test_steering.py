"""Finding and steering tasks: what may change when, in ones and in bulk, and what is said of it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models import Q
from django.utils import timezone

from django_tasker import AbortController, lifecycle, tasker
from django_tasker.databases import alias
from django_tasker.errors import DuplicateTask, InvalidQuery, InvalidTask, InvalidTaskState, TaskNotFound
from django_tasker.json_values import dumps
from django_tasker.models import Attempt, Task, TaskLog

pytestmark = pytest.mark.django_db


def started(task: Task) -> Task:
    """The task as running, held by worker 1."""
    now = timezone.now()
    lifecycle.claim([(task.pk, task.uuid)], worker_id=1, worker_name="w", now=now, using=alias())
    return tasker.get_task(task)


def held(task: Task, **changes: Any) -> lifecycle.Held:
    values = {
        **{name: getattr(task, name) for name in ("id", "uuid", "operation", "attempt", "worker_id", "max_attempts")},
        **{name: getattr(task, name) for name in ("retry_delay", "keep_for", "on_stop", "losses", "started_at")},
    }
    return lifecycle.Held(**{**values, **changes})


def done(task: Task) -> Task:
    row = lifecycle.DoneRow(held(task), '{"pages":310}', 0, 0, 0)
    assert lifecycle.done([row], worker_id=1, now=timezone.now(), using=alias()) == {task.pk}
    return tasker.get_task(task)


@pytest.mark.parametrize(
    "result",
    ['it\'s {a, "b"} \\ %s \\u0000', "null", {"a": None, "%s": [[], {}, "é😀"]}, [None, [None]], 1.5, True, None],
    ids=repr,
)
def test_a_result_is_kept_as_it_is_beside_others(result: object) -> None:
    tasks = [started(tasker.add_task("import")) for _ in range(3)]
    texts = ["1", None if result is None else dumps(result), None]
    rows = [lifecycle.DoneRow(held(task), text, 0, 0, 0) for task, text in zip(tasks, texts, strict=True)]

    lifecycle.done(rows, worker_id=1, now=timezone.now(), using=alias())

    found = Task.objects.filter(status="done").order_by("id")
    assert list(found.values_list("result", flat=True)) == [1, result, None]
    assert found.filter(result__isnull=True).count() == 1 + (result is None), "no result is NULL, not JSON's null"


def test_an_unknown_uuid_is_told() -> None:
    for method in (tasker.get_task, tasker.abort_task, tasker.retry_task, tasker.explain_task):
        with pytest.raises(TaskNotFound):
            method(uuid.uuid4())
    with pytest.raises(InvalidTask):
        tasker.get_task("no uuid")


def test_an_aborted_new_task_ends_at_once() -> None:
    task = tasker.add_task("import")

    tasker.abort_task(str(task.uuid), "not needed")

    task = tasker.get_task(task)
    assert (task.status, task.abort_reason) == ("aborted", "not needed")
    assert task.ended_at is not None
    with pytest.raises(InvalidTaskState):
        tasker.abort_task(task)


def test_a_running_task_gets_its_signal_and_keeps_the_first_reason() -> None:
    task = started(tasker.add_task("import"))

    tasker.abort_task(task, "first")
    tasker.abort_task(task, "second")

    task = tasker.get_task(task)
    assert (task.status, task.is_aborting, task.abort_reason) == ("running", True, "first")


def test_a_late_run_cannot_end_a_rescued_task() -> None:
    task = started(tasker.add_task("import"))
    late = held(task)
    now = timezone.now()
    assert lifecycle.lost(late, "gone", max_losses=3, now=now, using=alias())

    assert lifecycle.done([lifecycle.DoneRow(late, "1", 0, 0, 0)], worker_id=1, now=now, using=alias()) == set()
    assert not lifecycle.failed(late, {"type": "E"}, now=now, using=alias())
    assert not lifecycle.aborted(late, "no", now=now, using=alias())

    task = tasker.get_task(task)
    assert (task.status, task.losses, task.attempt) == ("new", 1, 0)


def test_a_task_that_loses_its_worker_too_often_fails() -> None:
    task = tasker.add_task("import")
    for losses in (1, 2, 3):
        task = started(task)
        lifecycle.lost(held(task), "gone", max_losses=3, now=timezone.now(), using=alias())
        task = tasker.get_task(task)
        assert task.losses == losses

    assert task.status == "failed"
    assert Attempt.objects.filter(task=task, outcome="lost").count() == 2


def test_a_failure_is_tried_again_with_a_growing_delay_and_every_error_is_kept() -> None:
    task = tasker.add_task("import", max_attempts=3, retry_delay=10)
    delays = []
    for number in (1, 2, 3):
        task = started(task)
        now = timezone.now()
        lifecycle.failed(held(task), {"type": "E", "message": str(number)}, now=now, using=alias())
        task = tasker.get_task(task)
        if task.run_at:
            delays.append((task.run_at - now).total_seconds())

    assert task.status == "failed"
    assert task.error["message"] == "3"
    assert [a.error["message"] for a in task.earlier_attempts.order_by("id")] == ["1", "2"]
    assert 9 <= delays[0] <= 11 and 18 <= delays[1] <= 22


def test_an_ended_task_can_be_retried_by_hand() -> None:
    task = done(started(tasker.add_task("import", unique_key="k")))
    assert task.result == {"pages": 310}

    tasker.retry_task(task)

    task = tasker.get_task(task)
    assert (task.status, task.result, task.ended_at, task.attempt) == ("new", None, None, 1)
    with pytest.raises(InvalidTaskState):
        tasker.retry_task(task)
    with pytest.raises(DuplicateTask):
        tasker.add_task("import", unique_key="k")


def test_a_retry_does_not_break_a_unique_key() -> None:
    first = tasker.add_task("import", unique_key="k")
    tasker.abort_task(first)
    second = tasker.add_task("import", unique_key="k")

    with pytest.raises(DuplicateTask) as caught:
        tasker.retry_task(first)

    assert caught.value.task.uuid == second.uuid
    assert tasker.retry_tasks({"status": "aborted"}) == 0


def test_only_new_tasks_are_prioritized_postponed_and_changed() -> None:
    task = tasker.add_task("import", {"book": 1})
    tasker.prioritize_task(task, float("-inf"))
    later = timezone.now() + timedelta(hours=1)
    tasker.postpone_task(task, later)
    changed = tasker.update_task(task, data={"book": 2}, queue="slow", max_attempts=2)

    assert (changed.priority, changed.run_at, changed.data, changed.queue) == (
        float("-inf"),
        later,
        {"book": 2},
        "slow",
    )
    task = started(task)
    for change in (
        lambda: tasker.prioritize_task(task, 1),
        lambda: tasker.postpone_task(task, later),
        lambda: tasker.update_task(task, queue="x"),
    ):
        with pytest.raises(InvalidTaskState):
            change()
    with pytest.raises(InvalidTask):
        tasker.update_task(task, status="done")


def test_changed_conditions_have_effect_at_once() -> None:
    rule = {"scope": "running", "query": {"data.book": {"$ref": "data.book"}}, "limit": 0}
    task = tasker.add_task("import", {"book": 1}, concurrency=[rule])
    Task.objects.filter(pk=task.pk).update(hold=12345)

    changed = tasker.update_task(task, data={"book": 2})
    assert changed.lane not in (0, task.lane)
    assert changed.hold == 0

    assert tasker.update_task(task, concurrency=[]).lane == 0


def test_bulk_moves_hit_what_they_can() -> None:
    tasks = tasker.add_tasks({"operation": "import", "data": {"n": n}} for n in range(6))
    running, ended = started(tasks[0]), done(started(tasks[1]))

    assert tasker.prioritize_tasks({"operation": "import"}, 7) == 4
    assert tasker.abort_tasks({"data.n": {"$lte": 3}}, "bulk") == 3
    assert tasker.get_task(running).is_aborting
    assert tasker.retry_tasks(Q(status="aborted") | Q(pk=ended.pk)) == 3
    assert tasker.delete_tasks({"status": "new"}) == 0
    tasker.abort_tasks({"status": "new"})
    TaskLog.objects.create(task=ended, seq=1, attempt=1, level=20, logger="l", message="m", created_at=timezone.now())
    assert tasker.delete_tasks({}) == 5
    assert tasker.find_tasks() == [running]


def test_finding_sorts_limits_and_brings_logs_in_one_question(django_assert_num_queries: Any) -> None:
    tasks = tasker.add_tasks({"operation": "import", "data": {"size": size}} for size in (3, 1, 2))
    for task in tasks:
        for seq, level in enumerate((10, 20, 30), 1):
            TaskLog.objects.create(
                task=task, seq=seq, attempt=1, level=level, logger="l", message=str(seq), created_at=timezone.now()
            )

    with django_assert_num_queries(2):
        found = tasker.find_tasks({}, sort="-data.size", limit=2, skip=1, with_logs=True)

    assert [task.data["size"] for task in found] == [2, 1]
    assert [entry.seq for entry in found[0].logs] == [2, 3]
    everything = tasker.get_task(tasks[0], with_logs=True, logs_max_level="debug")
    assert [entry.seq for entry in everything.logs] == [1, 2, 3]
    with pytest.raises(InvalidQuery):
        tasker.find_tasks({}, sort="nothing")


def test_the_queue_timeout_aborts_or_prioritizes() -> None:
    aborted = tasker.add_task("import", queue_timeout={"after": 60, "then": "abort"})
    raised = tasker.add_task("import", queue_timeout={"after": 60, "then": "prioritize", "priority": -10})
    patient = tasker.add_task("import", queue_timeout={"after": 600, "then": "abort"})

    count = lifecycle.expire_queue(now=timezone.now() + timedelta(seconds=61), using=alias())

    assert count == 2
    assert tasker.get_task(aborted).status == "aborted"
    assert "queue_timeout" in (tasker.get_task(aborted).abort_reason or "")
    assert tasker.get_task(raised).priority == -10
    assert tasker.get_task(patient).status == "new"


def test_ended_tasks_past_their_time_are_pruned() -> None:
    kept = done(started(tasker.add_task("import")))
    expired = done(started(tasker.add_task("import", keep_for=0)))

    assert tasker.prune() == 1
    assert tasker.find_tasks() == [kept]
    assert not tasker.has_task({"uuid": expired.uuid})
    assert tasker.prune(older_than=0) == 1


def test_pruning_for_show_counts_what_would_go() -> None:
    done(started(tasker.add_task("import")))
    done(started(tasker.add_task("export", keep_for=0)))
    tasker.add_task("import")

    assert tasker.prune(dry_run=True) == 1
    assert tasker.prune(older_than=0, dry_run=True) == 2
    assert tasker.prune(older_than=0, query={"operation": "import"}, dry_run=True) == 1
    assert tasker.count_tasks() == 3


def test_numbers_tell_how_many_wait_in_each_queue() -> None:
    started(tasker.add_task("import", queue="nightly"))
    tasker.add_tasks({"operation": operation, "queue": "nightly"} for operation in ("import", "export"))
    first = tasker.find_task({"status": "new"})
    tasker.add_task("import")

    stats = tasker.stats()

    assert stats["queues"] == {"default": 1, "nightly": 2}
    assert stats["tasks"] == {"import": {"running": 1, "new": 2}, "export": {"new": 1}}
    assert first is not None and stats["oldest_waiting_at"] == first.added_at


def test_pausing_is_idempotent_and_shown() -> None:
    tasker.pause(operation="import")
    tasker.pause(operation="import")
    task = tasker.add_task("import")

    assert tasker.stats()["paused"] == {"operations": ["import"], "queues": []}
    assert "paused_operation" in [reason.kind for reason in tasker.explain_task(task).reasons]
    tasker.resume(operation="import")
    tasker.resume(operation="import")
    assert tasker.stats()["paused"]["operations"] == []
    with pytest.raises(InvalidTask):
        tasker.pause()


@pytest.mark.django_db(transaction=True)
def test_a_callers_abort_signal_aborts_the_task() -> None:
    controller = AbortController()
    task = tasker.add_task("import", abort_signal=controller.signal)

    controller.abort("changed my mind")

    assert (tasker.get_task(task).status, tasker.get_task(task).abort_reason) == ("aborted", "changed my mind")


@pytest.mark.django_db(transaction=True)
async def test_the_async_twins_do_the_same() -> None:
    task = await tasker.aadd_task("import", {"book": 7})
    assert (await tasker.aget_task(task.uuid)).data == {"book": 7}
    assert await tasker.ahas_task({"data.book": 7})
    assert await tasker.acount_tasks({}) == 1
    await tasker.aprioritize_task(task, 3)
    await tasker.aabort_task(task)
    assert [found.status for found in await tasker.afind_tasks({})] == ["aborted"]
    await tasker.aretry_task(task)
    assert (await tasker.aexplain_task(task)).place == 0
    assert await tasker.aabort_tasks({}) == 1
    assert await tasker.aprune(older_than=0, dry_run=True) == 1
    assert (await tasker.astats())["queues"] == {}
    assert await tasker.adelete_tasks({}) == 1
    await sync_to_async(connections.close_all)()  # of the thread that ran all this


def test_every_method_that_touches_the_database_has_a_twin() -> None:
    local = {"assign_runner", "runner", "assign_assertion", "operations", "on", "once", "off"}
    public = {name for name in dir(tasker) if not name.startswith("_") and callable(getattr(tasker, name))}
    twins = {name for name in public if name.startswith("a") and name[1:] in public}

    assert {name for name in public - twins - local if f"a{name}" not in public} == set()
