"""REST: lists, filters, pages and search."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from django_tasker import tasker
from django_tasker.api import serializers
from django_tasker.api.filters import TaskFilterSet
from django_tasker.api.pagination import ORDERINGS
from django_tasker.models import Task
from tests.doors.api_client import ALL, Api, problem, user_with
from tests.listening.rows import add_logs, make_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def api():
    return Api(user_with(*ALL))


def uuids(response):
    assert response.status_code == 200, response.content
    return [task["uuid"] for task in response.json()["results"]]


def found(api, query):
    return {task["data"]["n"] for task in api.get("tasks/", query).json()["results"]}


@pytest.fixture
def tasks():
    """Four tasks whose `data.n` is 0, 1, 2 and 3."""
    old = datetime(2020, 1, 1, tzinfo=UTC)
    make_task("running", data={"n": 0, "book": 7, "tags": ["a"]}, priority=float("-inf"), queue="q", worker_name="w")
    make_task("done", data={"n": 1, "book": 8, "title": "Emma"}, priority=2, error_count=3)
    make_task("failed", data={"n": 2, "book": "7", "title": "Ulysses"}, unique_key="k", error={"type": "OSError"})
    make_task("running", data={"n": 3}, priority=float("inf"), abort_requested_at=timezone.now(), added_by="bob")
    Task.objects.filter(data__n=1).update(added_at=old, operation="other")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {0, 1, 2, 3}),
        ({"status": "running"}, {0, 3}),
        ({"status__in": "done,failed"}, {1, 2}),
        ({"operation": "other"}, {1}),
        ({"operation__startswith": "sam"}, {0, 2, 3}),
        ({"queue": "q"}, {0}),
        ({"worker_name": "w"}, {0}),
        ({"unique_key": "k"}, {2}),
        ({"added_by": "bob"}, {3}),
        ({"priority": "-Infinity"}, {0}),
        ({"priority__gte": "2"}, {1, 3}),
        ({"priority__lt": "Infinity"}, {0, 1, 2}),
        ({"error_count__gte": "1"}, {1}),
        ({"added_at__lt": "2021-01-01T00:00:00Z"}, {1}),
        ({"ended_at__isnull": "true"}, {0, 3}),
        ({"is_ended": "true"}, {1, 2}),
        ({"is_ended": "false"}, {0, 3}),
        ({"is_aborting": "true"}, {3}),
        ({"is_aborting": "false"}, {0, 1, 2}),
        ({"data.book": "7"}, {0}),
        ({"data.book": '"7"'}, {2}),
        ({"data.book__gte": "7"}, {0, 1}),
        ({"data.book__in": '[8, "7"]'}, {1, 2}),
        ({"data.title": "Emma"}, {1}),
        ({"data.title__startswith": "U"}, {2}),
        ({"data.tags__contains": "a"}, {0}),
        ({"data.book__exists": "false"}, {3}),
        ({"error.type": "OSError"}, {2}),
        ({"query": '{"data.n": {"$gte": 1}, "status": "running"}'}, {3}),
        ({"query": '{"added_by": {"$startswith": "b"}}'}, {3}),
        ({"data.n__gte": "1", "status__in": "running,failed", "query": '{"data.n": {"$ne": 3}}'}, {2}),
    ],
)
def test_filters(api, tasks, query, expected):
    assert found(api, query) == expected


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"stauts": "done"}, "stauts"),
        ({"status": "gone"}, "status"),
        ({"priority": "NaN"}, "priority"),
        ({"priority__lt": "x"}, "priority__lt"),
        ({"attempt": "1e9"}, "attempt"),
        ({"attempt": "9" * 400}, "attempt"),
        ({"added_at__lt": "soon"}, "added_at__lt"),
        ({"added_at__lt": "0001-01-01T00:00:00+14:00"}, "added_at__lt"),
        ({"operation": "a\x00b"}, "operation"),
        ({"uuid": "7"}, "uuid"),
        ({"data.a\x00": "7"}, "data.a\x00"),
        ({"data.a": '"\x00"'}, "data.a"),
        ({"data.title__regex": "E"}, "data.title__regex"),
        ({"query": "{"}, "query"),
        ({"query": '{"data.a": NaN}'}, "query"),
        ({"query": "[" * 2000}, "query"),
        ({"query": '{"operation": {"$regex": "x"}}'}, "query.operation.$regex"),
        ({"ordering": "data"}, "ordering"),
        ({"page_size": "201"}, "page_size"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "W10"}, "cursor"),
        ({"fields": "uuid,lane"}, "fields"),
        ({"with_logs": "maybe"}, "with_logs"),
        ({"logs_max_level": "loud"}, "logs_max_level"),
    ],
)
def test_wrong_parameters_are_refused_by_name(api, query, path):
    _, named = problem(api.get("tasks/", query), 400)

    assert named == path


def test_regex_can_be_allowed(api, tasks, settings):
    settings.TASKER = {"ALLOW_REGEX": True}

    assert found(api, {"data.title__regex": "^U"}) == {2}


def test_each_filter_can_be_asked_of_the_database(api, tasks):
    values = {"uuid": "7f8d2f0e-4a63-4c3c-9f0c-7d3c5f3b8a11", "status": "done", "on_stop": "abort"}
    times = {f"{name}_at" for name in ("added", "updated", "run", "started", "ended", "abort_requested")}
    for name in TaskFilterSet.base_filters:
        field, _, lookup = name.partition("__")
        value = values.get(field) or ("2030-01-31T07:00:00+01:00" if field in times else "1")
        response = api.get("tasks/", {name: "true" if lookup == "isnull" or field.startswith("is_") else value})
        assert response.status_code == 200, (name, response.content)


def test_what_is_shown_can_be_queried(api, tasks):
    shown = set(serializers.FIELDS) - {"is_aborting"}  # that is {"status": "running", "abort_requested_at": …}

    for name in shown:
        there_or_not = {"$or": [{name: {"$exists": flag}} for flag in (True, False)]}
        assert found(api, {"query": json.dumps(there_or_not)}) == {0, 1, 2, 3}, name


def test_fields_leave_out_what_is_not_wanted(api, tasks, django_assert_max_num_queries):
    with django_assert_max_num_queries(6):
        shown = api.get("tasks/", {"fields": "uuid,status"}).json()["results"]

    assert all(set(task) == {"uuid", "status"} for task in shown)


def test_logs_come_in_one_query_for_all(api, django_assert_max_num_queries):
    for count in (2, 0, 1):
        add_logs(make_task("running").uuid, 1, count)

    with django_assert_max_num_queries(7):
        shown = api.get("tasks/", {"with_logs": "true", "ordering": "added_at"}).json()["results"]

    assert [len(task["logs"]) for task in shown] == [2, 0, 1]
    assert all(not task["logs"] for task in api.get("tasks/?with_logs=1&logs_max_level=error").json()["results"])


# -- pages ----------------------------------------------------------------------------------------------------------


def walk(api, url, link="next"):
    """All pages from a URL on; the tasks' uuids, and the last page's URL."""
    seen = []
    while True:
        page = api.client.get(url).json()
        part = [task["uuid"] for task in page["results"]]
        seen += part if link == "next" else part[::-1]
        if page[link] is None:
            return seen, url
        url = page[link]


@pytest.mark.parametrize("name", ORDERINGS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_pages_hold_each_task_once_in_order_both_ways(api, name, sign):
    times = [None, timezone.now(), timezone.now() - timedelta(days=1)]
    for _ in range(23):
        make_task(
            random.choice(["running", "new"]),
            priority=random.choice([float("-inf"), -1.5, 0, float("inf")]),
            run_at=random.choice(times),
            started_at=random.choice(times),
        )

    forwards, last = walk(api, f"/api/tasks/?page_size=4&ordering={sign}{name}")
    backwards, _ = walk(api, last, "previous")

    assert len(forwards) == len(set(forwards)) == 23
    assert backwards == forwards[::-1]
    column = ORDERINGS[name] or "id"
    rows = {str(task.uuid): getattr(task, column) for task in Task.objects.all()}
    values = [rows[uuid] for uuid in forwards]
    there = [value for value in values if value is not None]
    assert there == sorted(there, reverse=bool(sign))
    assert values == there + [None] * (len(values) - len(there))


def test_pages_stay_as_they_are_while_tasks_are_added(api):
    first = [str(make_task("running").uuid) for _ in range(6)]
    page = api.get("tasks/", {"page_size": 3}).json()
    for _ in range(5):
        make_task("running")

    rest = api.client.get(page["next"])

    assert [task["uuid"] for task in page["results"]] + uuids(rest) == first[::-1]
    assert rest.json()["next"] is None


def test_cursor_goes_with_its_ordering(api):
    for _ in range(3):
        make_task("running")
    cursor = api.get("tasks/?page_size=1&ordering=priority").json()["next"].split("cursor=")[1].split("&")[0]

    assert api.get(f"tasks/?cursor={cursor}").status_code == 200
    assert problem(api.get(f"tasks/?cursor={cursor}&ordering=-priority"), 400) == ("invalid_query", "cursor")


# -- search ---------------------------------------------------------------------------------------------------------


def test_search_sorts_limits_and_chooses(api, tasks):
    body = {"query": {"data.n": {"$gte": 1}}, "sort": ["-data.n"], "limit": 2, "skip": 1, "fields": ["data"]}

    assert api.post("tasks/search/", body).json() == {
        "results": [
            {"data": {"n": 2, "book": "7", "title": "Ulysses"}},
            {"data": {"n": 1, "book": 8, "title": "Emma"}},
        ]
    }
    assert len(uuids(api.post("tasks/search/"))) == 4
    assert all("logs" in task for task in api.post("tasks/search/", {"with_logs": True}).json()["results"])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"query": []}, "query"),
        ({"query": "x"}, "query"),
        ({"query": {"data.a": {"$regex": "x"}}}, "query.data.a.$regex"),
        ({"sort": ["lane"]}, "sort[0]"),
        ({"sort": 7}, "sort"),
        ({"limit": 201}, "limit"),
        ({"limit": "1"}, "limit"),
        ({"skip": 10_001}, "skip"),
        ({"fields": "uuid"}, "fields"),
        ({"fields": [[]]}, "fields"),
        ({"with_logs": "yes"}, "with_logs"),
        ({"logs_max_level": []}, "logs_max_level"),
        ({"qurey": {}}, "$.qurey"),
    ],
)
def test_wrong_search_is_refused_with_the_place(api, body, path):
    _, named = problem(api.post("tasks/search/", body), 400)

    assert named == path


def test_waiting_tasks_are_found_by_their_conditions(api):
    tasker.add_task("noop", {"n": 1}, concurrency=[{"query": {"data.n": {"$ref": "data.n"}}, "limit": 1}])

    shown = api.get("tasks/").json()["results"][0]["concurrency"]

    assert shown == [{"scope": "running", "query": {"data.n": {"$ref": "data.n"}}, "limit": 1}]
