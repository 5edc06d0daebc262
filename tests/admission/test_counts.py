"""What a worker remembers of running tasks from pass to pass is never older than their attempt."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_tasker import lifecycle, tasker
from django_tasker.admission import Admission, Claimant
from django_tasker.admission.counts import RunningTasks
from django_tasker.conditions import Condition
from django_tasker.databases import alias
from django_tasker.models import Task
from django_tasker.statuses import Outcome

pytestmark = pytest.mark.django_db


def run(task: Task) -> Task:
    lifecycle.claim([(task.pk, task.uuid)], worker_id=1, worker_name="w", now=timezone.now(), using=alias())
    return tasker.get_task(task)


def give_back(task: Task) -> None:
    names = ("id", "uuid", "operation", "attempt", "worker_id", "max_attempts", "retry_delay", "keep_for", "on_stop")
    values: dict[str, Any] = {name: getattr(task, name) for name in (*names, "losses", "started_at")}
    assert lifecycle.postponed(lifecycle.Held(**values), None, Outcome.POSTPONED, now=timezone.now(), using=alias())


def count(known: RunningTasks, query: dict[str, Any]) -> int:
    known.begin_pass()
    return known.count(Condition("running", query))


def test_task_edited_between_two_runs_of_the_same_attempt_is_read_anew() -> None:
    known = RunningTasks(alias())
    task = run(tasker.add_task("import", {"book": 1}))
    assert count(known, {"data.book": 1}) == 1

    give_back(task)
    tasker.update_task(task, data={"book": 2})
    assert run(task).attempt == task.attempt
    assert count(known, {"data.book": 1}) == 0
    assert count(known, {"data.book": 2}) == 1


def test_columns_are_read_when_a_query_first_asks_for_them() -> None:
    known = RunningTasks(alias())
    run(tasker.add_task("import", {"book": 1}, max_attempts=3, unique_key="u"))

    assert count(known, {"data.book": 1}) == 1
    assert count(known, {"max_attempts": 3, "unique_key": "u"}) == 1
    assert count(known, {"max_attempts": {"$gt": 3}}) == 0


def test_columns_that_change_while_a_task_runs_are_read_at_each_pass() -> None:
    known = RunningTasks(alias())
    task = run(tasker.add_task("import"))

    assert count(known, {"warning_count": {"$gt": 0}}) == 0
    Task.objects.filter(pk=task.pk).update(warning_count=1)
    assert count(known, {"warning_count": {"$gt": 0}}) == 1


def test_what_a_pass_started_is_not_read_again_and_counts_until_it_ends() -> None:
    condition = {"scope": "running", "query": {"operation": "import"}, "limit": 2}
    tasker.add_tasks({"operation": "import", "concurrency": [condition]} for _ in range(5))
    admission = Admission(alias(), Claimant(1, "w"))
    assert len(admission.run_pass({"any": 9}, 9).claimed) == 3

    with CaptureQueriesContext(connection) as captured:
        assert admission.run_pass({"any": 9}, 9).claimed == []
    assert len([query for query in captured.captured_queries if "'running'" in query["sql"]]) <= 1
    assert len(admission.running._known) == 3

    now = timezone.now()
    Task.objects.filter(status="running").update(status="done", ended_at=now, updated_at=now)
    assert len(admission.run_pass({"any": 9}, 9).claimed) == 2
    admission.run_pass({"any": 9}, 9)
    assert len(admission.running._known) == 2
