"""The admin: who sees and does what with tasks."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from django_tasker import tasker
from django_tasker.admin import paging
from django_tasker.models import Pause, Task

pytestmark = pytest.mark.django_db

LIST = "admin:django_tasker_task_changelist"
CHANGE = "admin:django_tasker_task_change"
DO = "admin:django_tasker_task_do"
ABILITIES = ["view_task", "add_task", "delete_task", "abort_task", "prioritize_task", "retry_task", "pause_task"]


@pytest.fixture
def login(client):
    """login("view_task", …): the client of a staff user who has these permissions; without any: a superuser."""

    def log_in(*abilities: str):
        user = User.objects.create_user("ada", password="x", is_staff=True, is_superuser=not abilities)
        user.user_permissions.set(Permission.objects.filter(codename__in=abilities))
        client.force_login(user)
        return client

    return log_in


def end(task: Task, status: str = "done", **values: object) -> Task:
    now = timezone.now()
    Task.objects.filter(pk=task.pk).update(
        status=status, hold=-1, active_key=None, started_at=now, ended_at=now, attempt=1, **values
    )
    task.refresh_from_db()
    return task


def act(client, name: str, tasks: list[Task], *, across: bool = False, query: str = "", **values: object):
    """Choose an action in the list's menu and confirm it."""
    menu_name = "delete_selected" if name == "delete" else name
    data = {"action": menu_name, "_selected_action": [task.pk for task in tasks], "select_across": int(across)}
    return client.post(reverse(LIST) + query, {**data, "tasker_confirm": "1", **values}, follow=True)


def texts(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_list_shows_tasks_with_tabs_and_counts(login):
    client = login()
    tasker.add_task("echo", {"book": 7})
    failed = end(tasker.add_task("fail"), "failed", progress={"current": 3, "total": 10}, error_count=2, log_count=5)

    page = client.get(reverse(LIST)).content.decode()

    assert 'data-status="failed"' in page and str(failed.uuid)[:8] in page
    assert '<progress value="3" max="10"' in page
    assert 'title="errors">2</b>' in page
    assert ' <span class="tasker-count">1</span>' in page


def test_counts_stay_when_the_list_is_sorted_and_go_when_it_is_filtered(login):
    client = login()
    tasker.add_task("echo")

    def counts(**query: str) -> list:
        return [tab["count"] for tab in client.get(reverse(LIST), query).context["cl"].tabs()]

    assert counts(o="-8", p="1") == counts(status__exact="new") == counts() == [1, 1, 0, 0, 0, 0]
    assert counts(operation="echo") == counts(q="echo") == [None] * 6


def test_no_page_has_inline_scripts_or_styles(login):
    client = login()
    task = tasker.add_task("echo")

    for address in (reverse(LIST), reverse(CHANGE, args=[task.pk]), reverse(DO, args=[task.pk, "abort"])):
        content = client.get(address).content.decode().split('id="content"')[1]
        assert "style=" not in content and "<style" not in content and "<script>" not in content
        assert "onclick" not in content


def test_tab_chooses_a_status_and_waiting_tasks_stand_in_queue_order(login):
    client = login()
    last, first = tasker.add_task("echo", priority=5), tasker.add_task("echo", priority=-5)
    end(tasker.add_task("echo"))

    found = client.get(reverse(LIST), {"status__exact": "new"}).context["cl"].result_list

    assert [task.pk for task in found] == [first.pk, last.pk]


def test_counts_stop_at_the_bound(login, monkeypatch):
    monkeypatch.setattr(paging, "BOUND", 3)
    client = login()
    tasker.add_tasks({"operation": "echo"} for _ in range(5))

    response = client.get(reverse(LIST))

    assert [(tab["count"], tab["is_more"]) for tab in response.context["cl"].tabs()][:2] == [(3, True), (3, True)]
    assert "The first 3 are listed" in response.content.decode()


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("book-7", 1),
        ("echo Ünï", 1),
        ("echo", 2),
        ("nothing", 0),
        ('{"data.title": "book-7"}', 1),
        ('{"operation": {"$startswith": "ec"}, "priority": {"$lt": 1}}', 2),
    ],
)
def test_search_takes_words_and_queries(login, search, expected):
    client = login()
    tasker.add_task("echo", {"title": "book-7"})
    tasker.add_task("echo", {"title": "Ünï"})

    assert len(client.get(reverse(LIST), {"q": search}).context["cl"].result_list) == expected


