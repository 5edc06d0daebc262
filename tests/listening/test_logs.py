"""Following a task's log: every entry once, in order, to the end of the task."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid

import pytest

from django_tasker.abort import AbortController
from django_tasker.errors import InvalidQuery, TaskNotFound
from django_tasker.listening import alisten_task_logs, listen_task_logs, logs
from django_tasker.models import Task, TaskLog
from tests.listening.rows import add_logs, end_task, make_task

pytestmark = pytest.mark.django_db(transaction=True)


def in_a_loop(uuid, **options):
    async def another():
        return await anext(entries, None)

    with asyncio.Runner() as runner:
        entries = alisten_task_logs(uuid, **options)
        while entry := runner.run(another()):
            yield entry


@pytest.fixture(params=[listen_task_logs, in_a_loop], ids=["thread", "coroutine"])
def listen(request):
    return request.param


def numbers(entries):
    return [entry.seq for entry in entries]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"from_beginning": True}, [1, 2, 3]),
        ({}, []),
        ({"after": 1}, [2, 3]),
        ({"after": 0}, [1, 2, 3]),
        ({"after": 99}, []),
        ({"after": 2, "from_beginning": True}, [3]),
    ],
)
def test_log_of_an_ended_task(listen, options, expected):
    task = make_task()
    add_logs(task.uuid, 1, 3)
    end_task(task.uuid, "done")

    assert numbers(listen(task.uuid, **options)) == expected


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("max_level", "expected"),
    [("debug", [1, 2, 3, 4]), ("info", [2, 3, 4]), ("WARNING", [3, 4]), (40, [4]), (0, [1, 2, 3, 4]), ("critical", [])],
)
def test_max_level_is_the_most_verbose_one_included(listen, max_level, expected):
    task = make_task()
    for seq in (1, 2, 3, 4):
        add_logs(task.uuid, seq, 1, level=seq * 10)
    end_task(task.uuid, "done")

    assert numbers(listen(task.uuid, from_beginning=True, max_level=max_level)) == expected


@pytest.mark.sqlite_only
@pytest.mark.parametrize("max_level", ["loud", None, True])
def test_unknown_level_is_refused(max_level):
    with pytest.raises(InvalidQuery):
        listen_task_logs(make_task().uuid, max_level=max_level)


def test_unknown_task_is_refused_by_the_call():
    with pytest.raises(TaskNotFound):
        listen_task_logs(uuid.uuid4())


def test_place_is_fixed_by_the_call():
    task = make_task()
    add_logs(task.uuid, 1, 3)
    entries = listen_task_logs(task.uuid)

    add_logs(task.uuid, 4, 1)
    end_task(task.uuid, "done")

    assert numbers(entries) == [4]


def test_log_written_by_another_process(listen, writer):
    task = make_task()
    writer.start("log", str(task.uuid), 1, 1700)
    writer.start("end", str(task.uuid), "failed", {})

    assert numbers(listen(task.uuid, from_beginning=True)) == list(range(1, 1701))

    writer.finish(), writer.finish()


def test_entries_passed_over_for_their_level_are_not_read_again(listen, monkeypatch, in_thread):
    monkeypatch.setattr(logs, "PAGE", 10)
    task = make_task()
    add_logs(task.uuid, 1, 95, level=10)
    add_logs(task.uuid, 96, 25, level=30)
    places = []
    read = logs.LogReader.read
    monkeypatch.setattr(logs.LogReader, "read", lambda self: (places.append(self.last), read(self))[1])

    in_thread(lambda: (time.sleep(0.3), end_task(task.uuid, "done")))

    assert numbers(listen(task.uuid, from_beginning=True, max_level="info")) == list(range(96, 121))
    assert places[:4] == [0, 105, 115, 120]


def test_task_tried_again_is_listened_to_until_it_has_ended(listen, in_thread):
    task = make_task()
    add_logs(task.uuid, 1, 1)
    entries = iter(listen(task.uuid, from_beginning=True))
    assert next(entries).seq == 1

    def live_on():
        Task.objects.update(status="new")
        time.sleep(0.1)
        Task.objects.update(status="running")
        add_logs(task.uuid, 2, 1)
        end_task(task.uuid, "done")

    in_thread(live_on)

    assert numbers(entries) == [2]


def test_deleted_task_ends_the_iteration(listen, in_thread):
    task = make_task()
    add_logs(task.uuid, 1, 1)

    entries = iter(listen(task.uuid, from_beginning=True))
    assert next(entries).seq == 1

    in_thread(lambda: (time.sleep(0.2), TaskLog.objects.all().delete(), Task.objects.all().delete()))

    assert numbers(entries) == []


def test_abort_signal_ends_the_iteration(listen):
    task = make_task()
    add_logs(task.uuid, 1, 1)
    controller = AbortController()
    entries = iter(listen(task.uuid, from_beginning=True, abort_signal=controller.signal))
    assert next(entries).seq == 1

    threading.Timer(0.2, controller.abort).start()

    assert numbers(entries) == []


@pytest.mark.sqlite_only
def test_given_abort_signal_reads_nothing(listen):
    task = make_task()
    add_logs(task.uuid, 1, 1)
    controller = AbortController()
    controller.abort()

    assert numbers(listen(task.uuid, from_beginning=True, abort_signal=controller.signal)) == []


def test_long_log_is_read_in_pages(listen):
    task = make_task()
    for first in range(1, 3001, 1000):
        add_logs(task.uuid, first, 1000)
    end_task(task.uuid, "done")
    sizes = []
    entries_of = logs.LogReader._entries

    def spy(self, *args):
        entries = entries_of(self, *args)
        sizes.append(len(entries))
        return entries

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs.LogReader, "_entries", spy)
        assert numbers(listen(task.uuid, from_beginning=True)) == list(range(1, 3001))

    assert max(sizes) == logs.PAGE


@pytest.mark.sqlite_only
def test_level_names_are_those_of_logging():
    assert logs.level_number("error") == logging.ERROR
