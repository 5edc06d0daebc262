"""Several worker processes share one queue: every task runs once, and every limit holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_tasker import tasker
from django_tasker.models import Task
from tests import contention, trails
from tests.crashes import log_holes
from tests.waiting import wait_until
from tests.workers import workers

pytestmark = [pytest.mark.end_to_end]


def test_a_thousand_tasks_run_once_each(database_url: str, tmp_path: Path) -> None:
    trail = tmp_path / "trail"
    row = {"operation": "leave-trail", "data": {"trail": str(trail), "seconds": 0, "logs": 5}}

    with workers(database_url, 2, "--concurrency", "4") as processes:
        for process in processes:
            process.wait_until_registered()
        tasks = tasker.add_tasks([row] * 1000)
        wait_until(lambda: not Task.objects.filter(ended_at=None).exists(), 60, interval=0.05)

    assert set(Task.objects.values_list("status", "attempt", "losses", "log_count")) == {("done", 1, 0, 5)}
    runs = trails.by_task(trails.read(trail))
    assert {len(runs[str(task.uuid)]) for task in tasks} == {1}
    assert log_holes() == []
    assert set(Task.objects.values_list("worker_name", flat=True)) == {process.name for process in processes}


def test_limits_hold_and_writers_are_let_through(database_url: str, tmp_path: Path) -> None:
    """The short form of `make soak ARGS=--admission`."""
    plan = contention.Plan(tasks=400, keys=9, sets=2, workers=2, seconds=(0.0, 0.03), patience=60)

    verdict = contention.run(database_url, tmp_path, plan)

    assert verdict.problems == []
    most = [verdict.figures[f"most_at_once_of_limit_{limit}"] for limit in contention.LIMITS]
    assert most == [1, 2, 3], "limits are reached, not only kept"
    assert verdict.figures["readers_together"] > 1
    assert len(verdict.figures["tasks_of_workers"]) == 2
