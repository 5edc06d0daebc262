"""What queries mean, case by case; that databases agree is the law of test_agreement."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from django_tasker.query import parse, to_predicate
from tests.query.conftest import new_task

pytestmark = pytest.mark.sqlite_only

YES, NO = True, False


@pytest.mark.parametrize(
    ("query", "data", "answer"),
    [
        ({}, None, YES),
        ({"data": None}, None, YES),
        ({"data.a": None}, {}, YES),
        ({"data.a": None}, {"a": None}, YES),
        ({"data.a": None}, 5, YES),
        ({"data.a": {"$exists": True}}, {"a": None}, YES),
        ({"data.a": {"$exists": True}}, {}, NO),
        ({"data": {"$exists": True}}, None, NO),
        ({"data.a": {"$ne": 5}}, {}, YES),
        ({"data.a": {"$nin": [5, None]}}, {}, NO),
        ({"data.a": {"$in": [5, None]}}, {}, YES),
        ({"data.a": {"$in": []}}, {"a": 1}, NO),
        ({"data.a": 1}, {"a": 1.0}, YES),
        ({"data.a": 1}, {"a": True}, NO),
        ({"data.a": 1}, {"a": "1"}, NO),
        ({"data.a": {"$in": [1, "x"]}}, {"a": True}, NO),
        ({"data.a": True}, {"a": 1}, NO),
        ({"data.a": "x"}, {"a": ["x"]}, NO),
        ({"data.a": ["x"]}, {"a": ["x"]}, YES),
        ({"data.a": [1, 2]}, {"a": [2, 1]}, NO),
        ({"data.a": {"b": 1, "c": [2]}}, {"a": {"c": [2.0], "b": 1}}, YES),
        ({"data.a": {"b": 1}}, {"a": {"b": 1, "c": 1}}, NO),
        ({"data.a": {"b": None}}, {"a": {"c": None}}, NO),
        ({"data.a": {}}, {"a": {}}, YES),
        ({"data.a": {"$gt": 1}}, {"a": 1.5}, YES),
        ({"data.a": {"$gt": 1}}, {"a": "2"}, NO),
        ({"data.a": {"$gt": 0}}, {"a": True}, NO),
        ({"data.a": {"$gt": "a"}}, {"a": "a "}, YES),
        ({"data.a": {"$gt": "a"}}, {"a": "B"}, NO),
        ({"data.a": {"$gt": "\uffee"}}, {"a": "😀"}, YES),
        ({"data.a": {"$lt": 5}}, {}, NO),
        ({"data.a": {"$not": {"$lt": 5}}}, {}, YES),
        ({"data.a": {"$contains": 1}}, {"a": [True, 1.0]}, YES),
        ({"data.a": {"$contains": 1}}, {"a": [True]}, NO),
        ({"data.a": {"$contains": "b"}}, {"a": "abc"}, YES),
        ({"data.a": {"$contains": "b"}}, {"a": ["abc"]}, NO),
        ({"data.a": {"$contains": {"b": 1}}}, {"a": [{"b": 1, "c": 2}]}, NO),
        ({"data.a": {"$contains": None}}, {"a": [None]}, YES),
        ({"data.a": {"$contains": None}}, {}, NO),
        ({"data.a": {"$contains": "b"}}, {"a": {"b": 1}}, NO),
        ({"data.a": {"$startswith": "a%"}}, {"a": "a%b"}, YES),
        ({"data.a": {"$startswith": "a_"}}, {"a": "abc"}, NO),
        ({"data.a": {"$regex": "^b"}}, {"a": "abc"}, NO),
        ({"data.a": {"$regex": "C$", "$options": "i"}}, {"a": "abc"}, YES),
        ({"data.items.0": 1}, {"items": [1]}, YES),
        ({"data.items.0": 1}, {"items": {"0": 1}}, YES),
        ({"data.items.00": 1}, {"items": [1]}, NO),
        ({"data.items.-1": 1}, {"items": [1]}, NO),
        ({"data.0.a": 1}, [{"a": 1}], YES),
        ({"data.a": 1}, [{"a": 1}], NO),
        ({"data.a__gt": 1}, {"a__gt": 1}, YES),
        ({"data.a__gt": 1}, {"a": 5}, NO),
        ({"data.n": 2**53}, {"n": 2**53 + 1}, NO),
        ({"data.n": 2**62}, {"n": 2**62}, YES),
        ({"data.n": 4611686018427388000}, {"n": 4.611686018427388e18}, YES),
        ({"data.n": {"$lt": 1e300}}, {"n": 2**63 - 1}, YES),
    ],
    ids=str,
)
def test_meaning(query, data, answer):
    assert to_predicate(parse(query))(SimpleNamespace(data=data)) is answer


def test_infinite_priorities_compare():
    first = new_task(priority=float("-inf"))

    assert to_predicate(parse({"priority": "-Infinity"}))(first)
    assert to_predicate(parse({"priority": {"$lt": -1e308}}))(first)
    assert not to_predicate(parse({"priority": {"$gte": "Infinity"}}))(first)


def test_changing_the_query_afterwards_changes_nothing():
    query = {"data.a": {"b": [1]}}
    matches = to_predicate(parse(query))

    query["data.a"]["b"].append(2)

    assert matches(SimpleNamespace(data={"a": {"b": [1]}}))


def test_equality_costs_little_more_than_code_written_for_it():
    matches = to_predicate(parse({"data.book": 7, "status": "running"}))
    task = SimpleNamespace(data={"book": 7}, status="running")

    def written(task) -> bool:
        return isinstance(task.data, dict) and task.data.get("book") == 7 and task.status == "running"

    def seconds(predicate) -> float:
        start = time.perf_counter()
        for _ in range(2_000):
            predicate(task)
        return time.perf_counter() - start

    pairs = [(seconds(matches), seconds(written)) for _ in range(10)]
    assert min(ours for ours, _ in pairs) < 20 * min(theirs for _, theirs in pairs)  # 2.7 on an idle machine
