"""What becomes of a query in SQL: nothing of it is ever part of the text, and it works in every statement."""

from __future__ import annotations

import pytest
from django.db.models import Count, Q

from django_tasker.models import Task
from django_tasker.query import parse, sort_keys, to_q

pytestmark = pytest.mark.django_db

MARK = "xyzzy"
NASTY = [
    MARK,
    f"'{MARK}",
    f'"{MARK}',
    f"%({MARK})s",
    f"%s{MARK}",
    f"\\'{MARK}",
    f"`{MARK}`",
    f"-- {MARK}",
    f"{{{MARK}}}",
]
NASTY += [
    f"'; DROP TABLE {MARK}; --",
    f"-{MARK}",
    f"é{MARK}",
    f"\\{MARK}\\",
    f"a__{MARK}",
    f"$[*]{MARK}",
    f"?{MARK}",
    f"😀{MARK}",
]
TESTS = [
    *(
        {"$eq": MARK},
        {"$in": [MARK, 5, None]},
        {"$gt": MARK},
        {"$gt": 5},
        {"$contains": MARK},
        {"$contains": 5},
        {"$eq": None},
    ),
    *(
        {"$startswith": MARK},
        {"$regex": MARK},
        {"$exists": True},
        {"$eq": {MARK: [MARK]}},
        {"$contains": [{MARK: 1}]},
        {"$eq": 1e300},
    ),
]


@pytest.mark.parametrize("key", NASTY)
def test_neither_keys_nor_values_are_part_of_the_sql(add, key):
    task = add(data={key: MARK, "other": {key: [5]}}, operation=key)

    for test in TESTS:
        for dotted in (f"data.{key}", f"data.0.{key}.1"):
            tasks = Task.objects.filter(to_q(parse({dotted: test})))
            assert MARK not in tasks.query.sql_with_params()[0]
            list(tasks)
    assert list(Task.objects.filter(to_q(parse({f"data.{key}": MARK})))) == [task]
    assert list(Task.objects.filter(to_q(parse({f"data.other.{key}.0": 5})))) == [task]
    assert list(Task.objects.filter(to_q(parse({"operation": {"$eq": key}})))) == [task]
    assert MARK not in Task.objects.order_by(*sort_keys(f"data.{key}")).query.sql_with_params()[0]


EVERYTHING = {
    "$and": [{"$or": [{f"data.{key}": test} for test in TESTS]} for key in ("a", "0.b", "-a.1", "é")],
    "operation": {"$ne": "x", "$regex": "^a", "$contains": "a", "$lte": "b", "$nin": ["x", "y"]},
    "data.n": {"$gt": 5, "$lt": 1e300, "$ne": 2**62},
}


def test_a_query_works_in_every_statement(add):
    for value in ("5", "x", [5], {"n": 1}, None, 6, True, 1e300, -(2**62)):
        add(data={"a": "xyzzy", "n": value}, operation="a")
    q = to_q(parse({"data.n": {"$gt": 5}, "data.a": "xyzzy", "operation": "a"}))
    everything = to_q(parse(EVERYTHING))

    assert Task.objects.filter(everything | q).count() == 2
    assert Task.objects.aggregate(n=Count("id", filter=q), m=Count("id", filter=~(q | everything)))["n"] == 2
    assert Task.objects.annotate(hit=q).filter(hit=True).count() == 2
    # MySQL's strict mode makes an error of a bad cast in an UPDATE, and a warning in a SELECT.
    assert Task.objects.filter(q | everything).update(attempt=5) == 2
    assert Task.objects.filter(id__in=list(Task.objects.filter(q).values_list("id", flat=True))).count() == 2
    assert Task.objects.filter(pk__in=Task.objects.filter(q)).count() == 2
    assert Task.objects.filter(q | everything).delete()[0] == 2


@pytest.mark.parametrize("test", [{"$regex": "5"}, {"$contains": "5"}, {"$startswith": "5"}, {"$gt": "4"}, {"$gt": 4}])
def test_a_test_for_one_type_bears_the_others(add, test):
    for value in ("5", 5, 5.5, True, None, ["5"], {"5": 5}):
        add(data={"a": value}, result=value)

    for path in ("data.a", "result"):
        q = to_q(parse({path: test}))
        found = set(Task.objects.filter(q | Q(attempt=7)))
        assert 1 <= len(found) <= 2
        assert set(Task.objects.annotate(hit=q).filter(hit=True)) == found
        assert set(Task.objects.annotate(hit=~q).filter(hit=False)) == found


def test_the_deepest_path_and_literal_are_answered(add):
    value: object = "x"
    for _ in range(8):
        value = {"b": [value]}
    add(data={"a": value})

    found = Task.objects.filter(to_q(parse({"data" + ".a" * 20: {"$eq": value}})))
    assert list(found) == []
    assert list(Task.objects.filter(~to_q(parse({"data" + ".a" * 20: {"$eq": [value]}})))) == list(Task.objects.all())
    assert Task.objects.filter(to_q(parse({"data.a": value}))).count() == 1


def test_always_and_never_survive_being_combined(add):
    add()
    always, never = to_q(parse({})), to_q(parse({"$nor": [{}]}))

    assert Task.objects.filter(always).count() == 1
    assert Task.objects.filter(never).count() == 0
    assert Task.objects.filter(~always).count() == 0
    assert Task.objects.filter(always | Q(attempt=5)).count() == 1
    assert Task.objects.filter(never | Q(attempt=0)).count() == 1
    assert Task.objects.filter(to_q(parse({"data.a": {"$in": []}}))).count() == 0
    assert Task.objects.aggregate(n=Count("id", filter=always), m=Count("id", filter=never)) == {"n": 1, "m": 0}


def test_the_largest_query_is_answered(add):
    task = add(data={"n": 7}, operation="op7")
    for name, values in (("data.n", list(range(1_000))), ("operation", [f"op{number}" for number in range(1_000)])):
        assert list(Task.objects.filter(to_q(parse({name: {"$in": values}})))) == [task]
    widest = {"$or": [{"data.n": {"$gt": number, "$lt": number + 2}} for number in range(160)]}
    assert list(Task.objects.filter(to_q(parse(widest)))) == [task]
    mixed = {"data.n": {"$in": [*range(400), *map(str, range(400)), [1], {"a": 1}, None]}}
    assert list(Task.objects.filter(to_q(parse(mixed)))) == [task]
    deepest: dict = {"data.n": 7}
    for number in range(20):
        deepest = {"$nor": [deepest, {"attempt": number + 1}]}
    assert list(Task.objects.filter(to_q(parse(deepest)))) == [task]


def test_a_large_literal_compares(add):
    value = {f"k{number}": [number, str(number), None, {"x": True}] for number in range(150)}
    task = add(data=value)
    add(data={**value, "k5": []})

    assert list(Task.objects.filter(to_q(parse({"data": value})))) == [task]
