"""Websockets, without a server: who is let in, what they are sent, and how it ends."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest
from asgiref.sync import SyncToAsync
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections, transaction

from django_tasker import access, tasker
from django_tasker.consumers import base, flow
from django_tasker.events import Happening, emit
from django_tasker.listening import hubs
from django_tasker.models import Task
from django_tasker.routing import websocket_urlpatterns
from tests.listening.rows import add_logs, end_task, make_task
from tests.waiting import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

APPLICATION = URLRouter(websocket_urlpatterns)


def closing(function):
    """The function in a thread of its own, with its own connection."""

    def call(*args, **values):
        try:
            return function(*args, **values)
        finally:
            connections.close_all()

    return lambda *args, **values: asyncio.to_thread(call, *args, **values)


make, write, end = closing(make_task), closing(add_logs), closing(end_task)


@pytest.fixture(autouse=True)
def no_connection_outlives_a_test():
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


def user_with(*permissions: str, name: str = "ann") -> User:
    user = User.objects.create_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def viewer():
    return user_with("view_task")


class Socket:
    """A client of a consumer; `async with Socket(path, user) as socket`."""

    def __init__(self, path, user=None, *, headers=(), session=None):
        self._communicator = WebsocketCommunicator(APPLICATION, path, headers=list(headers))
        self._communicator.scope["user"] = user or AnonymousUser()
        if session is not None:
            self._communicator.scope["session"] = session

    async def __aenter__(self):
        self.accepted, _ = await self._communicator.connect(timeout=PATIENCE)
        return self

    async def __aexit__(self, *_):
        await self._communicator.disconnect(timeout=PATIENCE)

    async def send(self, text):
        await self._communicator.send_to(text_data=text)

    async def send_bytes(self, data):
        await self._communicator.send_to(bytes_data=data)

    async def frame(self):
        message = await self._communicator.receive_output(timeout=PATIENCE)
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def frames(self):
        """All until the end, and the close code."""
        found = []
        while True:
            message = await self._communicator.receive_output(timeout=PATIENCE)
            if message["type"] == "websocket.close":
                return found, message["code"]
            found.append(json.loads(message["text"]))

    async def close_code(self):
        return (await self.frames())[1]

    async def is_silent(self):
        return await self._communicator.receive_nothing(timeout=0.2)


def logs_of(task, query=""):
    return f"/ws/tasker/tasks/{task.uuid}/logs/{query}"


# -- the log of a task ----------------------------------------------------------------------------------------------


async def test_log_is_sent_from_the_beginning_and_followed_to_the_end(viewer):
    task = await make()
    await write(task.uuid, 1, 3)
    async with Socket(logs_of(task), viewer) as socket:
        first = [await socket.frame() for _ in range(3)]
        await write(task.uuid, 4, 2, 40)
        await end(task.uuid, "done")
        rest, code = await socket.frames()

    assert [frame["seq"] for frame in [*first, *rest[:-1]]] == [1, 2, 3, 4, 5]
    assert first[0] | {"created_at": ""} == {
        "type": "log",
        "seq": 1,
        "attempt": 1,
        "level": 20,
        "level_name": "info",
        "logger": "t",
        "message": "line 1",
        "traceback": None,
        "extra": None,
        "created_at": "",
    }
    assert rest[-1] == {"type": "ended", "uuid": str(task.uuid), "status": "done", "after": 5}
    assert code == 1000


async def test_log_goes_on_after_a_number_and_leaves_out_what_is_more_verbose(viewer):
    task = await make()
    await write(task.uuid, 1, 5, 10)
    await write(task.uuid, 6, 2, 30)
    await end(task.uuid, "failed")

    async with Socket(logs_of(task, "?after=6"), viewer) as socket:
        resumed, _ = await socket.frames()
    async with Socket(logs_of(task, "?max_level=warning"), viewer) as socket:
        severe, _ = await socket.frames()

    assert [frame.get("seq") for frame in resumed] == [7, None]
    assert [frame.get("seq") for frame in severe] == [6, 7, None]


async def test_deleted_task_ends_the_log(viewer):
    task = await make()
    async with Socket(logs_of(task), viewer) as socket:
        await write(task.uuid, 1, 1)
        await socket.frame()
        await closing(Task.objects.filter(uuid=task.uuid).delete)()
        frames, code = await socket.frames()

    assert [frame["status"] for frame in frames] == ["deleted"]
    assert code == 1000


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "query", ["?after=-1", "?after=x", "?max_level=loud", "?aftre=1", "?after=%ff", "?after=1&b=&c", "?max_level=%00"]
)
async def test_wrong_parameters_are_refused(viewer, query):
    task = await make()
    async with Socket(logs_of(task, query), viewer) as socket:
        assert await socket.close_code() == 4400


async def test_unknown_task(viewer):
    async with Socket(f"/ws/tasker/tasks/{uuid4()}/logs/", viewer) as socket:
        assert await socket.close_code() == 4404


async def test_channel_layer_that_is_away_harms_nobody(viewer, settings):
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [("127.0.0.1", 1)]}}
    settings.CHANNEL_LAYERS = {"default": layer}
    task = await make()
    await write(task.uuid, 1, 2)
    await end(task.uuid, "done")
    async with Socket(logs_of(task), viewer) as socket:
        frames, code = await socket.frames()

    assert (len(frames), code) == (3, 1000)


# -- who is let in --------------------------------------------------------------------------------------------------

PATHS = ["/ws/tasker/tasks/0b5b0c4c-1111-4222-8333-944444444444/logs/", "/ws/tasker/events/"]


@pytest.mark.sqlite_only
@pytest.mark.parametrize("path", PATHS)
async def test_anonymous_is_refused(path):
    async with Socket(path) as socket:
        assert await socket.frames() == ([], 4401)


@pytest.mark.sqlite_only
@pytest.mark.parametrize("path", PATHS)
async def test_user_without_permission_is_refused(path):
    user = await closing(user_with)("change_task", "abort_task")
    async with Socket(path, user) as socket:
        assert await socket.frames() == ([], 4403)


@pytest.mark.sqlite_only
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b"http://[", b"https://testserver.evil.example"])
async def test_wrong_origin_is_refused_in_the_handshake(viewer, path, origin):
    async with Socket(path, viewer, headers=[(b"origin", origin)]) as socket:
        assert not socket.accepted


async def test_own_origin_is_welcome(viewer):
    async with Socket("/ws/tasker/events/", viewer, headers=[(b"origin", b"http://testserver:8000")]) as socket:
        assert (await socket.frame())["type"] == "listening"


class OwnTasks:
    """A backend by which users may view the tasks that they added."""

    def authenticate(self, request):
        return None

    def has_perm(self, user, permission, task=None):
        return permission == access.VIEW and task is not None and task.added_by == user.username


async def test_backend_can_let_users_see_their_own_tasks_only(settings):
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        "tests.doors.test_consumers.OwnTasks",
    ]
    user = await closing(user_with)()
    own, other = await make("running", added_by="ann"), await make("running", added_by="bob")
    await write(own.uuid, 1, 1)

    async with Socket(logs_of(own), user) as socket:
        assert (await socket.frame())["seq"] == 1
    async with Socket(logs_of(other), user) as socket:
        assert await socket.frames() == ([], 4403)
    async with Socket(f"/ws/tasker/events/?pattern=task.{own.uuid}.*", user) as socket:
        assert (await socket.frame())["type"] == "listening"
    for pattern in (f"task.{other.uuid}.*", "*", f"task.{own.uuid}.*&counts=1"):
        async with Socket(f"/ws/tasker/events/?pattern={pattern}", user) as socket:
            assert await socket.frames() == ([], 4403)


async def test_lost_permission_ends_the_connection(viewer):
    task = await make()
    async with Socket(logs_of(task), viewer) as socket, Socket("/ws/tasker/events/", viewer) as other:
        await other.frame()
        await asyncio.sleep(0.1)
        await closing(viewer.user_permissions.clear)()

        assert await socket.close_code() == 4403
        assert await other.close_code() == 4403


async def test_permission_is_asked_for_again_after_a_while(viewer, monkeypatch):
    monkeypatch.setattr(access, "RECHECK_SECONDS", 0.2)
    task = await make()
    async with Socket(logs_of(task), viewer) as socket:
        await write(task.uuid, 1, 1)
        await socket.frame()
        await closing(User.objects.filter(pk=viewer.pk).update)(is_active=False)  # sends no signal

        assert await socket.close_code() == 4401


async def test_logout_ends_the_connection(viewer, client):
    await closing(client.force_login)(viewer)
    session = await closing(_session_of)(client)
    task = await make()
    async with Socket(logs_of(task), viewer, session=session) as socket:
        await write(task.uuid, 1, 1)
        await socket.frame()
        await closing(client.logout)()

        assert await socket.close_code() == 4401


def _session_of(client):
    session = SessionStore(client.session.session_key)
    session.load()
    return session


# -- frames of the client -------------------------------------------------------------------------------------------


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" ", 4400),
        ("{", 4400),
        ("[]", 4400),
        ('{"type": "stop"}', 4400),
        ("[" * 900, 4400),
        ("x" * 1001, 4413),
    ],
)
async def test_malformed_and_huge_frames_end_the_connection(viewer, text, code):
    task = await make()
    async with Socket(logs_of(task), viewer) as socket:
        await socket.send(text)
        assert await socket.close_code() == code


@pytest.mark.sqlite_only
async def test_binary_frame_ends_the_connection(viewer):
    task = await make()
    async with Socket(logs_of(task), viewer) as socket:
        await socket.send_bytes(b"\xff")
        assert await socket.close_code() == 4415


@pytest.mark.sqlite_only
async def test_flood_of_frames_ends_the_connection(viewer, monkeypatch):
    monkeypatch.setattr(flow, "FRAME_SECONDS", 1000)
    task = await make()
    async with Socket(logs_of(task), viewer) as socket:
        for _ in range(flow.FRAMES + 20):
            await socket.send('{"type": "ping"}')
        frames, code = await socket.frames()

    assert code == 4429
    assert frames == [{"type": "pong"}] * flow.FRAMES


async def test_ping_is_answered(viewer):
    task = await make()
    async with Socket(logs_of(task), viewer) as socket:
        await socket.send('{"type": "ping"}')
        assert await socket.frame() == {"type": "pong"}


# -- pace -----------------------------------------------------------------------------------------------------------


async def test_client_that_acknowledges_nothing_is_sent_a_burst_and_then_a_steady_rate(viewer, monkeypatch):
    monkeypatch.setattr(flow, "BURST", 1000)
    monkeypatch.setattr(flow, "RATE", 5000)
    task = await make()
    await write(task.uuid, 1, 40)
    await end(task.uuid, "done")
    async with Socket(logs_of(task), viewer) as socket:
        assert [(await socket.frame())["seq"] for _ in range(40)] == list(range(1, 41))


async def test_each_acknowledgement_allows_a_burst(viewer, monkeypatch):
    monkeypatch.setattr(flow, "BURST", 1000)
    monkeypatch.setattr(flow, "RATE", 1)  # a frame every few minutes
    task = await make()
    await write(task.uuid, 1, 40)
    await end(task.uuid, "done")
    async with Socket(logs_of(task), viewer) as socket:
        burst = 5
        assert [(await socket.frame())["seq"] for _ in range(burst)] == [1, 2, 3, 4, 5]
        while not await socket.is_silent():
            burst += 1
            assert (await socket.frame())["seq"] == burst
        assert burst <= 9
        for seq in range(burst + 1, 41):
            await socket.send('{"type": "ack"}')
            assert (await socket.frame())["seq"] == seq


async def test_server_that_holds_a_frame_back_for_long_ends_the_connection(viewer, monkeypatch):
    monkeypatch.setattr(base, "SEND_SECONDS", 0.1)
    task = await make()
    await write(task.uuid, 1, 1)
    sent = []

    async def send(message):
        if message["type"] == "websocket.send":
            await asyncio.sleep(2 * PATIENCE)
        sent.append(message)

    inbox: asyncio.Queue = asyncio.Queue()
    await inbox.put({"type": "websocket.connect"})
    scope = {"type": "websocket", "path": logs_of(task), "query_string": b"", "headers": [], "user": viewer}
    serving = asyncio.create_task(APPLICATION(scope, inbox.get, send))
    async with asyncio.timeout(PATIENCE):
        while len(sent) < 2:
            await asyncio.sleep(0.02)
    await inbox.put({"type": "websocket.disconnect", "code": 1000})
    await serving

    assert [message.get("code") for message in sent] == [None, 4408]


# -- events ---------------------------------------------------------------------------------------------------------


def tell(name, uuid, **args):
    with transaction.atomic():
        emit([Happening(name, uuid, args)], topics=["queue"], using="default")


say = closing(tell)


async def test_events_that_match_are_sent_to_all_viewers(viewer):
    uuid = uuid4()
    path = "/ws/tasker/events/?pattern=*.done"
    async with Socket(path, viewer) as first, Socket(path, viewer) as second:
        for socket in (first, second):
            assert await socket.frame() == {"type": "listening", "pattern": "*.done"}
        await say("task.run", uuid)
        await say("task.done", uuid, result={"pages": 3})

        for socket in (first, second):
            assert await socket.frame() == {
                "type": "event",
                "event": "task.done",
                "uuid": str(uuid),
                "args": {"result": {"pages": 3}},
            }


@pytest.mark.sqlite_only
@pytest.mark.parametrize("pattern", ["task.dnoe", "x" * 201, "%00", "task.add", "task.(a*)*"])
async def test_pattern_that_matches_no_event_is_refused(viewer, pattern):
    async with Socket(f"/ws/tasker/events/?pattern={pattern}", viewer) as socket:
        assert await socket.close_code() == 4400


async def test_client_too_slow_for_events_is_told_so(viewer, monkeypatch):
    monkeypatch.setattr(hubs, "BUFFER", 3)
    monkeypatch.setattr(flow, "BURST", 100)
    monkeypatch.setattr(flow, "RATE", 100)
    async with Socket("/ws/tasker/events/?pattern=task.run", viewer) as socket:
        await socket.frame()
        for _ in range(12):
            await say("task.run", uuid4())

        frames, code = await socket.frames()

    assert code == 4408
    assert len(frames) < 12


async def test_counts_are_told_at_first_and_when_they_change(viewer):
    await make("running")
    async with Socket("/ws/tasker/events/?counts=1", viewer) as socket:
        frames = [await socket.frame(), await socket.frame()]
        counts = next(frame["counts"] for frame in frames if frame["type"] == "counts")
        assert counts == {"new": 0, "running": 1, "done": 0, "failed": 0, "aborted": 0}
        await closing(tasker.add_task)("noop")
        while (frame := await socket.frame())["type"] != "counts":
            pass
        assert frame["counts"]["new"] == 1
