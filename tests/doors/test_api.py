"""REST: adding, reading, changing and acting."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from django_tasker import tasker
from django_tasker.models import Pause, Task, Worker
from tests.doors.api_client import ALL, Api, problem, user_with
from tests.listening.rows import add_logs, make_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def api():
    return Api(user_with(*ALL))


def add(**options):
    return tasker.add_task("noop", options.pop("data", None), **options)


# -- adding ---------------------------------------------------------------------------------------------------------


def test_task_is_added_for_its_user(api):
    body = {"operation": "noop", "data": {"book": 7}, "priority": "-Infinity", "queue": "nightly", "run_timeout": 60}
    response = api.post("tasks/", body)

    assert response.status_code == 201
    shown = response.json()
    assert {name: shown[name] for name in body} == body
    assert (shown["status"], shown["added_by"]) == ("new", "ann")
    task = Task.objects.get()
    assert (str(task.uuid), task.priority, task.added_by) == (shown["uuid"], float("-inf"), "ann")
    assert "logs" not in shown


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "operation"),
        ({"operation": "import-boko"}, "operation"),
        ({"operation": ["noop"]}, "operation"),
        ({"operation": "noop", "priorty": 1}, "$.priorty"),
        ({"operation": "noop", "priority": "NaN"}, "priority"),
        ({"operation": "noop", "priority": True}, "priority"),
        ({"operation": "noop", "data": {"a": ["\x00"]}}, "data.a[0]"),
        ({"operation": "noop", "data": "\ud800"}, "data"),
        ({"operation": "noop", "run_at": "tomorrow"}, "run_at"),
        ({"operation": "noop", "run_at": "0001-01-01T00:00:00+14:00"}, "run_at"),
        ({"operation": "noop", "run_at": "9999-12-31T23:59:59-14:00"}, "run_at"),
        ({"operation": "noop", "run_timeout": "60"}, "run_timeout"),
        ({"operation": "noop", "added_by": "bob"}, "$.added_by"),
        ({"operation": "noop", "unique_key": "\ud800"}, "unique_key"),
        ({"operation": "noop", "unique_key": 7}, "unique_key"),
        ({"operation": "noop", "on_conflict": "ignore"}, "on_conflict"),
        ({"operation": "noop", "concurrency": [{"scope": "all", "query": {}, "limit": 1}]}, "concurrency[0].scope"),
        ({"operation": "noop", "concurrency": [{"query": {"data.a": {"$regex": "a"}}, "limit": 1}]},
         "concurrency[0].query"),
        ([], "$"),
        ("noop", None),
    ],
)  # fmt: skip
def test_wrong_task_is_refused_with_the_place(api, body, path):
    code, found = problem(api.post("tasks/", body), 400)

    assert found == path
    assert code == ("parse_error" if path is None else code)
    assert not Task.objects.exists()


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"operation": 1e999}'])
def test_malformed_json_is_refused(api, body):
    assert api.post("tasks/", body).status_code == 400


def test_huge_body_and_other_types_are_refused(api):
    assert problem(api.post("tasks/", b'{"data": "' + b"x" * 1_200_000), 413)[0] == "too_large"
    assert api.client.post("/api/tasks/", {"operation": "noop"}).status_code == 415
    assert api.get("tasks/", accept="text/html").status_code == 406


def test_unique_key_makes_adding_safe_to_repeat(api):
    body = {"operation": "noop", "unique_key": "book-7"}
    first = api.post("tasks/", body)
    again = api.post("tasks/", {**body, "on_conflict": "return"})
    refused = api.post("tasks/", body)
    replaced = api.post("tasks/", {**body, "on_conflict": "replace"})

    assert (first.status_code, again.status_code, replaced.status_code) == (201, 200, 201)
    assert again.json()["uuid"] == first.json()["uuid"] == refused.json()["task"]
    assert problem(refused, 409)[0] == "duplicate_task"
    assert Task.objects.get(uuid=first.json()["uuid"]).status == "aborted"


def test_another_s_task_is_neither_returned_nor_replaced_without_permission():
    tasker.add_task("noop", unique_key="k")
    api = Api(user_with("add_task"))

    for conflict in ("return", "replace"):
        response = api.post("tasks/", {"operation": "noop", "unique_key": "k", "on_conflict": conflict})
        assert problem(response, 403)[0] == "permission_denied"
    assert api.post("tasks/", {"operation": "noop"}).status_code == 201


# -- reading --------------------------------------------------------------------------------------------------------


def test_task_is_read_with_logs_and_chosen_fields(api, django_assert_max_num_queries):
    task = make_task("failed", result=None, error={"type": "ValueError"})
    add_logs(task.uuid, 1, 3, 10)
    add_logs(task.uuid, 4, 2, 40)

    with django_assert_max_num_queries(7):
        response = api.get(f"tasks/{task.uuid}/", {"with_logs": "1", "fields": "uuid,error"})

    shown = response.json()
    assert set(shown) == {"uuid", "error", "logs", "earlier_attempts"}
    assert [(entry["seq"], entry["level_name"]) for entry in shown["logs"]] == [(4, "error"), (5, "error")]
    assert len(api.get(f"tasks/{task.uuid}/?with_logs=1&logs_max_level=debug").json()["logs"]) == 5
    assert problem(api.get(f"tasks/{task.uuid}/?fields=uuid,erorr"), 400) == ("invalid_query", "fields")
    assert problem(api.get(f"tasks/{task.uuid}/?filds=uuid"), 400) == ("invalid_query", "filds")
    assert problem(api.get(f"tasks/{uuid4()}/"), 404)[0] == "task_not_found"


def test_etag_tells_whether_a_task_has_changed(api):
    task = add()
    etag = api.get(f"tasks/{task.uuid}/")["ETag"]

    assert api.get(f"tasks/{task.uuid}/", **{"If-None-Match": etag}).status_code == 304
    tasker.prioritize_task(task, 5)
    assert api.get(f"tasks/{task.uuid}/", **{"If-None-Match": etag}).status_code == 200


def test_log_is_read_page_by_page(api):
    task = make_task("running")
    add_logs(task.uuid, 1, 12, 20)
    add_logs(task.uuid, 13, 2, 40)
    logs = f"tasks/{task.uuid}/logs/"

    first = api.get(logs, {"limit": 10}).json()
    rest = api.get(logs, {"after": first["last_seq"], "limit": 10}).json()
    none = api.get(logs, {"after": rest["last_seq"]}).json()

    assert [entry["seq"] for entry in first["results"] + rest["results"]] == list(range(1, 15))
    assert (first["more"], rest["more"], none["results"], none["last_seq"]) == (True, False, [], 14)
    assert [entry["seq"] for entry in api.get(logs, {"max_level": "error"}).json()["results"]] == [13, 14]
    assert [entry["seq"] for entry in api.get(logs, {"search": "LINE 1"}).json()["results"]] == [1, 10, 11, 12, 13, 14]
    for name, value in {"after": "-1", "limit": "0", "max_level": "loud", "search": "\x00", "aftre": "1"}.items():
        assert problem(api.get(logs, {name: value}), 400) == ("invalid_query", name)
    assert problem(api.get(f"tasks/{uuid4()}/logs/"), 404)[0] == "task_not_found"


def test_explain_tells_why_a_task_waits(api):
    task = add(run_at=timezone.now() + timedelta(hours=1))

    kinds = [reason["kind"] for reason in api.get(f"tasks/{task.uuid}/explain/").json()["reasons"]]

    assert kinds == ["not_due", "no_worker"]


# -- changing -------------------------------------------------------------------------------------------------------


def test_new_task_is_changed_under_guard(api):
    task = add(data={"book": 1})
    read = api.get(f"tasks/{task.uuid}/")

    changed = api.patch(f"tasks/{task.uuid}/", {"data": {"book": 2}, "priority": 3}, **{"If-Match": read["ETag"]})

    assert (changed.status_code, changed.json()["data"], changed.json()["priority"]) == (200, {"book": 2}, 3)
    late = api.patch(f"tasks/{task.uuid}/", {"data": 3}, **{"If-Match": read["ETag"]})
    assert problem(late, 412)[0] == "precondition_failed"
    late = api.patch(f"tasks/{task.uuid}/", {"data": 3, "updated_at": read.json()["updated_at"]})
    assert problem(late, 412)[0] == "precondition_failed"
    guarded = {"data": 3, "updated_at": changed.json()["updated_at"]}
    assert api.patch(f"tasks/{task.uuid}/", guarded, **{"If-Match": "*"}).status_code == 200
    assert problem(api.patch(f"tasks/{task.uuid}/", {"updated_at": "soon"}), 400) == ("invalid_task", "updated_at")
    assert Task.objects.get().data == 3


def test_what_may_not_change_stays(api):
    task, running = add(), make_task("running")

    assert problem(api.patch(f"tasks/{task.uuid}/", {"status": "done"}), 400) == ("invalid_task", "$.status")
    assert problem(api.patch(f"tasks/{task.uuid}/", {"run_timeout": -1}), 400) == ("invalid_task", "run_timeout")
    assert problem(api.patch(f"tasks/{running.uuid}/", {"data": 1}), 409)[0] == "invalid_task_state"
    assert problem(api.patch(f"tasks/{uuid4()}/", {"data": 1}), 404)[0] == "task_not_found"
    assert problem(api.send("PUT", f"tasks/{task.uuid}/", {}), 405)[0] == "method_not_allowed"


def test_only_ended_tasks_are_deleted(api):
    done, new = make_task("done"), add()

    assert api.delete(f"tasks/{done.uuid}/").status_code == 204
    assert problem(api.delete(f"tasks/{new.uuid}/"), 409)[0] == "invalid_task_state"
    assert problem(api.delete(f"tasks/{done.uuid}/"), 404)[0] == "task_not_found"
    assert [task.pk for task in Task.objects.all()] == [new.pk]


# -- acting ---------------------------------------------------------------------------------------------------------


def test_tasks_are_steered(api):
    task = add()
    act = f"tasks/{task.uuid}/"

    assert api.post(act + "prioritize/", {"priority": "Infinity"}).json()["priority"] == "Infinity"
    assert api.post(act + "postpone/", {"run_at": "2030-01-31T07:00:00Z"}).json()["run_at"] == "2030-01-31T07:00:00Z"
    assert api.post(act + "postpone/", {"run_at": None}).json()["run_at"] is None
    aborted = api.post(act + "abort/", {"reason": "wrong file"}).json()
    assert (aborted["status"], aborted["abort_reason"]) == ("aborted", "wrong file")
    assert problem(api.post(act + "abort/"), 409)[0] == "invalid_task_state"
    assert api.post(act + "retry/").json()["status"] == "new"
    for action, body, path in [
        ("prioritize/", {}, "priority"),
        ("prioritize/", {"priority": None}, "priority"),
        ("postpone/", {}, "run_at"),
        ("postpone/", {"run_at": 60}, "run_at"),
        ("abort/", {"reason": 7}, "reason"),
        ("abort/", {"why": "x"}, "$.why"),
        ("retry/", {"now": True}, "$.now"),
    ]:
        assert problem(api.post(act + action, body), 400) == ("invalid_task", path)


def test_tasks_are_steered_in_bulk(api):
    for book in range(4):
        add(data={"book": book})

    assert api.post("tasks/prioritize/", {"query": {"data.book": {"$lt": 3}}, "priority": -1}).json() == {"count": 3}
    assert api.post("tasks/abort/", {"query": {"priority": -1}, "reason": "x"}).json() == {"count": 3}
    assert api.post("tasks/retry/", {"query": {"data.book": 0}}).json() == {"count": 1}
    assert api.post("tasks/count/", {"query": {"status": "new"}}).json() == {"count": 2}
    assert problem(api.post("tasks/abort/", {}), 400) == ("invalid_query", "query")
    assert problem(api.post("tasks/abort/", {"query": {"stauts": 1}}), 400) == ("invalid_query", "query.stauts")
    assert problem(api.post("tasks/abort/", {"query": {"operation": {"$regex": "."}}}), 400)[0] == "invalid_query"
    assert api.post("tasks/abort/", {"query": {}}).json() == {"count": 2}


# -- around tasks ---------------------------------------------------------------------------------------------------


def test_operations_and_queues_are_paused_and_resumed(api):
    paused = api.post("operations/pause/", {"operation": "noop"}).json()
    api.post("operations/pause/", {"queue": "nightly"})

    noop = next(each for each in paused["results"] if each["operation"] == "noop")
    assert (noop["is_paused"], noop["paused_by"], noop["executor"], noop["workers"]) == (True, "ann", "process", 0)
    assert [queue["queue"] for queue in api.get("operations/").json()["paused_queues"]] == ["nightly"]
    assert api.get("stats/").json()["paused"] == {"operations": ["noop"], "queues": ["nightly"]}
    api.post("operations/resume/", {"operation": "noop"})
    api.post("operations/resume/", {"queue": "nightly"})
    assert not Pause.objects.exists()
    for body in ({"operation": "nope"}, {"operation": []}, {}, {"operation": "noop", "queue": "q"}):
        assert problem(api.post("operations/pause/", body), 400) == ("invalid_task", "operation")


def test_workers_and_numbers_are_shown(api):
    now = timezone.now()
    for name, age in (("alive", 0), ("lost", 3600)):
        at = now - timedelta(seconds=age)
        values = {"hostname": "h", "pid": 1, "operations": ["noop"], "started_at": at, "heartbeat_at": at}
        Worker.objects.create(name=name, **values)
    add()

    assert [(each["name"], each["is_live"]) for each in api.get("workers/").json()["results"]] == [
        ("alive", True),
        ("lost", False),
    ]
    stats = api.get("stats/").json()
    assert (stats["tasks"], stats["queues"]) == ({"noop": {"new": 1}}, {"default": 1})
    workers = {each["operation"]: each["workers"] for each in api.get("operations/").json()["results"]}
    assert workers["noop"] == 1


def test_outage_of_the_database_is_told_as_such(api, monkeypatch):
    def fail(*_):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(tasker, "stats", fail)

    response = api.get("stats/")

    assert problem(response, 503)[0] == "database_away"
    assert response["Retry-After"] == "5"
    assert b"server closed" not in response.content


# -- permissions ----------------------------------------------------------------------------------------------------

UUID = "{uuid}"
ENDPOINTS = [
    ("GET", "tasks/", None, ()),
    ("POST", "tasks/search/", {}, ()),
    ("POST", "tasks/count/", {}, ()),
    ("GET", f"tasks/{UUID}/", None, ()),
    ("GET", f"tasks/{UUID}/logs/", None, ()),
    ("GET", f"tasks/{UUID}/explain/", None, ()),
    ("GET", "workers/", None, ()),
    ("GET", "operations/", None, ()),
    ("GET", "stats/", None, ()),
    ("PATCH", f"tasks/{UUID}/", {"data": 1}, ("change_task",)),
    ("PATCH", f"tasks/{UUID}/", {"priority": 1}, ("change_task", "prioritize_task")),
    ("DELETE", f"tasks/{UUID}/", None, ("delete_task",)),
    ("POST", f"tasks/{UUID}/abort/", {}, ("abort_task",)),
    ("POST", f"tasks/{UUID}/prioritize/", {"priority": 1}, ("prioritize_task",)),
    ("POST", f"tasks/{UUID}/postpone/", {"run_at": None}, ("prioritize_task",)),
    ("POST", f"tasks/{UUID}/retry/", {}, ("retry_task",)),
    ("POST", "tasks/abort/", {"query": {}}, ("abort_task",)),
    ("POST", "tasks/prioritize/", {"query": {}, "priority": 1}, ("prioritize_task",)),
    ("POST", "tasks/retry/", {"query": {}}, ("retry_task",)),
    ("POST", "operations/pause/", {"queue": "q"}, ("pause_task",)),
    ("POST", "operations/resume/", {"queue": "q"}, ("pause_task",)),
]
IDS = [f"{method} {path} {body or ''}" for method, path, body, _ in ENDPOINTS]


@pytest.mark.parametrize(("method", "path", "body", "needed"), ENDPOINTS, ids=IDS)
def test_every_endpoint_needs_its_permissions(method, path, body, needed):
    uuid = str(add().uuid)
    path = path.replace(UUID, uuid)
    needed = ("view_task", *needed)

    assert problem(Api().send(method, path, body), 403)[0] == "not_authenticated"
    for number, missing in enumerate(needed):
        others = [name for name in ALL if name != missing]
        refused = Api(user_with(*others, name=f"lacks-{number}")).send(method, path, body)
        assert problem(refused, 403)[0] == "permission_denied"
        assert uuid not in refused.content.decode()
    allowed = Api(user_with(*needed, name="may")).send(method, path, body)
    assert allowed.status_code in (200, 204, 409)


def test_user_who_was_locked_out_may_nothing():
    user = user_with(*ALL)
    api = Api(user)
    user.is_active = False
    user.save()

    assert api.get("tasks/").status_code == 403


def test_session_needs_a_csrf_token(api):
    api.client.handler.enforce_csrf_checks = True

    assert problem(api.post("tasks/", {"operation": "noop"}), 403)[0] == "permission_denied"


class OwnTasks:
    """A backend by which users may view and abort the tasks that they added."""

    def authenticate(self, request):
        return None

    def get_user(self, pk):
        return None

    def has_perm(self, user, permission, task=None):
        return task is not None and task.added_by == user.username and "delete" not in permission


@override_settings(
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend", "tests.doors.test_api.OwnTasks"]
)
def test_backend_can_let_users_act_on_their_own_tasks_only():
    own, other = add(added_by="ann"), add(added_by="bob")
    user = user_with()
    api = Api()
    api.client.force_login(user, "django.contrib.auth.backends.ModelBackend")

    assert api.get(f"tasks/{own.uuid}/").status_code == 200
    assert api.post(f"tasks/{own.uuid}/abort/").status_code == 200
    assert api.delete(f"tasks/{own.uuid}/").status_code == 403
    for response in (api.get(f"tasks/{other.uuid}/"), api.get(f"tasks/{uuid4()}/"), api.get("tasks/")):
        assert problem(response, 403)[0] == "permission_denied"


def test_rates_of_the_project_are_kept(api, monkeypatch):
    from rest_framework.settings import api_settings
    from rest_framework.throttling import ScopedRateThrottle

    from django_tasker.api.base import TaskerViewSet

    rates = {"django_tasker.write": "1/hour"}
    monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", rates, raising=False)
    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", rates)
    monkeypatch.setattr(TaskerViewSet, "throttle_classes", (ScopedRateThrottle,))

    assert api.post("tasks/count/").status_code == 200
    throttled = api.post("tasks/count/")
    assert problem(throttled, 429)[0] == "throttled"
    assert int(throttled["Retry-After"]) > 3000
    assert api.get("stats/").status_code == 200
