"""REST: waiting for a task's end, and server-sent events, under ASGI and WSGI."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import AsyncClient

from django_tasker import access
from django_tasker.api import streams
from django_tasker.events import Happening, emit
from django_tasker.listening import hubs
from tests.doors.api_client import Api, problem, user_with
from tests.listening.rows import end_task, make_task
from tests.waiting import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


def closing(function):
    """The function in a thread of its own, with its own connection."""

    def call(*args, **values):
        try:
            return function(*args, **values)
        finally:
            connections.close_all()

    return lambda *args, **values: asyncio.to_thread(call, *args, **values)


make, end = closing(make_task), closing(end_task)


@pytest.fixture(autouse=True)
def no_connection_outlives_a_test():
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def viewer():
    return user_with("view_task")


@pytest.fixture
def client(viewer):
    client = AsyncClient()
    client.force_login(viewer)
    return client


def tell(name, uuid, **args):
    with transaction.atomic():
        emit([Happening(name, uuid, args)], topics=["queue"], using="default")


say = closing(tell)


# -- the output -----------------------------------------------------------------------------------------------------


def test_output_is_told_at_once_without_timeout(viewer):
    api = Api(viewer)
    running, failed = make_task("running"), make_task("failed", error={"type": "OSError"})

    response = api.get(f"tasks/{running.uuid}/output/")
    assert (response.status_code, response.json()["status"]) == (202, "running")
    response = api.get(f"tasks/{failed.uuid}/output/", {"timeout": "5"})
    assert response.status_code == 200
    assert response.json() == {"status": "failed", "result": None, "error": {"type": "OSError"}, "abort_reason": None}
    for value in ("-1", "301", "nan", "x"):
        assert problem(api.get(f"tasks/{running.uuid}/output/", {"timeout": value}), 400)[1] == "timeout"
    assert problem(api.get(f"tasks/{uuid4()}/output/"), 404)[0] == "task_not_found"


def test_waiting_is_refused_under_wsgi(viewer):
    api, task = Api(viewer), make_task("running")

    assert problem(api.get(f"tasks/{task.uuid}/output/?timeout=1"), 501)[0] == "needs_asgi"
    assert problem(api.get("events/"), 501)[0] == "needs_asgi"
    assert problem(Api().get("events/"), 403)[0] == "not_authenticated"


@pytest.fixture
def until_waiting(monkeypatch):
    """Await it: a request has been let in and waits for a task's end."""
    is_waiting = asyncio.Event()

    async def ended(uuid, timeout, ended=streams._ended):
        is_waiting.set()
        await ended(uuid, timeout)

    monkeypatch.setattr(streams, "_ended", ended)
    return lambda: asyncio.wait_for(is_waiting.wait(), PATIENCE)


async def test_output_is_awaited(client, until_waiting):
    task = await make()
    waiting = asyncio.create_task(client.get(f"/api/tasks/{task.uuid}/output/?timeout=60"))
    await until_waiting()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await end(task.uuid, "done", result={"pages": 3})

    response = await asyncio.wait_for(waiting, PATIENCE)

    assert response.status_code == 200
    assert response.json()["result"] == {"pages": 3}


async def test_output_that_does_not_come_in_time(client):
    task = await make()

    response = await client.get(f"/api/tasks/{task.uuid}/output/?timeout=0.2")

    assert (response.status_code, response.json()["status"]) == (202, "running")


async def test_deleted_task_ends_the_wait(client, until_waiting):
    task = await make()
    waiting = asyncio.create_task(client.get(f"/api/tasks/{task.uuid}/output/?timeout=60"))
    await until_waiting()
    await closing(task.delete)()

    assert problem(await asyncio.wait_for(waiting, PATIENCE), 404)[0] == "task_not_found"