@pytest.mark.parametrize(
    "search",
    ['{"stauts": "new"}', '{"status": ', '{"data.x": {"$regex": "a"}}', "{" * 5000, '{"operation": "\\ud800"}'],
)
def test_refused_query_is_explained_and_finds_nothing(login, search):
    client = login()
    tasker.add_task("echo")

    response = client.get(reverse(LIST), {"q": search})

    assert response.status_code == 200
    assert len(response.context["cl"].result_list) == 0
    assert texts(response)


def test_search_finds_a_uuid(login):
    client = login()
    task = tasker.add_task("echo")
    tasker.add_task("echo")

    assert [t.pk for t in client.get(reverse(LIST), {"q": str(task.uuid)}).context["cl"].result_list] == [task.pk]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"operation": "echo"}, 1),
        ({"queue": "slow"}, 1),
        ({"worker_name": "w1"}, 1),
        ({"waits": "time"}, 1),
        ({"waits": "condition"}, 0),
        ({"has": "errors"}, 1),
        ({"priority_from": "1", "priority_to": "Infinity"}, 1),
        ({"priority_from": "nan"}, 3),
        ({"added_at_from": "2020-01-01T10:00"}, 3),
        ({"added_at_to": "2020-01-01"}, 0),
        ({"ended_at_from": "junk"}, 3),
        ({"added_at_from": "0001-01-01T00:00", "added_at_to": "9999-12-31T23:59"}, 3),
        ({"operation": "\0"}, 3),
    ],
)
def test_filters(login, filters, expected):
    client = login()
    tasker.add_task("echo", priority=3)
    tasker.add_task("noop", queue="slow", run_at=timezone.now() + timezone.timedelta(hours=1))
    end(tasker.add_task("noop"), worker_name="w1", error_count=1)

    assert len(client.get(reverse(LIST), filters).context["cl"].result_list) == expected


def test_action_page_says_what_it_hits_and_what_it_can_not(login):
    client = login()
    tasks = [tasker.add_task("echo"), tasker.add_task("echo"), end(tasker.add_task("echo"))]

    data = {"action": "abort", "_selected_action": [task.pk for task in tasks], "index": 0}
    page = client.post(reverse(LIST), data).content.decode()

    assert "2 tasks will be aborted." in page
    assert "1 task will be left as it is: they have ended, or are aborting already." in page
    assert not Task.objects.filter(status="aborted").exists()


def test_abort_with_a_reason_is_done_and_kept_in_the_history(login):
    client = login()
    task, ended = tasker.add_task("echo"), end(tasker.add_task("echo"))

    response = act(client, "abort", [task, ended], reason="too late")

    task.refresh_from_db()
    assert (task.status, task.abort_reason) == ("aborted", "too late")
    assert texts(response)[0] == "1 task was aborted."
    assert "left as it is" in texts(response)[1]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.username, entry.change_message) == (str(task.pk), "ada", "Aborted. too late")


def test_action_on_all_that_match_hits_those_beyond_the_page(login):
    client = login()
    tasker.add_tasks({"operation": "echo"} for _ in range(60))
    other = tasker.add_task("noop")

    act(client, "abort", [Task.objects.first()], across=True, query="?operation=echo")

    other.refresh_from_db()
    assert Task.objects.filter(status="aborted").count() == LogEntry.objects.count() == 60
    assert other.status == "new"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"order": "next"}, -6.0),
        ({"order": "last"}, 3.0),
        ({"order": "number", "priority": "1.5"}, 1.5),
        ({"order": "number", "priority": "-Infinity"}, float("-inf")),
    ],
)
def test_prioritize(login, values, expected):
    client = login()
    task = tasker.add_task("echo", priority=2)
    tasker.add_task("echo", priority=-5)

    act(client, "prioritize", [task], **values)

    task.refresh_from_db()
    assert task.priority == expected


def test_priority_that_is_none_is_asked_for_again(login):
    client = login()
    task = tasker.add_task("echo", priority=2)

    response = act(client, "prioritize", [task], order="number", priority="nan")

    assert "Enter a number" in response.content.decode()
    task.refresh_from_db()
    assert task.priority == 2


