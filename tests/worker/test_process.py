"""A real worker process on every database that the suite runs on."""

from __future__ import annotations

from django_tasker import tasker
from django_tasker.models import Task, Worker
from tests.crashes import log_holes
from tests.workers import workers

BEHIND_EACH_OTHER = [{"scope": "running", "query": {"data.key": {"$ref": "data.key"}}, "limit": 0}]


def test_two_workers_empty_a_queue_together(database_url: str) -> None:
    kinds = ["echo", "async-echo", "log", "chatter"]
    rows = [
        {"operation": kinds[n % 4], "data": {"key": n % 3, "lines": 2}, "concurrency": BEHIND_EACH_OTHER}
        for n in range(24)
    ]
    tasks = tasker.add_tasks(rows)
    tasks.append(tasker.add_task("succeed-at-attempt", {"at": 2}, priority=-1, max_attempts=2, retry_delay=0.01))
    tasks.append(tasker.add_task("noop", queue="other"))

    with workers(database_url, 2, "--burst", "--concurrency", "2", "--queue", "default") as processes:
        codes = [process.wait() for process in processes]

    assert codes == [0, 0], [process.output for process in processes]
    assert [Task.objects.get(pk=task.pk).status for task in tasks] == ["done"] * 25 + ["new"]
    assert Task.objects.get(pk=tasks[1].pk).result == rows[1]["data"]
    assert log_holes() == []
    assert not Worker.objects.exists()
