"""Waiting for a task's end."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from django.db import OperationalError, transaction

from django_tasker import notify
from django_tasker.errors import TaskAborted, TaskFailed, TaskNotFound, WaitTimeout
from django_tasker.listening import await_for_output, wait_for_output
from django_tasker.models import Task
from tests.listening.rows import delete_unheard, end_task, make_task

pytestmark = pytest.mark.django_db(transaction=True)


def in_a_loop(uuid, timeout=None):
    return asyncio.run(await_for_output(uuid, timeout))


@pytest.fixture(params=[wait_for_output, in_a_loop], ids=["thread", "coroutine"])
def wait(request):
    return request.param


@pytest.mark.sqlite_only
@pytest.mark.parametrize("result", [None, 5, {"pages": [1, None]}, "text", False])
def test_result_of_a_done_task(wait, result):
    assert wait(make_task("done", result=result).uuid) == result


def test_failed_task(wait):
    error = {"type": "ValueError", "message": "no such book", "traceback": None}
    task = make_task("failed", error=error)

    with pytest.raises(TaskFailed, match="no such book") as caught:
        wait(task.uuid)

    assert caught.value.error == error


def test_aborted_task(wait):
    task = make_task("aborted", abort_reason="not needed")

    with pytest.raises(TaskAborted, match="not needed") as caught:
        wait(task.uuid)

    assert caught.value.reason == "not needed"


def test_unknown_task(wait):
    with pytest.raises(TaskNotFound):
        wait(uuid.uuid4(), timeout=5)


@pytest.mark.parametrize("timeout", [0, 0.2])
def test_timeout(wait, timeout):
    task = make_task()
    began = time.monotonic()

    with pytest.raises(WaitTimeout, match="it is running"):
        wait(task.uuid, timeout=timeout)

    assert time.monotonic() - began >= timeout


def test_end_in_another_thread_is_heard(wait, in_thread):
    task = make_task()

    in_thread(lambda: (time.sleep(0.2), end_task(task.uuid, "done", result=7)))

    assert wait(task.uuid, timeout=20) == 7


def test_end_in_another_process_is_heard(wait, writer):
    task = make_task()
    writer.start("end", str(task.uuid), "done", {"result": 7})

    assert wait(task.uuid, timeout=20) == 7

    writer.finish()


def test_task_that_is_deleted_meanwhile(wait, in_thread):
    task = make_task()

    in_thread(lambda: (time.sleep(0.2), Task.objects.all().delete()))

    with pytest.raises(TaskNotFound):
        wait(task.uuid, timeout=20)


def test_deletion_is_heard_at_once(wait, in_thread, settings):
    settings.TASKER = {"POLL_INTERVAL": 3600.0}
    task = make_task()

    in_thread(lambda: (time.sleep(0.5), delete_unheard(task.uuid)))

    with pytest.raises(TaskNotFound):
        wait(task.uuid)


@pytest.mark.sqlite_only
def test_timeout_inside_a_transaction_says_so():
    with transaction.atomic(), pytest.raises(WaitTimeout, match="inside a transaction"):
        wait_for_output(make_task("new").uuid, timeout=0.01)


@pytest.mark.sqlite_only
def test_passing_outage_is_survived(monkeypatch):
    task = make_task()
    from django_tasker.listening.outputs import _Wait

    look, looks = _Wait.has_ended, []

    def has_ended(self):
        looks.append(1)
        if len(looks) == 2:
            raise OperationalError("server closed the connection")
        if len(looks) == 3:
            end_task(task.uuid, "done", result=1)
        return look(self)

    monkeypatch.setattr(_Wait, "has_ended", has_ended)

    assert wait_for_output(task.uuid, timeout=20) == 1


@pytest.mark.sqlite_only
def test_nothing_is_left_subscribed(wait):
    with pytest.raises(WaitTimeout):
        wait(make_task().uuid, timeout=0.01)

    assert notify.notifier("default").health.subscriptions == 0


async def test_many_coroutines_wait_without_a_thread_each(in_thread):
    import threading

    task = await asyncio.to_thread(make_task_and_close)
    waits = [asyncio.create_task(await_for_output(task.uuid, timeout=20)) for _ in range(50)]
    await asyncio.sleep(0.2)
    threads = threading.active_count()

    in_thread(end_task, task.uuid, "done")

    assert await asyncio.gather(*waits) == [None] * 50
    assert threads < 10


def make_task_and_close():
    from django.db import connections

    try:
        return make_task()
    finally:
        connections.close_all()