async def test_output_is_withheld_from_who_was_locked_out_meanwhile(client, viewer, until_waiting):
    task = await make()
    waiting = asyncio.create_task(client.get(f"/api/tasks/{task.uuid}/output/?timeout=60"))
    await until_waiting()
    await closing(User.objects.filter(pk=viewer.pk).update)(is_active=False)
    await end(task.uuid, "done", result="secret")

    response = await asyncio.wait_for(waiting, PATIENCE)
    assert problem(response, 403)[0] == "permission_denied"
    assert b"secret" not in response.content


async def test_waiting_holds_no_connection(client, monkeypatch):
    held = []

    async def look(uuid, timeout):
        thread_of_request = await sync_to_async(
            lambda: [c.connection for c in connections.all(initialized_only=True)]
        )()
        held.extend(connection for connection in thread_of_request if connection is not None)

    monkeypatch.setattr(streams, "_ended", look)
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", None)
    task = await make()

    await client.get(f"/api/tasks/{task.uuid}/output/?timeout=5")

    assert held == []


async def test_projects_may_have_a_transaction_for_each_request(client, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    task = await make()

    response = await client.get(f"/api/tasks/{task.uuid}/output/?timeout=0.2")

    assert response.status_code == 202


# -- events ---------------------------------------------------------------------------------------------------------


class Stream:
    """Reads server-sent events."""

    def __init__(self, response):
        assert response.status_code == 200
        assert response["Content-Type"] == "text/event-stream; charset=utf-8"
        self._parts = aiter(response.streaming_content)
        self.response = response

    async def part(self):
        return (await asyncio.wait_for(anext(self._parts), PATIENCE)).decode()

    async def next(self):
        return self.read(await self.part())

    def read(self, part):
        if part.startswith(":"):
            return part.strip()
        name, data = part.strip().split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def ended(self):
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(self._parts), PATIENCE)
        return True

    async def close(self):
        await self._parts.aclose()


async def test_events_are_streamed(client):
    stream = Stream(await client.get("/api/events/?pattern=*.done", headers={"Accept": "text/event-stream"}))
    uuid = uuid4()

    assert await stream.next() == ": listening"
    await say("task.run", uuid)
    await say("task.done", uuid, result=[1])
    assert await stream.next() == ("task.done", {"uuid": str(uuid), "args": {"result": [1]}})
    await stream.close()


async def test_silent_stream_is_kept_alive(client, monkeypatch):
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.1)
    stream = Stream(await client.get("/api/events/"))

    assert [await stream.next() for _ in range(3)] == [": listening", ": still here", ": still here"]
    await stream.close()


async def test_stream_ends_when_the_permission_is_lost(client, viewer, monkeypatch):
    monkeypatch.setattr(access, "RECHECK_SECONDS", 0.1)
    stream = Stream(await client.get("/api/events/"))
    await stream.next()
    await closing(viewer.user_permissions.clear)()
    while (word := await stream.next()) == ": still here":
        pass

    assert word == ("refused", {"code": "permission_denied"})
    assert await stream.ended()


async def test_stream_tells_that_events_were_lost(client, monkeypatch):
    monkeypatch.setattr(hubs, "BUFFER", 2)
    stream = Stream(await client.get("/api/events/?pattern=task.run"))
    await stream.next()
    for _ in range(5):
        await say("task.run", uuid4())
    (hub,) = hubs._hubs.here().values()
    async with asyncio.timeout(PATIENCE):
        while hub.place < 5:
            await asyncio.sleep(0.02)

    assert await stream.next() == ("lost", {"code": "too_slow"})
    assert await stream.ended()


async def test_nothing_is_waited_for_without_being_sent(client):
    assert (await client.head("/api/events/")).status_code == 405


async def test_who_may_not_gets_no_stream(client, viewer):
    assert problem(await client.get("/api/events/?pattern=task.dnoe"), 400)[0] == "unknown_event"
    assert problem(await client.get("/api/events/?patern=*"), 400) == ("invalid_query", "patern")
    assert problem(await AsyncClient().get("/api/events/"), 403)[0] == "not_authenticated"
    await closing(viewer.user_permissions.clear)()
    assert problem(await client.get("/api/events/"), 403)[0] == "permission_denied"
