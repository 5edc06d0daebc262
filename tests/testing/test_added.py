"""Assertions about added tasks, and what they say when they fail."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from django_tasker import Tasker, tasker
from django_tasker.errors import InvalidQuery
from django_tasker.testing import assert_added, assert_not_added, drain

pytestmark = pytest.mark.django_db


def message(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_added(*args, **kwargs)
    return str(caught.value)


def test_tasks_that_match_are_returned_in_the_order_they_were_added() -> None:
    first = tasker.add_task("import-book", {"book": 7}, priority=5)
    second = tasker.add_task("import-book", {"book": 7})
    tasker.add_task("import-book", {"book": 8})

    assert assert_added("import-book", data={"book": 7}) == [first, second]
    assert assert_added("import-book", {"book": 7}, count=2) == [first, second]
    assert len(assert_added()) == 3


def test_tasks_that_have_run_were_added_too() -> None:
    tasker.add_task("echo")
    drain()

    assert_added("echo")
    assert_not_added("echo", status="new")


def test_data_is_compared_whole_and_queries_look_into_it() -> None:
    tasker.add_task("import-book", {"book": 7, "pages": 310})

    assert_not_added("import-book", data={"book": 7})
    assert_added("import-book", query={"data.book": 7, "data.pages": {"$gt": 300}})
    assert_not_added("import-book", query={"data.pages": {"$gt": 310}})
    assert_added(query={"$or": [{"operation": "no"}, {"data.book": 7}]})


def test_fields_are_compared() -> None:
    tasker.add_task("import-book", priority=-5, queue="slow", unique_key="7")

    assert_added("import-book", priority=-5, queue="slow", unique_key="7", data=None)
    assert_added("import-book", priority={"$lt": 0})
    assert_not_added("import-book", data={"book": None})


def test_a_count_of_zero_and_not_added_are_the_same() -> None:
    assert assert_added("import-book", count=0) == []
    assert_not_added("import-book")
    tasker.add_task("import-book", {"book": 7})

    assert "1 task matches" in message("import-book", count=0)
    with pytest.raises(AssertionError, match=r'It is:\n  import-book  \{"book": 7\}  new'):
        assert_not_added("import-book")


def test_a_failure_shows_the_tasks_of_the_operation() -> None:
    tasker.add_task("import-book", {"book": 8}, queue="slow")
    tasker.add_task("other")

    assert message("import-book", data={"book": 7}, queue="fast", priority={"$lt": 0}) == (
        'No task matches {"operation": "import-book", "data": {"book": 7}, "queue": "fast", "priority": {"$lt": 0}}.\n'
        "Tasks of 'import-book':\n"
        '  import-book  {"book": 8}  new  queue="slow"  priority=0.0'
    )


def test_a_failure_shows_any_tasks_when_the_operation_has_none() -> None:
    tasker.add_task("import-books", {"book": 7})

    assert message("import-book") == (
        'No task matches {"operation": "import-book"}.\nTasks that were added:\n  import-books  {"book": 7}  new'
    )


def test_a_failure_says_when_there_is_nothing_at_all() -> None:
    assert "There is no task at all" in message("import-book")
    assert "No task was added." in message()


def test_a_failure_of_the_count_shows_what_was_found() -> None:
    tasker.add_tasks({"operation": "import-book", "data": n} for n in range(2))

    assert message("import-book", count=3) == (
        '2 tasks match {"operation": "import-book"}, not 3.\nThey are:\n  import-book  0  new\n  import-book  1  new'
    )


def test_a_failure_is_short_whatever_was_added() -> None:
    tasker.add_tasks({"operation": "import-book", "data": ["x" * 1000]} for _ in range(50))

    text = message("import-book", data=[])

    assert "… and 30 more" in text
    assert len(text) < 8000


def test_a_task_that_was_rolled_back_was_not_added() -> None:
    with transaction.atomic():
        tasker.add_task("import-book")
        transaction.set_rollback(True)

    assert_not_added("import-book")


@pytest.mark.parametrize(
    "wrong",
    [{"prioriti": 5}, {"status": "gone"}, {"query": {"data.book": {"$like": "x"}}}, {"priority": "high"}],
)
def test_a_field_an_operator_or_a_value_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery):
        assert_not_added("import-book", **wrong)


@pytest.mark.parametrize("count", [-1, True, "2", 1.0])
def test_a_count_that_is_none_is_refused(count: Any) -> None:
    with pytest.raises(TypeError, match="count must be"):
        assert_added("import-book", count=count)


def test_an_own_taskers_tasks_are_in_the_same_table() -> None:
    own = Tasker()
    own.add_task("mine")

    assert_added("mine", tasker=own)
    assert_added("mine")
