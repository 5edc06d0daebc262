"""Tasks in streams are found by their values, and what they leave behind does not count."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_tasker import tasker
from django_tasker.admission import Admission, Claimant, keys
from django_tasker.admission.counts import explain_sql
from django_tasker.conditions import Condition, key_digest
from django_tasker.databases import alias
from django_tasker.models import Stream, StreamKey, Task

pytestmark = pytest.mark.django_db

SAME = {"data.book": {"$ref": "data.book"}}
FIFO = [{"scope": scope, "query": SAME, "limit": 0} for scope in ("running", "queued_before")]
CROWD = 200


def claimant() -> Admission:
    return Admission(alias(), Claimant(1, "worker"))


def started(admission: Admission, limit: int = 10) -> list[Any]:
    """The data of what a whole pass starts."""
    found: list[Any] = []
    for _ in range(50):
        result = admission.run_pass({"any": limit}, limit)
        found += [row.data for row in result.claimed]
        if not result.unfinished:
            return found
    raise AssertionError("the pass does not end")


def crowd(operation: str = "import", **options: Any) -> list[Task]:
    """Many tasks of many books, of an operation that is paused: they wait in its stream."""
    tasker.pause(operation=operation)
    books = ({"book": number % 20} for number in range(CROWD))
    return tasker.add_tasks({"operation": operation, "data": data, **options} for data in books)


def keys_of(book: int) -> list[int]:
    found = StreamKey.objects.filter(digest=key_digest(["data.book"], [book]))
    return list(found.order_by("priority", "task_id").values_list("task_id", flat=True))


def test_key_says_what_a_query_asks_for_by_equality() -> None:
    def key(query: dict[str, Any]) -> Any:
        return Condition("queued_before", query).key

    whole, part = key({"data.b": 1, "data.a": "x"}), key({"$and": [{"data.a": "x"}, {"data.b": 1.0}, {"attempt": 0}]})
    assert whole.paths == part.paths == ("data.a", "data.b")
    assert whole.digest == part.digest
    assert (whole.is_whole, part.is_whole) == (True, False)
    assert key({"data.b": True, "data.a": "x"}).digest != whole.digest
    assert key({}).is_whole
    assert key({"data.a": None}) is key({"data.a": {"$gt": 1}}) is key({"priority": 1}) is None


def test_condition_sees_the_tasks_of_a_stream_and_not_those_behind() -> None:
    crowd(concurrency=FIFO)
    admission = claimant()
    assert started(admission) == []
    assert Stream.objects.count() == 1

    for book in (3, 99):
        tasker.add_task("index", {"book": book}, concurrency=FIFO)
    tasker.add_task("index", {"book": 4}, concurrency=FIFO, priority=-1)
    assert started(admission) == [{"book": 4}, {"book": 99}]


def test_rows_moved_before_anybody_asked_get_their_keys_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "WRITE_AT_ONCE", CROWD // 4)
    crowd()
    admission = claimant()
    assert started(admission) == []
    assert not StreamKey.objects.exists()

    tasker.add_task("other", "free")
    for book in (3, 99):
        tasker.add_task("index", {"book": book}, concurrency=FIFO)
    unfinished = [admission.run_pass({"any": 9}, 9) for _ in range(4)]
    assert [len(result.claimed) for result in unfinished] == [1, 0, 0, 0]
    assert all(result.unfinished for result in unfinished)
    assert started(admission) == [{"book": 99}]
    assert len(keys_of(3)) == CROWD // 20


def test_task_that_left_its_stream_counts_no_more() -> None:
    tasks = [task for task in crowd(concurrency=FIFO) if task.data == {"book": 3}]
    admission = claimant()
    started(admission)
    tasker.add_task("index", {"book": 3}, concurrency=FIFO)

    for task in tasks[:-1]:
        tasker.abort_task(task)
    assert started(admission) == []
    assert keys_of(3) == [tasks[-1].pk]

    tasker.update_task(tasks[-1], data={"book": 5})
    assert started(admission) == [{"book": 3}]
    assert keys_of(3) == []


def test_prioritized_task_is_counted_at_its_new_place() -> None:
    tasks = [task for task in crowd(concurrency=FIFO) if task.data == {"book": 3}]
    admission = claimant()
    started(admission)
    tasker.add_task("index", {"book": 3}, concurrency=FIFO, priority=-5)

    tasker.prioritize_task(tasks[-1], -9)
    assert started(admission) == []
    tasker.prioritize_task(tasks[-1], 9)
    assert started(admission) == [{"book": 3}]


def test_claimed_tasks_leave_no_keys() -> None:
    crowd(concurrency=FIFO)
    admission = claimant()
    started(admission)
    tasker.resume(operation="import")

    assert len(started(admission, limit=100)) == 20
    assert not StreamKey.objects.filter(task_id__in=Task.objects.filter(status="running").values("id")).exists()


def test_keys_nobody_meets_are_forgotten_by_house_keeping() -> None:
    tasks = crowd(concurrency=FIFO)
    tasker.add_task("index", {"book": 99}, concurrency=FIFO)
    started(claimant())
    assert StreamKey.objects.count() == CROWD
    for task in tasks[:7]:
        tasker.abort_task(task)

    assert keys.forget_stale(alias()) == 7
    assert keys.forget_stale(alias()) == 0
    assert StreamKey.objects.count() == CROWD - 7


def test_pass_asks_for_the_waiting_by_keys_alone() -> None:
    crowd(concurrency=FIFO)
    admission = claimant()
    started(admission)
    tasker.add_task("index", {"book": 3}, concurrency=FIFO)
    with CaptureQueriesContext(connection) as captured:
        assert started(admission) == []

    assert not any("data" in query["sql"] and "ORDER BY" in query["sql"] for query in captured.captured_queries)
    if connection.vendor != "mysql":
        plan = explain_sql(alias(), keys.places_sql(8), [keys.key_digest(["data.book"], [3])])
        assert "tasker_stream_key_place" in plan
