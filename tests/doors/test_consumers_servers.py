"""Websockets, long poll and server-sent events of real servers, asked by a real client."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import urllib.request
from contextlib import AsyncExitStack, suppress
from contextlib import closing as closing_socket
from pathlib import Path
from uuid import uuid4

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connections
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from django_tasker.events import Happening, emit
from django_tasker.models import TaskLog
from tests.doors.api_client import user_with
from tests.listening.rows import add_logs, end_task, make_task
from tests.processes import ROOT, url_of
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.end_to_end]

COMMANDS = {
    "daphne": ["daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0"],
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning", "--lifespan", "off"],
}


class Server:
    """A server process on the tests' database."""

    def __init__(self, name: str) -> None:
        with closing_socket(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [part.format(port=self.port) for part in COMMANDS[name]]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, "example_project.asgi:application"],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": url_of(settings.DATABASES["default"]),
                "DJANGO_SETTINGS_MODULE": "tests.settings",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        wait_until(self.is_up, 30)

    def is_up(self) -> bool:
        assert self.process.poll() is None
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/admin/login/").status == 200
        except OSError:
            return False

    def stop(self) -> str:
        self.process.terminate()
        try:
            return self.process.communicate(timeout=15)[0].decode()
        finally:
            self.process.kill()

    def socket(self, path, user=None, *, origin=None, **options):
        headers = {"Cookie": cookie_of(user)} if user else {}
        origin = origin or f"http://127.0.0.1:{self.port}"
        url = f"ws://127.0.0.1:{self.port}/ws/tasker/{path}"
        return connect(url, additional_headers=headers, origin=origin, proxy=None, max_size=2**22, **options)


@pytest.fixture(scope="module", params=COMMANDS)
def server(request, django_db_setup, django_db_blocker):
    server = Server(request.param)
    yield server
    output = server.stop()
    assert "Traceback" not in output, output


@pytest.fixture(autouse=True)
def no_connection_outlives_a_test():
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def viewer():
    user = user_with("view_task")
    client = Client()
    client.force_login(user)
    user.cookie = f"sessionid={client.session.session_key}"
    return user


def cookie_of(user) -> str:
    return user.cookie


def closing(function):
    def call(*args, **values):
        try:
            return function(*args, **values)
        finally:
            connections.close_all()

    return lambda *args, **values: asyncio.to_thread(call, *args, **values)


make, write, end = closing(make_task), closing(add_logs), closing(end_task)
LINES = 10_000


async def write_all(task):
    for first in range(1, LINES + 1, 250):
        await write(task.uuid, first, 250)
    await end(task.uuid, "done")


@pytest.mark.parametrize("acknowledges", [True, False])
async def test_each_of_ten_thousand_lines_comes_once_across_reconnects(server, viewer, acknowledges):
    task = await make()
    writing = asyncio.create_task(write_all(task))
    seen: list[int] = []
    cuts, last = 0, {}
    async with asyncio.timeout(4 * PATIENCE):
        while last.get("type") != "ended":
            until = len(seen) + random.randrange(500, 3_000)
            after = seen[-1] if seen else 0
            path = f"tasks/{task.uuid}/logs/?after={after}"
            # An acknowledgement that comes when the server has sent all and is gone cuts off what was not read yet.
            with suppress(ConnectionClosed):
                async with server.socket(path, viewer) as ws:
                    async for text in ws:
                        last = json.loads(text)
                        if last["type"] != "log":
                            continue
                        seen.append(last["seq"])
                        if acknowledges and len(seen) % 500 == 0:
                            await ws.send('{"type": "ack"}')
                        if len(seen) >= until:
                            ws.transport.abort()
                            cuts += 1
                            break
    await writing

    assert seen == list(range(1, LINES + 1))
    assert cuts > 2
    assert last == {"type": "ended", "uuid": str(task.uuid), "status": "done", "after": LINES}


async def closed(ws):
    """Frames until the end, and the close code."""
    frames = []
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                frames.append(await ws.recv())
    except ConnectionClosed as error:
        return frames, error.rcvd.code if error.rcvd else 1006


