"""Functions of django.tasks and a real `tasker_worker`.

Not marked end_to_end, though it starts processes: the quick run with another Django is the only one that has
django.tasks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

tasks = pytest.importorskip("django.tasks", reason="django.tasks came with Django 6.0")

from django.tasks import TaskResultStatus  # noqa: E402

from django_tasker import tasker  # noqa: E402
from tests import tasks as sample  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 60
"""How long anything may take on a busy machine."""


def ended(result):
    def is_finished() -> bool:
        result.refresh()
        return result.is_finished

    wait_until(is_finished, SECONDS)
    return result


def test_worker_runs_functions_by_themselves_in_every_executor(start_worker, tmp_path: Path):
    trail = tmp_path / "trail"
    in_process = sample.echo.enqueue(1, key="value", trail=str(trail))
    on_loop = sample.echo_on_loop.enqueue(2)
    in_thread = sample.echo_in_thread.enqueue()
    failing = sample.fail.enqueue("the reason")

    worker = start_worker("--name", "real", "--concurrency", "1", "--executor", "process")

    where = ended(in_process).return_value
    assert (where["args"], where["kwargs"]) == ([1], {"key": "value"})
    assert where["pid"] != worker.pid
    assert in_process.worker_ids == ["real"]
    assert trail.read_text().splitlines() == [
        f"started RUNNING 1 {where['pid']}",
        f"finished SUCCESSFUL 1 {where['pid']}",
    ]
    assert ended(on_loop).return_value["pid"] == worker.pid
    assert ended(in_thread).return_value["pid"] == worker.pid
    assert ended(failing).status == TaskResultStatus.FAILED
    assert "the reason" in failing.errors[0].traceback


def test_worker_lists_functions_as_its_operations_and_burst_ends(start_worker):
    result = sample.add_slowly.enqueue(2, 3)
    other = sample.add.enqueue(2, 3)

    worker = start_worker("--burst", "--operation", "tests.tasks.add_slowly")

    assert worker.wait(SECONDS) == 0, worker.output
    assert "tests.tasks.add_slowly" in worker.output
    assert ended(result).return_value == 5
    assert tasker.get_task(other.id).status == "new"


def test_postponed_by_a_worker_that_stops_is_ready_again_and_not_finished(start_worker, tmp_path: Path):
    path, trail = tmp_path / "began", tmp_path / "trail"
    result = sample.touch_and_sleep.enqueue(str(path), trail=str(trail))
    worker = start_worker("--burst", "--grace", "0.1", abort_grace=0.5)
    wait_until(path.exists, SECONDS)

    worker.signal()
    worker.wait(SECONDS)

    result.refresh()
    assert (result.status, result.attempts) == (TaskResultStatus.READY, 1)
    assert [line.split()[0] for line in trail.read_text().splitlines()] == ["started"]
