"""The page of one task, and what its log viewer asks for."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.urls import reverse
from django.utils import timezone

from django_tasker import tasker
from django_tasker.admin import failures, logs
from django_tasker.models import Attempt, Stream, Task, TaskLog

pytestmark = pytest.mark.django_db

CHANGE = "admin:django_tasker_task_change"


@pytest.fixture
def viewer(client):
    """The client of a staff user who may only view tasks."""
    user = User.objects.create_user("eve", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_task"))
    client.force_login(user)
    return client


def run(task: Task, **values: object) -> Task:
    """Make a task a running one, as if a worker had claimed it."""
    now = timezone.now()
    Task.objects.filter(pk=task.pk).update(
        **{"status": "running", "hold": -1, "started_at": now, "attempt": 1, "worker_name": "w1", **values}
    )
    task.refresh_from_db()
    return task


def fail(task: Task, traceback: str) -> Task:
    error = {"type": "ValueError", "message": "<b>bad</b>", "traceback": traceback}
    return run(task, status="failed", ended_at=timezone.now(), active_key=None, error=error)


def write(task: Task, count: int, **values: object) -> None:
    first = task.log_entries.count() + 1
    common = {"attempt": 1, "level": 20, "logger": "books", "created_at": timezone.now(), **values}
    message = common.pop("message", "line {}")
    TaskLog.objects.bulk_create(
        TaskLog(task=task, seq=seq, message=message.format(seq), **common) for seq in range(first, first + count)
    )


def page(client, task: Task) -> str:
    response = client.get(reverse(CHANGE, args=[task.pk]))
    assert response.status_code == 200
    return response.content.decode()


def ask(client, task: Task, what: str = "", **query: object) -> dict:
    response = client.get(reverse("admin:django_tasker_task_logs", args=[task.pk]) + what, query)
    assert response.status_code == 200
    return response.json()


def test_page_is_found_by_uuid(viewer):
    task = tasker.add_task("echo")

    assert str(task.uuid) in viewer.get(reverse(CHANGE, args=[task.uuid])).content.decode()


def test_task_that_is_gone_leads_to_the_list(viewer):
    response = viewer.get(reverse(CHANGE, args=[10**6]))

    assert response.url == reverse("admin:django_tasker_task_changelist")


def test_failure_shows_own_code_first_and_is_escaped(viewer):
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "/app/books/runners.py", line 3, in import_book\n    parse(text)\n    ~~~~~^^^^^^\n'
        '  File "/venv/lib/python3.11/site-packages/lib/parse.py", line 9, in parse\n    raise ValueError\n'
        "ValueError: <b>bad</b>\n"
    )
    task = fail(tasker.add_task("echo"), traceback)

    content = page(viewer, task)

    assert "&lt;b&gt;bad&lt;/b&gt;" in content and "<b>bad</b>" not in content
    assert "with 1 frame of libraries" in content
    assert failures.split(traceback).own == (
        "Traceback (most recent call last):\n"
        '  File "/app/books/runners.py", line 3, in import_book\n    parse(text)\n    ~~~~~^^^^^^\n'
        "ValueError: <b>bad</b>"
    )


def test_traceback_of_libraries_alone_is_shown_whole():
    text = 'Traceback:\n  File "/usr/lib/python3.11/json/decoder.py", line 1, in decode\nValueError: x'

    assert failures.split(text) == failures.Traceback(text, "", 0)
    assert failures.split(None) is None


def test_attempts_and_timeline_hold_earlier_ones_and_the_latest(viewer):
    task = run(tasker.add_task("echo", added_by="ada"), attempt=2)
    Attempt.objects.create(
        task=task, number=1, outcome="retried", worker_name="w0", started_at=timezone.now(), ended_at=timezone.now(),
        error={"type": "OSError", "message": "first try", "traceback": None},
    )  # fmt: skip

    response = viewer.get(reverse(CHANGE, args=[task.pk]))

    assert [(a.number, a.outcome, a.worker) for a in response.context["attempts"]] == [
        (2, "running", "w1"),
        (1, "retried", "w0"),
    ]
    assert response.context["timeline"][0].kind == "added"
    assert "by ada" in response.content.decode() and "first try" in response.content.decode()


def test_waiting_task_is_explained_with_links_to_those_in_the_way(viewer):
    blocker = run(tasker.add_task("echo", {"book": 7}))
    condition = {"scope": "running", "query": {"data.book": 7}, "limit": 0}
    task = tasker.add_task("echo", concurrency=[condition])

    content = page(viewer, task)

    assert "1 other task matches its condition; at most 0 may." in content
    assert reverse(CHANGE, args=[blocker.pk]) in content
    assert "No live worker runs the operation echo" in content


def test_running_task_shows_what_waits_for_it(viewer):
    blocker, other = run(tasker.add_task("echo", {"book": 7})), run(tasker.add_task("echo", {"book": 8}))
    condition = {"scope": "running", "query": {"data.book": 7}, "limit": 0}
    task = tasker.add_task("echo", concurrency=[condition])
    Stream.objects.create(id=77, reason=condition, created_at=timezone.now())
    Task.objects.filter(pk=task.pk).update(hold=77)

    assert f'href="{reverse(CHANGE, args=[task.pk])}"' in page(viewer, blocker)
    assert f'href="{reverse(CHANGE, args=[task.pk])}"' not in page(viewer, other)


def test_large_json_is_cut_and_can_be_downloaded(viewer):
    data = {"rows": list(range(1000)), "text": "x" * 5000, "<script>": "</script>"}
    task = tasker.add_task("echo", data)

    content = page(viewer, task)
    answer = viewer.get(reverse("admin:django_tasker_task_json", args=[task.pk, "data"]))

    assert "It is large and shown in part" in content
    assert ">999<" not in content
    assert '"&lt;/script&gt;"' in content or "&quot;&lt;/script&gt;&quot;" in content
    assert json.loads(answer.content) == data
    assert "attachment" in answer["Content-Disposition"]


def test_deep_json_is_cut(viewer):
    data: list = []
    for _ in range(30):
        data = [data, data[:0]]

    assert page(viewer, tasker.add_task("echo", data))


# -- the log ----------------------------------------------------------------------------------------------------------


def test_entries_come_a_page_at_a_time_and_go_on_by_number(viewer):
    task = run(tasker.add_task("echo"))
    write(task, logs.PAGE + 10)

    first = ask(viewer, task)
    rest = ask(viewer, task, after=first["last"])

    assert [len(first["entries"]), first["more"], first["last"]] == [logs.PAGE, True, logs.PAGE]
    assert [entry["seq"] for entry in rest["entries"]] == list(range(logs.PAGE + 1, logs.PAGE + 11))
    assert [rest["more"], rest["ended"], rest["last"]] == [False, False, logs.PAGE + 10]


def test_filtered_page_goes_on_after_all_that_was_looked_at(viewer):
    task = run(tasker.add_task("echo"))
    write(task, 5)
    write(task, 1, level=40, logger="books.parser", attempt=2)
    write(task, 3)

    answer = ask(viewer, task, level=30)

    assert [entry["seq"] for entry in answer["entries"]] == [6]
    assert answer["last"] == 9
    assert [entry["seq"] for entry in ask(viewer, task, attempt=2)["entries"]] == [6]
    assert [entry["seq"] for entry in ask(viewer, task, logger="books.parser")["entries"]] == [6]
    assert len(ask(viewer, task, logger="books")["entries"]) == 9
    assert len(ask(viewer, task, logger="book")["entries"]) == 0


def test_end_is_told_with_the_last_page_only(viewer):
    task = run(tasker.add_task("echo"), status="done", ended_at=timezone.now())
    write(task, logs.PAGE)

    first = ask(viewer, task)
    second = ask(viewer, task, after=first["last"])

    assert (first["ended"], second["ended"], second["status"]) == (False, True, "done")


def test_index_tells_pages_loggers_and_attempts(viewer):
    task = run(tasker.add_task("echo"))
    write(task, 450)
    write(task, 2, level=40, logger="other", attempt=2)

    every, errors = ask(viewer, task, "index/"), ask(viewer, task, "index/", level=40)

    assert every["pages"] == [[1, 200], [201, 200], [401, 52]]
    assert errors["pages"] == [[451, 2]]
    assert (every["loggers"], every["attempts"], every["last"]) == ([["books", 450], ["other", 2]], [1, 2], 452)


def test_index_counts_what_is_there_when_entries_were_deleted(viewer):
    task = run(tasker.add_task("echo"))
    write(task, 10)
    task.log_entries.filter(seq__lte=4).delete()

    assert ask(viewer, task, "index/")["pages"] == [[5, 6]]


def test_search_finds_numbers_in_messages_and_tracebacks(viewer):
    task = run(tasker.add_task("echo"))
    write(task, 3)
    write(task, 1, message="Needle 100%")
    write(task, 1, traceback="ValueError: needle")

    assert ask(viewer, task, "search/", q="NEEDLE") == {"count": 2, "found": [4, 5]}
    assert ask(viewer, task, "search/", q="100%") == {"count": 1, "found": [4]}
    assert ask(viewer, task, "search/", q="") == {"count": 0, "found": []}


def test_search_counts_beyond_the_places_it_tells(viewer, monkeypatch):
    monkeypatch.setattr(logs, "MAX_FOUND", 2)
    task = run(tasker.add_task("echo"))
    write(task, 5)

    assert ask(viewer, task, "search/", q="line") == {"count": 5, "found": [1, 2]}


def test_long_message_is_cut_and_whole_on_demand(viewer):
    task = run(tasker.add_task("echo"))
    write(task, 1, message="x" * 9000)

    entry, whole = ask(viewer, task)["entries"][0], ask(viewer, task, full=1)["entries"][0]

    assert (len(entry["message"]), entry["cut"]) == (logs.MAX_MESSAGE, 9000)
    assert (len(whole["message"]), whole["cut"]) == (9000, 0)


def test_log_is_downloaded_whole(viewer):
    task = run(tasker.add_task("echo"))
    write(task, 1100)
    write(task, 1, level=40, traceback="Traceback:\nValueError: ü\n")

    response = viewer.get(reverse("admin:django_tasker_task_logs_download", args=[task.pk]))
    text = b"".join(response.streaming_content).decode()

    assert text.count("\n") == 1103
    assert "ERROR books: line 1101\nTraceback:\nValueError: ü\n" in text


async def test_log_is_downloaded_under_asgi(async_client, transactional_db):
    from asgiref.sync import sync_to_async

    user = await sync_to_async(User.objects.create_superuser)("root")
    await async_client.aforce_login(user)
    task = await tasker.aadd_task("echo")
    await sync_to_async(write)(task, 3)

    response = await async_client.get(reverse("admin:django_tasker_task_logs_download", args=[task.pk]))
    text = b"".join([part async for part in response.streaming_content]).decode()
    shown = await async_client.get(reverse(CHANGE, args=[task.pk]))

    await sync_to_async(connections.close_all)()  # of the thread that answered, which outlives the test
    assert text.count("\n") == 3
    assert f'data-socket="/ws/tasker/tasks/{task.uuid}/logs/"' in shown.content.decode()


def test_log_has_a_page_of_its_own(viewer):
    task = tasker.add_task("echo")

    content = viewer.get(reverse("admin:django_tasker_task_log", args=[task.pk])).content.decode()

    assert "data-tasker-log" in content and 'role="log"' in content and 'data-socket=""' in content


@pytest.mark.parametrize("junk", [{"after": "-1"}, {"after": "x"}, {"level": "high", "limit": "0"}, {"q": "\0"}])
def test_junk_in_the_query_string_does_no_harm(viewer, junk):
    task = run(tasker.add_task("echo"))
    write(task, 2)

    assert len(ask(viewer, task, **junk)["entries"]) == 2
    assert ask(viewer, task, "search/", **junk)["count"] == 0


def test_strangers_see_no_log(client):
    task = tasker.add_task("echo")
    address = reverse("admin:django_tasker_task_logs", args=[task.pk])

    assert client.get(address).status_code == 302
    client.force_login(User.objects.create_user("bob", is_staff=True))
    for what in ("", "index/", "search/", "download/"):
        assert client.get(address + what).status_code == 403
    assert client.get(reverse("admin:django_tasker_task_json", args=[task.pk, "data"])).status_code == 403
    assert client.get(reverse("admin:django_tasker_task_log", args=[task.pk])).status_code == 403
