"""Adding tasks: what is stored, what is refused, and what a transaction makes of it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from django_tasker import Tasker, tasker
from django_tasker.errors import DuplicateTask, InvalidTask, RunnerAlreadyAssigned
from django_tasker.models import Task

pytestmark = pytest.mark.django_db


def condition(**changes: Any) -> list[dict[str, Any]]:
    return [{"scope": "running", "query": {"data.book": 7}, "limit": 1, **changes}]


def deep(levels: int) -> Any:
    return [] if levels == 0 else [deep(levels - 1)]


def test_a_task_is_new_with_what_it_was_given() -> None:
    run_at = timezone.now() + timedelta(hours=1)

    task = tasker.add_task("import", {"book": 7}, priority=-5, queue="books", run_at=run_at, max_attempts=3)

    stored = tasker.get_task(task.uuid)
    assert (stored.status, stored.operation, stored.data) == ("new", "import", {"book": 7})
    assert (stored.priority, stored.queue, stored.max_attempts, stored.attempt) == (-5, "books", 3, 0)
    assert stored.run_at == run_at
    assert stored.ended_at is None


@pytest.mark.parametrize("priority", [math.inf, -math.inf, 0.1, -1e300])
def test_priorities_survive_the_database(priority: float) -> None:
    task = tasker.add_task("import", priority=priority)

    assert tasker.get_task(task).priority == priority
    assert tasker.has_task(
        {"priority": priority if math.isfinite(priority) else str(priority).replace("inf", "Infinity")}
    )


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"priority": math.nan}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"priority": True}, "priority"),
        ({"data": "a\0b"}, "data"),
        ({"data": {"a": ["\ud800"]}}, "data.a[0]"),
        ({"data": {"a": math.nan}}, "data.a"),
        ({"data": [math.inf]}, "data[0]"),
        ({"data": {"a": {1, 2}}}, "data.a"),
        ({"data": b"bytes"}, "data"),
        ({"data": {1: 2}}, "data"),
        ({"data": 2**64}, "data"),
        ({"data": "x" * 1_000_001}, "data"),
        ({"concurrency": condition(limit=-1)}, "concurrency[0].limit"),
        ({"concurrency": condition(limit=0.5)}, "concurrency[0].limit"),
        ({"concurrency": condition(limit=True)}, "concurrency[0].limit"),
        ({"concurrency": condition(scope="everywhere")}, "concurrency[0].scope"),
        ({"concurrency": condition(qurey={})}, "concurrency[0].qurey"),
        ({"concurrency": condition(query={"stauts": "new"})}, "concurrency[0].query.stauts"),
        ({"concurrency": condition(query={"data.a": {"$ref": "priority"}})}, "concurrency[0].query.data.a.$ref"),
        ({"concurrency": condition() * 1000}, "concurrency"),
        ({"concurrency": {"scope": "running"}}, "concurrency"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),
        ({"run_timeout": 0}, "run_timeout"),
        ({"run_timeout": math.inf}, "run_timeout"),
        ({"run_until": "every day"}, "run_until"),
        ({"queue_timeout": {"after": 1, "then": "explode"}}, "queue_timeout.then"),
        ({"queue_timeout": {"after": -1, "then": "abort"}}, "queue_timeout.after"),
        ({"queue_timeout": {"after": 1, "then": "prioritize"}}, "queue_timeout.priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"unique_key": ""}, "unique_key"),
        ({"on_conflict": "ignore"}, "on_conflict"),
        ({"on_stop": "explode"}, "on_stop"),
        ({"queue": "x" * 101}, "queue"),
    ],
)
def test_bad_values_are_refused_with_their_place(arguments: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        tasker.add_task("import", **arguments)

    assert caught.value.path == path
    assert not Task.objects.exists()


def test_data_of_too_many_levels_is_refused() -> None:
    tasker.add_task("import", deep(30))

    with pytest.raises(InvalidTask, match="levels deep"):
        tasker.add_task("import", deep(101))


@pytest.mark.parametrize("operation", ["", None, "x" * 201, " padded", "nul\0"])
def test_bad_operations_are_refused(operation: Any) -> None:
    with pytest.raises(InvalidTask):
        tasker.add_task(operation)


def test_bulk_adding_keeps_the_order_and_adds_all_or_none() -> None:
    added = tasker.add_tasks([{"operation": "import", "data": number} for number in range(5)])
    assert [task.data for task in tasker.find_tasks({"operation": "import"})] == [0, 1, 2, 3, 4]
    assert [task.pk for task in added] == sorted(task.pk for task in added)

    with pytest.raises(InvalidTask) as caught:
        tasker.add_tasks([{"operation": "export"}, {"operation": "export", "priority": math.nan}])

    assert caught.value.path == "tasks[1].priority"
    assert tasker.count_tasks({"operation": "export"}) == 0


def test_a_unique_key_is_carried_by_one_active_task() -> None:
    first = tasker.add_task("import", 1, unique_key="book-7")

    with pytest.raises(DuplicateTask) as caught:
        tasker.add_task("import", 2, unique_key="book-7")
    assert caught.value.task.uuid == first.uuid
    assert tasker.add_task("import", 3, unique_key="book-7", on_conflict="return").uuid == first.uuid
    assert tasker.add_task("import", 4, unique_key="Book-7").uuid != first.uuid  # keys differ by case everywhere

    replacing = tasker.add_task("import", 5, unique_key="book-7", on_conflict="replace")
    assert tasker.get_task(first).status == "aborted"
    assert tasker.get_task(replacing).data == 5

    tasker.abort_task(replacing)
    assert tasker.add_task("import", 6, unique_key="book-7").status == "new"


def test_a_running_task_is_not_replaced() -> None:
    first = tasker.add_task("import", unique_key="k")
    Task.objects.filter(pk=first.pk).update(status="running", attempt=1)

    with pytest.raises(DuplicateTask):
        tasker.add_task("import", unique_key="k", on_conflict="replace")


def test_an_operations_defaults_are_its_tasks() -> None:
    own = Tasker()
    template = {"scope": "running", "query": {"data.book": {"$ref": "data.book"}}, "limit": 0}
    own.assign_runner("import", print, priority=3, max_attempts=4, concurrency=[template])

    task = own.add_task("import", {"book": 7}, priority=1, concurrency=condition())

    assert (task.priority, task.max_attempts) == (1, 4)
    assert task.concurrency == [template, condition()[0]]
    assert task.lane != own.add_task("import", {"book": 8}, concurrency=condition()).lane


def test_an_operation_has_one_runner() -> None:
    own = Tasker()
    own.assign_runner("import", print)

    with pytest.raises(RunnerAlreadyAssigned):
        own.assign_runner("import", len)
    with pytest.raises(InvalidTask):
        own.assign_runner("export", print, max_atempts=3)
    with pytest.raises(InvalidTask):
        own.assign_runner("export", print, run_timeout=-1)


def test_a_tasks_own_values_are_never_operators() -> None:
    """A $ref to an object like {"$gt": 0} compares with that object instead of obeying it."""
    own_value = {"scope": "running", "query": {"data.book": {"$ref": "data.book"}}, "limit": 0}

    task = tasker.add_task("import", {"book": {"$gt": 0}}, concurrency=[own_value])

    explanation = tasker.explain_task(task)
    assert explanation.conditions[0]["condition"]["query"] == {"data.book": {"$eq": {"$gt": 0}}}


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_task_was_never_there() -> None:
    heard: list[Any] = []
    off = tasker.on("task.added", heard.append)
    try:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tasker.add_task("import", "lost")
            raise ZeroDivisionError
        with transaction.atomic():
            kept = tasker.add_task("import", "kept")
            assert heard == []
    finally:
        off()

    assert heard == [kept.uuid]
    assert tasker.count_tasks() == 1
