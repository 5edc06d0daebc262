"""The hot queries use the index made for them, however long the queue is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_tasker.admission import Admission, Claimant, rows
from django_tasker.admission.counts import explain_sql
from django_tasker.databases import alias
from django_tasker.models import Task

WAITING = 4000

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor == "mysql", reason="has no conditional index and no row values"),
]


@pytest.fixture(autouse=True)
def queue() -> None:
    """A front, a stream, tasks not due, running and ended ones, and statistics that tell so."""
    now = timezone.now()
    later = now + timedelta(hours=1)
    states: list[dict[str, Any]] = [{"hold": 0}, {"hold": 77}, {"hold": 1, "run_at": later}]
    tasks = [
        Task(operation="import", data={}, added_at=now, updated_at=now, priority=n % 7, **states[n % 3])
        for n in range(WAITING)
    ]
    ended = {"status": "done", "hold": -1, "ended_at": now, "added_at": now, "updated_at": now}
    tasks += [Task(operation="import", data={}, **ended) for _ in range(WAITING)]
    running = {"status": "running", "hold": -1, "added_at": now, "updated_at": now, "worker_id": 1}
    tasks += [Task(operation="import", data={}, **running) for _ in range(20)]
    Task.objects.bulk_create(tasks, batch_size=500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@pytest.mark.parametrize("hold", [0, 77])
@pytest.mark.parametrize("after", [None, (3.0, 100)])
def test_page_reads_the_claim_index_in_order(hold: int, after: tuple[float, int] | None) -> None:
    plan = explain_sql(alias(), *rows.page_sql(alias(), hold, after, 64))

    assert "tasker_task_claim" in plan
    assert "sort" not in plan.lower() and "TEMP B-TREE" not in plan


def test_row_values_start_inside_the_index() -> None:
    plan = explain_sql(alias(), *rows.page_sql(alias(), 0, (3.0, 100), 64))

    [line] = [line for line in plan.splitlines() if "priority" in line]
    assert "Filter" not in line, "the rows ahead of the place would be read again at each page"


def test_no_statement_of_a_pass_reads_the_whole_table() -> None:
    condition = {"scope": "running", "query": {"data.book": 1}, "limit": 5}
    Task.objects.filter(status="new", hold=0).update(lane=5, concurrency=[condition])
    with CaptureQueriesContext(connection) as captured:
        claimed = Admission(alias(), Claimant(1, "w")).run_pass({"any": 5}, 5).claimed
    assert claimed

    for query in captured.captured_queries:
        sql = query["sql"]
        if not sql.startswith(("SELECT", "UPDATE")) or "django_tasker_task" not in sql:
            continue
        plan = explain_sql(alias(), sql.replace("%", "%%"), [])
        assert "Seq Scan on django_tasker_task" not in plan, sql
        assert "SCAN django_tasker_task" not in plan or "INDEX tasker_task" in plan, f"{sql}\n{plan}"


def test_running_tasks_are_found_by_their_index_when_statistics_know_of_none() -> None:
    Task.objects.exclude(status="new").delete()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as captured:
        assert rows.running(alias()) == []

    [query] = captured.captured_queries
    plan = explain_sql(alias(), query["sql"], [])
    assert "tasker_task_running" in plan or "tasker_task_status_id" in plan


def test_what_waits_for_an_idle_kind_is_looked_up() -> None:
    """Where all tasks are of one operation, SQLite would rather read the queue than ask for another one."""
    with CaptureQueriesContext(connection) as captured:
        assert not rows.waits(alias(), ["export", "print"])
        assert rows.waits(alias(), ["export", "import"])
    Task.objects.filter(status="new", hold=0).delete()
    assert not rows.waits(alias(), ["export", "import"])

    plan = explain_sql(alias(), captured.captured_queries[0]["sql"], [])
    assert "tasker_task_operation" in plan
    assert "Filter" not in plan, "tasks that are not due would be read each time"
