"""The law: a query chooses the same tasks through the ORM and through the predicate, on every database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count, JSONField, Value
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from django_tasker.models import Task
from django_tasker.query import dump, parse, to_predicate, to_q
from tests.query import worlds

pytestmark = pytest.mark.django_db

# Not shrunk: the message names the query, and shrinking worlds takes minutes.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
MANY = settings(max_examples=30, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))


def insert(tasks: list[Task]) -> list[Task]:
    """Write rows; every third also gets its documents in the other ways they can stand in a column."""
    for index, task in enumerate(tasks):
        task.id = index + 1
    Task.objects.bulk_create(tasks)
    for task in tasks[::3]:
        if task.result is None:
            Task.objects.filter(pk=task.pk).update(result=Value(None, JSONField()))
        if connection.vendor != "postgresql":  # jsonb keeps no spelling
            with connection.cursor() as cursor:
                text = json.dumps(task.data, ensure_ascii=False)
                cursor.execute("UPDATE django_tasker_task SET data = %s WHERE id = %s", [text, task.pk])
    return list(Task.objects.order_by("id"))


def check(query: dict[str, Any], given_tasks: list[Task], read_tasks: list[Task]) -> None:
    node = parse(query)
    matches, q = to_predicate(node), to_q(node)

    by_predicate = [task.id for task in read_tasks if matches(task)]
    by_q = list(Task.objects.filter(q).order_by("id").values_list("id", flat=True))

    assert by_q == by_predicate, query
    assert [task.id for task in given_tasks if matches(task)] == by_predicate, "storing must not change the answer"
    others = [task.id for task in read_tasks if task.id not in by_q]
    assert list(Task.objects.filter(~q).order_by("id").values_list("id", flat=True)) == others
    assert list(Task.objects.exclude(q).order_by("id").values_list("id", flat=True)) == others
    counts = Task.objects.aggregate(yes=Count("id", filter=q), no=Count("id", filter=~q))
    assert (counts["yes"], counts["no"]) == (len(by_q), len(others))


@MANY
@given(st.lists(worlds.tasks(), min_size=12, max_size=16), st.lists(worlds.queries, min_size=14, max_size=18))
def test_q_and_predicate_choose_the_same_tasks(tasks, queries):
    with transaction.atomic():
        read = insert(tasks)
        for query in queries:
            check(query, tasks, read)
        transaction.set_rollback(True)


@MANY
@given(
    st.lists(st.tuples(worlds.keys, worlds.documents), min_size=20, max_size=20), st.lists(worlds.documents, max_size=6)
)
def test_values_under_any_key_are_found_by_themselves_and_by_others(places, wanted):
    tasks = [worlds.new_task(data={key: value}, result=[value]) for key, value in places]
    with transaction.atomic():
        read = insert(tasks)
        for key, value in places[:5]:
            for other in (value, *wanted):
                check({f"data.{key}": {"$eq": other}}, tasks, read)
                check({"result": {"$contains": other}}, tasks, read)
                check({"result.0": {"$in": [other, 1]}}, tasks, read)
        transaction.set_rollback(True)


@MANY
@given(st.lists(worlds.numbers, min_size=15, max_size=20), st.lists(worlds.numbers, min_size=3, max_size=5))
def test_numbers_compare_as_the_decimals_that_json_writes(values, wanted):
    tasks = [worlds.new_task(data={"n": value}) for value in values]
    with transaction.atomic():
        read = insert(tasks)
        for number in (*values[:3], *wanted):
            for operator in ("$eq", "$gt", "$gte", "$lt", "$lte"):
                check({"data.n": {operator: number}}, tasks, read)
        transaction.set_rollback(True)


@MANY
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4), min_size=15, max_size=15),
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=2), min_size=2, max_size=2),
)
def test_strings_compare_by_code_point(values, wanted):
    tasks = [worlds.new_task(data=value, operation=value, abort_reason=value) for value in values]
    with transaction.atomic():
        read = insert(tasks)
        for text in (*values[:2], *wanted):
            for operator in ("$eq", "$gt", "$lte", "$contains", "$startswith"):
                check({"data": {operator: text}}, tasks, read)
                check({"abort_reason": {operator: text}}, tasks, read)
        transaction.set_rollback(True)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds.queries)
def test_a_dumped_query_parses_to_the_same_tree(query):
    node = parse(query)

    dumped = json.loads(json.dumps(dump(node)))

    assert parse(dumped) == node
    assert dump(parse(dumped)) == dumped


@pytest.mark.parametrize("column", ["concurrency", "queue_timeout"])
def test_options_written_by_the_plain_encoder_are_found_as_they_are(column):
    values = ["😀", "é\U00010000", '"', "\\u0041", "A", {"😀": ["😀"]}, {"a": 1.0}, [{"query": {"data.a": "😀"}}]]
    read = insert([worlds.new_task(**{column: value}) for value in values])

    for value in values:
        check({column: worlds.as_value(value)}, read, read)
        check({column: {"$contains": value}}, read, read)