async def test_who_may_not_is_refused_and_told_nothing(server, viewer):
    task = await make()
    await write(task.uuid, 1, 3)
    path = f"tasks/{task.uuid}/logs/"
    for wrong in ("http://evil.example", f"http://evil.example:{server.port}", "null"):
        with pytest.raises(InvalidStatus) as refused:
            async with server.socket(path, viewer, origin=wrong):
                pass
        assert refused.value.response.status_code == 403
    async with server.socket(path) as ws:
        assert await closed(ws) == ([], 4401)
    async with server.socket(f"tasks/{uuid4()}/logs/", viewer) as ws:
        assert await closed(ws) == ([], 4404)
    async with server.socket(path + "?after=x", viewer) as ws:
        assert await closed(ws) == ([], 4400)
    await closing(viewer.user_permissions.clear)()
    for each in (path, f"tasks/{uuid4()}/logs/", "events/", f"events/?pattern=task.{task.uuid}.*"):
        async with server.socket(each, viewer) as ws:
            assert await closed(ws) == ([], 4403)


async def test_malformed_and_huge_frames_end_the_connection(server, viewer):
    task = await make()
    path = f"tasks/{task.uuid}/logs/"
    for text, code in (("{", 4400), ('{"type": "run"}', 4400), ("x" * 2_000, 4413), (b"\xff\x00", 4415)):
        async with server.socket(path, viewer) as ws:
            await ws.send(text)
            assert (await closed(ws))[1] == code
    async with server.socket(path, viewer) as ws:  # more than the server itself takes
        try:
            await ws.send("x" * 40_000_000)
        except ConnectionClosed:
            pass
        assert (await closed(ws))[1] in (1006, 1009)
    async with server.socket(path, viewer) as ws:
        await ws.send('{"type": "ping"}')
        assert json.loads(await ws.recv()) == {"type": "pong"}


async def test_logout_ends_the_connection(server, viewer):
    viewer.is_staff = True  # only they can log out of the admin
    await closing(viewer.save)()
    async with server.socket("events/?pattern=task.done&counts=1", viewer) as ws:
        frames = [json.loads(await ws.recv()) for _ in range(2)]
        assert {frame["type"] for frame in frames} == {"listening", "counts"}
        await asyncio.to_thread(log_out, server, viewer)

        assert (await closed(ws))[1] == 4401


def log_out(server, viewer):
    """By the server's own admin."""
    token = "a" * 32
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {
        "Cookie": f"{viewer.cookie}; csrftoken={token}",
        "X-CSRFToken": token,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.request("POST", "/admin/logout/", "", headers)
    assert connection.getresponse().status in (200, 302)
    connection.close()


async def test_output_is_awaited_and_events_are_streamed(server, viewer):
    task = await make()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request(f"/api/tasks/{task.uuid}/output/?timeout=30", viewer))
    events, other = await asyncio.open_connection("127.0.0.1", server.port)
    other.write(request("/api/events/?pattern=task.ended", viewer))
    async with asyncio.timeout(PATIENCE):
        await events.readuntil(b": listening\n\n")
        await end(task.uuid, "done", result={"pages": 3})
        answer = await reader.readuntil(b'"abort_reason": null}')
        event = await events.readuntil(b"}}\n\n")
    for each in (writer, other):
        each.close()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"result": {"pages": 3}' in answer
    assert event.split(b"event: ")[1].startswith(b"task.ended\ndata: {")


def request(path, viewer):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {viewer.cookie}\r\n\r\n".encode()


def tell(name, uuid, **args):
    emit([Happening(name, uuid, args)], topics=["queue"], using="default")


async def test_events_of_another_process_are_heard(server, viewer):
    uuid = uuid4()
    async with server.socket("events/?pattern=task.done", viewer) as ws:
        await ws.recv()
        await closing(tell)("task.done", uuid, result=1)
        async with asyncio.timeout(PATIENCE):
            frame = json.loads(await ws.recv())

    assert frame == {"type": "event", "event": "task.done", "uuid": str(uuid), "args": {"result": 1}}


async def test_clients_that_do_not_read_cost_a_burst_each(server, viewer):
    task = await make()
    await closing(write_long)(task, 5_000)  # 10 MB
    before = memory_mb(server)
    async with AsyncExitStack() as stack:
        for _ in range(10):
            path = f"tasks/{task.uuid}/logs/"
            await stack.enter_async_context(server.socket(path, viewer, max_queue=1, close_timeout=0.1))
        await asyncio.sleep(2)

        assert memory_mb(server) - before < 50  # of the 100 that the log has for all


def write_long(task, count):
    now = timezone.now()
    TaskLog.objects.bulk_create(
        TaskLog(task=task, seq=seq, attempt=1, level=20, logger="t", message="x" * 2_000, created_at=now)
        for seq in range(1, count + 1)
    )


def memory_mb(server):
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    return next(int(line.split()[1]) / 1000 for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