def test_postpone_retry_duplicate_delete(login):
    client = login()
    waiting, ended = tasker.add_task("echo", {"a": 1}, unique_key="k"), end(tasker.add_task("echo"), "failed")

    act(client, "postpone", [waiting], delay="3600")
    act(client, "retry", [ended])
    act(client, "duplicate", [waiting])

    waiting.refresh_from_db()
    ended.refresh_from_db()
    copy = Task.objects.latest("id")
    assert waiting.run_at > timezone.now()
    assert ended.status == "new"
    assert (copy.operation, copy.data, copy.unique_key, copy.added_by) == ("echo", {"a": 1}, None, "ada")

    end(ended)
    act(client, "delete", [waiting, ended])

    assert not Task.objects.filter(pk=ended.pk).exists()
    assert Task.objects.filter(pk=waiting.pk).exists()


def test_operations_are_paused_and_resumed(login):
    client = login()
    task = tasker.add_task("echo")

    act(client, "pause", [task], way="pause", reason="repair")
    assert Pause.objects.get().name == "echo"
    assert Pause.objects.get().paused_by == "ada"

    client.post(
        reverse("admin:django_tasker_task_pause"),
        {"kind": "operation", "name": "echo", "way": "resume", "tasker_confirm": "1"},
    )
    assert not Pause.objects.exists()
    assert sorted(LogEntry.objects.values_list("change_message", flat=True)) == ["Paused. repair", "Resumed."]


@pytest.mark.parametrize("name", ["\0", "x" * 300, ""])
def test_nonsense_is_not_paused(login, name):
    client = login()

    data = {"kind": "operation", "name": name, "way": "pause", "tasker_confirm": "1"}
    assert client.post(reverse("admin:django_tasker_task_pause"), data).status_code in (302, 404)

    assert not Pause.objects.exists()


def test_viewer_sees_no_actions_and_gets_403_for_forged_posts(login):
    client = login("view_task")
    task = tasker.add_task("echo")

    page = client.get(reverse(LIST)).content.decode()

    assert 'name="action"' not in page
    for name in ("abort", "prioritize", "postpone", "retry", "duplicate", "delete"):
        assert act(client, name, [task]).status_code == 403
        assert client.post(reverse(DO, args=[task.pk, name]), {"tasker_confirm": "1"}).status_code == 403
        assert f"/do/{name}/" not in client.get(reverse(CHANGE, args=[task.pk])).content.decode()
    assert client.post(reverse("admin:django_tasker_task_pause"), {"kind": "queue", "name": "q"}).status_code == 403
    assert client.post(reverse("admin:django_tasker_task_add"), {"operation": "echo"}).status_code == 403
    assert client.post(reverse(CHANGE, args=[task.pk]), {"operation": "x"}).status_code == 403
    assert client.post(reverse("admin:django_tasker_task_edit", args=[task.pk]), {"priority": 1}).status_code == 403
    assert client.post(reverse("admin:django_tasker_task_delete", args=[task.pk])).status_code == 403
    task.refresh_from_db()
    assert (task.status, Task.objects.count(), LogEntry.objects.count()) == ("new", 1, 0)


@pytest.mark.parametrize(
    ("ability", "actions"),
    [
        ("abort_task", {"abort"}),
        ("prioritize_task", {"prioritize", "postpone"}),
        ("retry_task", {"retry"}),
        ("add_task", {"duplicate"}),
        ("delete_task", {"delete_selected"}),
        ("pause_task", {"pause"}),
    ],
)
def test_each_permission_gives_its_actions(login, ability, actions):
    client = login("view_task", ability)
    tasker.add_task("echo")

    form = client.get(reverse(LIST)).context["action_form"]

    assert {name for name, _ in form.fields["action"].choices if name} == actions


@pytest.mark.parametrize("ability", [a for a in ABILITIES if a != "view_task"])
def test_abilities_are_worth_nothing_to_those_who_may_not_see_tasks(login, ability):
    client = login(ability)
    task = tasker.add_task("echo")

    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(reverse(CHANGE, args=[task.pk])).status_code == 403


