"""`explain_task`: every reason why a task waits, with numbers, the tasks in the way and its place."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_tasker import lifecycle, tasker
from django_tasker.admission import Admission, Claimant
from django_tasker.admission.explain import Explanation, Reason
from django_tasker.databases import alias
from django_tasker.models import Task, Worker

pytestmark = pytest.mark.django_db

BOOK = {"data.book": {"$ref": "data.book"}}


@pytest.fixture(autouse=True)
def worker() -> Worker:
    """A live worker, so that nothing waits for want of one."""
    now = timezone.now()
    return Worker.objects.create(
        name="w", hostname="h", pid=1, operations=["import", "index"], started_at=now, heartbeat_at=now
    )


def run(*tasks: Task) -> None:
    now = timezone.now()
    lifecycle.claim([(t.pk, t.uuid) for t in tasks], worker_id=1, worker_name="w", now=now, using=alias())


def reasons(task: Task) -> dict[str, Reason]:
    return {reason.kind: reason for reason in tasker.explain_task(task).reasons}


def test_nothing_in_the_way_tells_the_place() -> None:
    first, second = tasker.add_task("import"), tasker.add_task("import")

    assert tasker.explain_task(first).place == 0
    explanation = tasker.explain_task(second)
    assert explanation.place == 1
    assert [(reason.kind, reason.count) for reason in explanation.reasons] == [("busy", 1)]
    tasker.prioritize_task(second, -1)
    assert tasker.explain_task(second).place == 0


def test_condition_tells_count_limit_and_the_tasks_that_fill_it() -> None:
    condition = {"scope": "running", "query": BOOK, "limit": 1}
    running = [tasker.add_task("import", {"book": 7}) for _ in range(3)]
    run(*running)
    task = tasker.add_task("import", {"book": 7}, concurrency=[condition])

    reason = reasons(task)["condition"]
    assert (reason.count, reason.limit) == (3, 1)
    assert reason.tasks == [str(other.uuid) for other in running]
    assert reason.condition == {"scope": "running", "query": {"data.book": 7}, "limit": 1}


@pytest.mark.parametrize(("scope", "count"), [("running", 1), ("queued_before", 2), ("active", 3)])
def test_scopes_count_what_runs_and_what_is_ahead(scope: str, count: int) -> None:
    run(tasker.add_task("import", {"book": 7}))
    for _ in range(2):
        tasker.add_task("import", {"book": 7})
    tasker.add_task("import", {"book": 7}, run_at=timezone.now() + timedelta(hours=1))  # not due: not ahead
    task = tasker.add_task("import", {"book": 7}, concurrency=[{"scope": scope, "query": BOOK, "limit": 0}])
    tasker.add_task("import", {"book": 7})  # behind

    assert reasons(task)["condition"].count == count


def test_every_reason_is_told_at_once(worker: Worker) -> None:
    worker.delete()
    run(tasker.add_task("import", {"book": 7}))
    conditions = [{"query": BOOK}, {"query": {"operation": "import"}}, {"query": {}, "limit": 5}, {"assert": "nothing"}]
    later = timezone.now() + timedelta(hours=1)
    task = tasker.add_task("import", {"book": 7}, run_at=later, concurrency=conditions)
    tasker.pause(operation="import")
    tasker.pause(queue="default")

    explanation = tasker.explain_task(task)
    kinds = [reason.kind for reason in explanation.reasons]
    assert kinds == [
        *("not_due", "paused_operation", "paused_queue", "no_worker"),
        *("condition", "condition", "assertion"),
    ]
    assert [shown["holds"] for shown in explanation.conditions] == [False, False, True, False]
    assert json.loads(json.dumps(explanation.as_dict()))["uuid"] == str(task.uuid)


@pytest.mark.parametrize(
    "change",
    [
        {"operations": ["index"]},
        {"queues": ["other"]},
        {"heartbeat_at": timezone.now() - timedelta(hours=1)},
        {"stopping_at": timezone.now()},
    ],
)
def test_worker_that_can_not_run_it_is_none(worker: Worker, change: dict[str, Any]) -> None:
    task = tasker.add_task("import")
    assert "no_worker" not in reasons(task)
    Worker.objects.filter(pk=worker.pk).update(**change)
    assert "no_worker" in reasons(task)


def test_running_and_ended_tasks_are_explained_too() -> None:
    task, other = tasker.add_task("import"), tasker.add_task("import")
    run(task)
    tasker.abort_task(other)

    assert [r.kind for r in tasker.explain_task(task).reasons] == ["running"]
    explanation: Explanation = tasker.explain_task(other)
    assert (explanation.status, explanation.place, explanation.reasons[0].kind) == ("aborted", None, "ended")


def test_task_in_a_stream_shows_the_reason_that_moved_it() -> None:
    condition = {"scope": "running", "query": {"data.book": 7}, "limit": 0}
    run(tasker.add_task("import", {"book": 7}))
    tasks = tasker.add_tasks(
        {"operation": "import", "data": {"book": 7}, "concurrency": [condition]} for _ in range(60)
    )
    assert Admission(alias(), Claimant(1, "w")).run_pass({"any": 5}, 5).claimed == []

    explanation = tasker.explain_task(tasks[59])
    assert explanation.held_by == condition
    assert explanation.place == 59


# -- what can never hold ------------------------------------------------------------------------------------------


def test_lint_names_tasks_ahead_that_no_worker_runs() -> None:
    stuck = tasker.add_task("nobody-runs-this", {"book": 7})
    condition = {"scope": "queued_before", "query": BOOK, "limit": 0}
    task = tasker.add_task("import", {"book": 7}, concurrency=[condition])

    [warning] = tasker.explain_task(task).warnings
    assert "nobody-runs-this" in warning and str(stuck.uuid) in warning


def test_lint_tells_that_a_group_runs_one_after_another() -> None:
    condition = {"scope": "active", "query": {"operation": "import"}, "limit": 0}
    tasks = [tasker.add_task("import", concurrency=[condition]) for _ in range(25)]

    assert "one after another" in tasker.explain_task(tasks[-1]).warnings[0]
    assert tasker.explain_task(tasks[0]).warnings == []


def test_lint_is_silent_about_conditions_that_will_hold() -> None:
    run(tasker.add_task("import", {"book": 7}))
    task = tasker.add_task("import", {"book": 7}, concurrency=[{"query": BOOK}, {"scope": "active", "query": BOOK}])

    assert tasker.explain_task(task).warnings == []
