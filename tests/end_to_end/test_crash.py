"""Workers and children are killed in the midst of work: nothing is lost, nothing ends twice, no limit is exceeded."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from django_tasker import tasker
from django_tasker.models import Task, Worker
from tests import crashes
from tests.waiting import wait_until

pytestmark = [pytest.mark.end_to_end]


def test_killed_workers_and_children_lose_nothing_and_exceed_nothing(database_url: str, tmp_path: Path) -> None:
    """The short form of `make soak`."""
    plan = crashes.Plan(
        tasks=300, worker_kills=3, child_kills=5, disconnects=4, keys=2, seconds=(0.05, 0.15), patience=90
    )

    verdict = crashes.run(database_url, tmp_path, plan)

    assert verdict.problems == []
    assert (verdict.figures["workers_killed"], verdict.figures["children_killed"]) == (3, 5)
    assert verdict.figures["losses"] >= 5
    assert verdict.figures["most_at_once_of_limit_2"] > 1


def test_a_worker_that_was_silent_too_long_changes_nothing_and_begins_anew(start_worker, tmp_path: Path) -> None:
    """It is stopped, not killed: its child goes on, and what it reports comes too late."""
    lease = {"LEASE": 2, "HEARTBEAT": 0.5}
    data = {"started": str(tmp_path / "started"), "end": str(tmp_path / "end")}
    task = tasker.add_task("wait-for-file", data)
    first = start_worker("--concurrency", "1", **lease)
    wait_until(Path(data["started"]).exists)
    child = int(wait_until(Path(data["started"]).read_text))

    with crashes.audit() as moves:
        first.signal(signal.SIGSTOP)
        second = start_worker("--concurrency", "1", **lease)
        wait_until(lambda: Task.objects.get(pk=task.pk).worker_name == second.name)
        Path(data["end"]).touch()
        wait_until(lambda: Task.objects.get(pk=task.pk).status == "done")
        first.signal(signal.SIGCONT)
        wait_until(lambda: Worker.objects.filter(name=first.name).exists())
        second.signal()
        assert second.wait() == 0
        after = tasker.add_task("noop")
        wait_until(lambda: Task.objects.get(pk=after.pk).status == "done")
        assert moves()[task.pk, "done"] == 1

    found = Task.objects.get(pk=task.pk)
    assert (found.worker_name, found.losses) == (second.name, 1)
    assert found.result != child
    assert Task.objects.get(pk=after.pk).worker_name == first.name


def test_a_task_that_kills_its_worker_fails_alone(start_worker) -> None:
    """The tasks behind it, claimed ahead because runs are so short, are not charged for what it does."""
    first = tasker.add_tasks([{"operation": "die-in-worker"} for _ in range(100)])
    deadly = tasker.add_task("die-in-worker", "die")
    others = tasker.add_tasks([{"operation": "die-in-worker"} for _ in range(300)])

    kills = 0
    while Task.objects.filter(ended_at=None).exists():
        worker = start_worker("--concurrency", "1", "--burst", PREFETCH_SECONDS=1)
        kills += worker.wait() == 9
        assert kills <= 4

    assert Task.objects.get(pk=deadly.pk).error["type"] == "WorkerLost"
    rest = Task.objects.filter(pk__in=[task.pk for task in first + others])
    assert set(rest.values_list("status", flat=True)) == {"done"}
    # One may have been in the slot just before, with its end not written yet.
    assert rest.filter(losses__gt=0).count() <= kills
    assert rest.filter(earlier_attempts__outcome="lost").exists(), "some were claimed ahead, or this tests nothing"