def test_get_never_changes_anything(login):
    client = login()
    task = tasker.add_task("echo")

    for name in ("abort", "prioritize", "postpone", "duplicate"):
        assert client.get(reverse(DO, args=[task.pk, name]), {"tasker_confirm": "1"}).status_code == 200

    task.refresh_from_db()
    assert (task.status, task.priority, Task.objects.count()) == ("new", 0.0, 1)


def test_posts_need_the_csrf_token(login):
    client = login()
    client.handler.enforce_csrf_checks = True
    task = tasker.add_task("echo")

    assert client.post(reverse(DO, args=[task.pk, "abort"]), {"tasker_confirm": "1"}).status_code == 403


def test_object_button_leads_back_to_the_task(login):
    client = login("view_task", "abort_task")
    task = tasker.add_task("echo")

    response = client.post(reverse(DO, args=[task.pk, "abort"]), {"tasker_confirm": "1"})

    task.refresh_from_db()
    assert response.url == reverse(CHANGE, args=[task.pk])
    assert (task.status, task.abort_reason) == ("aborted", "aborted by ada")


def test_delete_view_deletes_only_what_has_ended(login):
    client = login()
    task = tasker.add_task("echo")
    address = reverse("admin:django_tasker_task_delete", args=[task.pk])

    client.post(address, {"tasker_confirm": "1"})
    assert Task.objects.filter(pk=task.pk).exists()

    end(task)
    client.post(address, {"tasker_confirm": "1"})
    assert not Task.objects.filter(pk=task.pk).exists()


def test_a_task_is_added_by_hand(login):
    client = login("view_task", "add_task")
    data = {"operation": "echo", "data": json.dumps({"book": 7}), "priority": "-Infinity", "queue": "", "run_at_0": ""}

    assert client.get(reverse("admin:django_tasker_task_add")).status_code == 200
    response = client.post(reverse("admin:django_tasker_task_add"), data)

    task = Task.objects.get()
    assert response.url == reverse(CHANGE, args=[task.pk])
    assert (task.data, task.priority, task.queue, task.added_by) == ({"book": 7}, float("-inf"), "default", "ada")


@pytest.mark.parametrize(
    "wrong", [{"priority": "nan"}, {"priority": "high"}, {"data": "{"}, {"data": '"\\ud800"'}, {"operation": ""}]
)
def test_refused_values_become_errors_of_the_form(login, wrong):
    client = login()
    data = {"operation": "echo", "data": "{}", **wrong}

    response = client.post(reverse("admin:django_tasker_task_add"), data)

    assert response.status_code == 200
    assert response.context["adminform"].form.errors
    assert not Task.objects.exists()


def test_new_task_is_changed(login):
    client = login("view_task", "change_task")
    task = tasker.add_task("echo", {"a": 1}, priority=3)
    address = reverse("admin:django_tasker_task_edit", args=[task.pk])
    values = {"data": '{"a": 2}', "priority": "-inf", "queue": "default", "max_attempts": "2", "run_timeout": ""}

    assert "/edit/" in client.get(reverse(CHANGE, args=[task.pk])).content.decode()
    assert client.get(address).status_code == 200
    response = client.post(address, {**values, "reason": "typo"})

    task.refresh_from_db()
    assert response.url == reverse(CHANGE, args=[task.pk])
    assert (task.data, task.priority, task.max_attempts) == ({"a": 2}, float("-inf"), 2)
    assert LogEntry.objects.get().change_message == "Changed: data, priority, max_attempts. typo"


def test_change_that_is_refused_is_explained(login):
    client = login("view_task", "change_task")
    task = tasker.add_task("echo")
    address = reverse("admin:django_tasker_task_edit", args=[task.pk])
    values = {"data": '"\\ud800"', "priority": "1", "queue": "default", "max_attempts": "1", "run_timeout": ""}

    assert "surrogate" in client.post(address, values).content.decode()
    end(task)
    assert "can&#x27;t be changed" in client.post(address, {**values, "data": "1"}, follow=True).content.decode()


def test_unique_key_that_is_taken_is_told(login):
    client = login()
    tasker.add_task("echo", unique_key="k")

    response = client.post(
        reverse("admin:django_tasker_task_add"), {"operation": "echo", "data": "null", "unique_key": "k"}, follow=True
    )

    assert "already" in texts(response)[0]
    assert Task.objects.count() == 1
