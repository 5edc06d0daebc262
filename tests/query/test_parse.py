"""What a query may say, and how a refusal names the place."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from django_tasker.errors import InvalidQuery
from django_tasker.query import dump, equalities, fields_of, parse
from django_tasker.query.parse import MAX_DEPTH, MAX_IN, MAX_NODES

pytestmark = pytest.mark.sqlite_only


@pytest.mark.parametrize(
    ("query", "place", "words"),
    [
        ([], "$", "must be a JSON object, got list"),
        ({1: 2}, "$", "Keys of a query must be strings"),
        ({"stauts": "new"}, "$.stauts", "Unknown field 'stauts' at $.stauts; did you mean 'status'?"),
        ({"data__a": 1}, "$.data__a", "Unknown field 'data__a'"),
        ({"": 1}, "$.", "Unknown field ''"),
        ({"pk": 1}, "$.pk", "Unknown field 'pk'"),
        ({"lane": 1}, "$.lane", "Unknown field 'lane'"),
        ({"hold": 1}, "$.hold", "Unknown field 'hold'"),
        ({"status.x": 1}, "$.status.x", "'status' has no keys"),
        ({"queue_timeout.after": 1}, "$.queue_timeout.after", "'queue_timeout' has no keys"),
        ({"data.": 1}, "$.data.", "empty part"),
        ({"data..a": 1}, "$.data..a", "empty part"),
        ({"$and": [{"status": "new"}, {"priority": {"$gt": "x"}}]}, "$.$and[1].priority.$gt", "Expected a number"),
        ({"$adn": []}, "$.$adn", "did you mean '$and'?"),
        ({"$and": []}, "$.$and", "one query or more"),
        ({"$or": {"status": "new"}}, "$.$or", "list"),
        ({"$nor": [1]}, "$.$nor[0]", "got int"),
        ({"$not": []}, "$.$not", "got list"),
        ({"priority": {"$gth": 1}}, "$.priority.$gth", "did you mean '$gt'?"),
        ({"priority": {"$regex": "1"}}, "$.priority.$regex", "Unknown operator"),
        ({"priority": {}}, "$.priority", "holds a number, got an object"),
        ({"priority": {"$gt": 1, "x": 2}}, "$.priority.x", "Unknown operator 'x'"),
        ({"priority": True}, "$.priority", "Expected a number"),
        ({"priority": float("nan")}, "$.priority", "finite"),
        ({"run_timeout": "Infinity"}, "$.run_timeout", "Expected a number"),
        ({"run_timeout": float("inf")}, "$.run_timeout", "finite"),
        ({"attempt": 1.5}, "$.attempt", "whole numbers"),
        ({"attempt": 2**63}, "$.attempt", "64 bits"),
        ({"attempt": {"$gt": None}}, "$.attempt.$gt", "not null"),
        ({"status": "foo"}, "$.status", "Unknown status 'foo'"),
        ({"status": {"$in": ["new", "don"]}}, "$.status.$in[1]", "did you mean 'done'?"),
        ({"status": {"$gt": "new"}}, "$.status.$gt", "Unknown operator"),
        ({"uuid": "abc"}, "$.uuid", "Expected a UUID"),
        ({"uuid": 5}, "$.uuid", "Expected a string"),
        ({"uuid": {"$gt": str(UUID(int=1))}}, "$.uuid.$gt", "Unknown operator"),
        ({"run_at": "yesterday"}, "$.run_at", "ISO 8601"),
        ({"run_at": "2030-01-01T00:00:00"}, "$.run_at", "offset"),
        ({"run_at": datetime(2030, 1, 1)}, "$.run_at", "offset"),
        ({"run_at": "0001-01-01T00:00:00+10:00"}, "$.run_at", "years 1 to 9999"),
        ({"operation": 5}, "$.operation", "Expected a string"),
        ({"operation": {"$contains": 5}}, "$.operation.$contains", "Expected a string"),
        ({"operation": ["a"]}, "$.operation", "Expected a string"),
        ({"data": float("inf")}, "$.data", "finite"),
        ({"data": {1}}, "$.data", "JSON value"),
        ({"data.a": {"b": {"c": float("nan")}}}, "$.data.a.b.c", "finite"),
        ({"data": {"a": "\0"}}, "$.data.a", "NUL"),
        ({"data": "\ud800"}, "$.data", "lone surrogate"),
        ({"data.\ud800": 1}, "$.data.\\ud800", "lone surrogate"),
        ({"data": {"$eq": {"a\0": 1}}}, "$.data.$eq", "NUL"),
        ({"data": 2**64}, "$.data", "64 bits"),
        ({"data": "x" * 10_001}, "$.data", "10,001 characters"),
        ({"data.n": {"$gt": True}}, "$.data.n.$gt", "not true"),
        ({"data.n": {"$lte": [1]}}, "$.data.n.$lte", "number or a string"),
        ({"data.n": {"$in": 1}}, "$.data.n.$in", "needs a list"),
        ({"data.n": {"$in": [0] * (MAX_IN + 1)}}, "$.data.n.$in", "1,001 values"),
        ({"data.n": {"$exists": 1}}, "$.data.n.$exists", "true or false"),
        ({"data.n": {"$startswith": None}}, "$.data.n.$startswith", "Expected a string"),
        ({"data.n": {"$not": 5}}, "$.data.n.$not", "object of operators"),
        ({"data.n": {"$not": {}}}, "$.data.n.$not", "object of operators"),
        ({"data.n": {"$ref": "data.m"}}, "$.data.n.$ref", "Unknown operator '$ref'"),
        ({"data.n": {"$regex": "("}}, "$.data.n.$regex", "missing )"),
        ({"data.n": {"$options": "i"}}, "$.data.n.$options", "$regex beside it"),
        ({"data.n": {"$regex": "a", "$options": "m"}}, "$.data.n.$regex", "'m'"),
        ({"data.0.1.2.3.4": 1}, "$.data.0.1.2.3.4", "whole numbers"),
        ({"data" + ".a" * 21: 1}, "$.data" + ".a" * 21, "more than 20 parts"),
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "backslashreplace").decode() if not callable(value) else None,
)
def test_a_refusal_names_the_place_and_the_reason(query, place, words):
    with pytest.raises(InvalidQuery) as refused:
        parse(query)

    assert refused.value.path == place
    assert words in str(refused.value)
    assert place[:100] in str(refused.value)
    str(refused.value).encode()  # fit to be shown, whatever the query held


def test_the_place_begins_with_what_the_caller_calls_the_query():
    with pytest.raises(InvalidQuery, match=r"at concurrency\[0\]\.query\.x;"):
        parse({"x": 1}, path="concurrency[0].query")


def test_regex_is_refused_where_it_is_not_allowed():
    for query in ({"operation": {"$regex": "a"}}, {"$nor": [{"data.a": {"$not": {"$regex": "a"}}}]}):
        with pytest.raises(InvalidQuery, match="not allowed"):
            parse(query, allow_regex=False)


def nested(depth: int, key: str) -> dict:
    query: dict = {"status": "new"}
    for _ in range(depth):
        query = {key: query if key == "$not" else [query, {"attempt": 1}]}
    return query


@pytest.mark.parametrize("key", ["$and", "$or", "$nor", "$not"])
def test_a_query_has_at_most_twenty_levels(key):
    parse(nested(MAX_DEPTH, key))

    with pytest.raises(InvalidQuery, match="more than 20 levels"):
        parse(nested(MAX_DEPTH + 1, key))
    with pytest.raises(InvalidQuery, match="more than 20 levels"):
        parse(nested(900, key))


def test_a_literal_has_at_most_twenty_levels():
    value: list = []
    for _ in range(19):
        value = [value]
    parse({"data": value})

    with pytest.raises(InvalidQuery, match="more than 20 levels"):
        parse({"data": [value]})


def test_a_query_has_at_most_five_hundred_nodes_and_five_thousand_values():
    parse({"$or": [{"attempt": number} for number in range(MAX_NODES - 1)]})

    with pytest.raises(InvalidQuery, match="more than 500"):
        parse({"$or": [{"attempt": number} for number in range(MAX_NODES)]})
    with pytest.raises(InvalidQuery, match="more than 500"):
        parse({"$and": [{}] * 100_000})
    with pytest.raises(InvalidQuery, match="more than 5,000 values"):
        parse({"data": [list(range(3_000)), list(range(3_000))]})


def test_a_literal_that_holds_itself_is_refused():
    value: list = []
    value.append(value)

    with pytest.raises(InvalidQuery, match="more than 5,000 values"):
        parse({"data": value})


@pytest.mark.parametrize(
    ("query", "same"),
    [
        ({"attempt": 1}, {"attempt": {"$eq": 1.0}}),
        ({"attempt": 1, "status": "new"}, {"$and": [{"status": "new"}, {"attempt": 1}, {"attempt": 1}]}),
        ({"attempt": {"$ne": 1}}, {"$not": {"attempt": 1}}),
        ({"attempt": {"$nin": [1, 2]}}, {"$nor": [{"attempt": {"$in": [2, 1, 1]}}]}),
        ({"data.a": {"$exists": False}}, {"data.a": {"$not": {"$exists": True}}}),
        ({"data.a": {"$gt": 1, "$lt": 5}}, {"$and": [{"data.a": {"$lt": 5}}, {"data.a": {"$gt": 1}}]}),
        ({"$nor": [{"attempt": 1}, {"attempt": 2}]}, {"$and": [{"attempt": {"$ne": 2}}, {"attempt": {"$ne": 1}}]}),
        ({"$not": {"$not": {"attempt": 1}}}, {"attempt": 1}),
        ({"data": {"a": 1.0, "b": -0.0}}, {"data": {"b": 0, "a": 1}}),
        ({"data": 1e15}, {"data": 10**15}),
        ({"priority": float("inf")}, {"priority": "Infinity"}),
        ({"run_at": "2030-01-01T02:00:00+02:00"}, {"run_at": datetime(2030, 1, 1, tzinfo=UTC)}),
        ({"uuid": UUID(int=5)}, {"uuid": "{00000000-0000-0000-0000-000000000005}"}),
    ],
    ids=str,
)
def test_what_says_the_same_is_the_same_tree(query, same):
    assert parse(query) == parse(same)
    assert hash(parse(query)) == hash(parse(same))
    assert dump(parse(query)) == dump(parse(same))


@pytest.mark.parametrize(
    ("query", "other"),
    [
        ({"data": 1}, {"data": True}),
        ({"data": 0}, {"data": False}),
        ({"data": 1}, {"data": "1"}),
        ({"data": [1]}, {"data": [True]}),
        ({"data": {"$in": [1]}}, {"data": {"$in": [True]}}),
    ],
    ids=str,
)
def test_true_is_not_one(query, other):
    assert parse(query) != parse(other)


def test_dump_is_short():
    query = {"attempt": {"$gt": 1, "$lte": 5}, "data.a": [1], "data.b": {"$eq": {"$x": 1}}, "status": {"$ne": "new"}}

    assert dump(parse(query)) == query
    assert dump(parse({})) == {}
    assert dump(parse({"priority": float("-inf")})) == {"priority": "-Infinity"}


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ({"data.book": 7}, {("data.book", 7)}),
        ({"data.book": {"$eq": 7.0}, "queue": "q"}, {("data.book", 7), ("queue", "q")}),
        ({"$and": [{"data.a": True}, {"uuid": str(UUID(int=1))}]}, {("data.a", True), ("uuid", UUID(int=1))}),
        ({}, None),
        ({"data.a": None}, None),
        ({"data.a": [None]}, None),
        ({"data.a": {"$ne": 1}}, None),
        ({"data.a": 1, "attempt": {"$gt": 1}}, None),
        ({"$or": [{"data.a": 1}, {"data.a": 2}]}, None),
        ({"data.a": 1e17}, None),
        ({"data.²": 1}, None),
    ],
    ids=str,
)
def test_equalities_are_those_of_a_plain_conjunction(query, pairs):
    found = equalities(parse(query))

    assert (None if found is None else set(found)) == pairs


def test_fields_are_the_columns_a_query_looks_at():
    query = {"data.a.b": 1, "$or": [{"queue": "a"}, {"$not": {"result": None}}], "data.c": {"$exists": True}}

    assert fields_of(parse(query)) == {"data", "queue", "result"}
    assert fields_of(parse({})) == frozenset()
