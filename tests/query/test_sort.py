"""Orderings are the same on every database."""

from __future__ import annotations

import pytest

from django_tasker.errors import InvalidQuery
from django_tasker.models import Task
from django_tasker.query import sort_keys


def ordered(sort: str | list[str], column: str = "data") -> list:
    return list(Task.objects.order_by(*sort_keys(sort), "id").values_list(column, flat=True))


@pytest.mark.django_db
def test_json_sorts_by_type_then_by_value(add):
    values = [None, {}, -1, 2, 10, 10.5, "", "10", "2", "B", "a", "a ", "é", "\uffee", "😀", {"b": 1}, [1], False, True]
    rows = [{}, *({"x": value} for value in values if value != {})]
    for row in reversed(rows):
        add(data=row)

    up, down = ordered("data.x"), ordered("-data.x")

    assert up[2:] == rows[2:]
    assert sorted(map(str, up[:2])) == sorted(map(str, rows[:2]))  # missing and null sort alike
    assert down[:-2] == rows[:1:-1]


@pytest.mark.django_db
def test_paths_with_odd_keys_sort_as_well(add):
    for value in (3, 1, 2):
        add(data={"é q": [value]}, result={"-": {"%s": str(value)}})

    assert ordered("data.é q.0") == [{"é q": [value]} for value in (1, 2, 3)]
    assert ordered("-result.-.%s") == [{"é q": [value]} for value in (3, 2, 1)]


@pytest.mark.django_db
def test_null_comes_first_and_descending_last(add):
    for value in (2.0, None, 1.0):
        add(run_timeout=value)

    assert ordered("run_timeout", "run_timeout") == [None, 1.0, 2.0]
    assert ordered("-run_timeout", "run_timeout") == [2.0, 1.0, None]


@pytest.mark.django_db
def test_text_sorts_by_code_point(add):
    names = ["", "B", "a", "a ", "b", "é", "\uffee", "😀"]
    for name in reversed(names):
        add(operation=name, abort_reason=name)

    assert ordered("operation", "operation") == names
    assert ordered(["-abort_reason"], "operation") == names[::-1]


@pytest.mark.django_db
def test_several_keys_sort_in_turn(add):
    for priority, x in ((1, "b"), (0, "a"), (1, "a")):
        add(priority=priority, data={"x": x})

    found = Task.objects.order_by(*sort_keys(["-priority", "data.x"])).values_list("priority", "data__x")

    assert list(found) == [(1, "a"), (1, "b"), (0, "a")]


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("sort", "place"),
    [
        *(("prioriti", "sort[0]"), (["id", "--id"], "sort[1]"), ("?", "sort[0]"), ("lane", "sort[0]"), ("", "sort[0]")),
        *(("status.x", "sort[0]"), ("data.", "sort[0]"), ([1], "sort[0]"), (5, "sort"), ("id,-id", "sort[0]")),
    ],
)
def test_what_is_no_field_is_refused(sort, place):
    with pytest.raises(InvalidQuery) as refused:
        sort_keys(sort)

    assert refused.value.path == place


@pytest.mark.sqlite_only
def test_plain_columns_stay_plain():
    assert sort_keys("-priority") == ["-priority"]
    assert sort_keys([]) == []
