"""Many viewers of one task's log: the server's memory, and how late its lines arrive.

    python -m benchmarks.websocket_viewers [--viewers 1000] [--lines 40] [--interval 0.5] [--server uvicorn|daphne]
    python -m benchmarks.websocket_viewers --long      # 5,000 viewers

One server process on SQLite in a temporary folder; this process writes the lines and a second one views. Prints a line
of JSON: resident memory of the server before the first viewer and at its height, and the delay between the commit of a
line and its arrival, over all viewers. Ends with 1 if 1,000 viewers take 150 MB or a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MOST_MB_OF_1000 = 150
MOST_SECONDS = 1.0
AT_ONCE = 100
"""Connections that are opened at the same time."""


def main() -> int:
    options = parse()
    raise_limit()
    if options.view:
        asyncio.run(view(options))
        return 0
    with tempfile.TemporaryDirectory(prefix="tasker-viewers-") as folder:
        return measure(options, folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between two lines")
    parser.add_argument("--server", choices=["uvicorn", "daphne"], default="uvicorn")
    parser.add_argument("--long", action="store_true", help="5,000 viewers")
    parser.add_argument("--view", help=argparse.SUPPRESS)
    parser.add_argument("--cookie", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.long:
        options.viewers, options.interval = 5000, 2.0
    return options


def raise_limit() -> None:
    """Every viewer is an open file, here and in the server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure(options: argparse.Namespace, folder: str) -> int:
    os.environ.update(DJANGO_SETTINGS_MODULE="example_project.settings", DATABASE_URL=f"sqlite:///{folder}/db.sqlite3")
    os.environ["DEBUG"] = "0"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    port = free_port()
    server = start_server(options.server, port)
    try:
        return watch(options, server.pid, port)
    finally:
        server.terminate()
        server.wait(20)


def watch(options: argparse.Namespace, pid: int, port: int) -> int:
    uuid, cookie = add_task_and_viewer()
    before = memory_mb(pid)
    command = [sys.executable, "-m", "benchmarks.websocket_viewers", "--viewers", str(options.viewers)]
    url = f"ws://127.0.0.1:{port}/ws/tasker/tasks/{uuid}/logs/"
    viewing = subprocess.Popen(
        [*command, "--view", url, "--cookie", cookie], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert viewing.stdout
    connected = json.loads(viewing.stdout.readline())
    idle = memory_mb(pid)
    height = write_lines(uuid, options.lines, options.interval, pid)
    seen = json.loads(viewing.stdout.readline())
    viewing.wait(60)
    result = {
        "server": options.server,
        "viewers": options.viewers,
        "lines": options.lines,
        "connect_seconds": connected["seconds"],
        "server_mb_before": before,
        "server_mb_idle": idle,
        "server_mb_height": max(height, idle),
        "kb_a_viewer": round((max(height, idle) - before) * 1000 / options.viewers, 1),
        **seen,
    }
    print(json.dumps(result))
    complete = seen["received"] == options.viewers * options.lines
    slim = result["server_mb_height"] <= MOST_MB_OF_1000 * max(1, options.viewers / 1000)
    return 0 if complete and slim and seen["delay_max"] <= MOST_SECONDS * max(1, options.viewers / 1000) else 1


def add_task_and_viewer() -> tuple[str, str]:
    """A running task, and the cookie of somebody who may view it."""
    from django.contrib.auth.models import User
    from django.test import Client
    from django.utils import timezone

    from django_tasker.models import Task

    now = timezone.now()
    task = Task.objects.create(operation="watched", status="running", hold=-1, added_at=now, updated_at=now)
    client = Client()
    client.force_login(User.objects.create_superuser("viewer"))
    return str(task.uuid), f"sessionid={client.session.session_key}"


def write_lines(uuid: str, lines: int, interval: float, pid: int) -> float:
    """Write lines as a worker does, then end the task; the server's height of memory meanwhile."""
    from django.db import transaction
    from django.utils import timezone

    from django_tasker.events import emit
    from django_tasker.models import Task, TaskLog

    height = 0.0
    for seq in range(1, lines + 1):
        with transaction.atomic():
            message = f"{time.time():.6f} " + "x" * 80
            TaskLog.objects.create(
                task_id=Task.objects.values_list("pk", flat=True).get(uuid=uuid), seq=seq, attempt=1, level=20,
                logger="watched", message=message, created_at=timezone.now(),
            )  # fmt: skip
            emit([], topics=[f"task:{uuid}"], using="default")
        time.sleep(interval)
        height = max(height, memory_mb(pid))
    with transaction.atomic():
        Task.objects.filter(uuid=uuid).update(status="done", ended_at=timezone.now())
        emit([], topics=[f"task:{uuid}"], using="default")
    return height


# -- the viewers ------------------------------------------------------------------------------------------------------


async def view(options: argparse.Namespace) -> None:
    """Connect all, say so, and say what they saw when the task has ended."""
    delays: list[float] = []
    gate = asyncio.Semaphore(AT_ONCE)
    started, ready = time.monotonic(), asyncio.Barrier(options.viewers + 1)
    viewers = [asyncio.create_task(view_one(options, gate, ready, delays)) for _ in range(options.viewers)]
    await ready.wait()
    print(json.dumps({"seconds": round(time.monotonic() - started, 1)}), flush=True)
    await asyncio.gather(*viewers)
    delays.sort()
    seen = {"received": len(delays), "delay_median": delays[len(delays) // 2], "delay_max": delays[-1]}
    print(json.dumps({name: round(value, 3) for name, value in seen.items()}), flush=True)


async def view_one(options: argparse.Namespace, gate: asyncio.Semaphore, ready: Any, delays: list[float]) -> None:
    from websockets.asyncio.client import connect

    origin = options.view.replace("ws:", "http:").split("/ws/")[0]
    headers = {"Cookie": options.cookie}
    async with gate:
        connection = await connect(
            options.view, additional_headers=headers, origin=origin, proxy=None, compression=None,
            open_timeout=120, ping_interval=None,
        )  # fmt: skip
        await connection.send('{"type": "ping"}')
        await connection.recv()
    async with connection as ws:
        await ready.wait()
        async for text in ws:
            now = time.time()
            frame = json.loads(text)
            if frame["type"] == "log":
                delays.append(now - float(frame["message"].split()[0]))


# -- the server -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start_server(name: str, port: int) -> subprocess.Popen[bytes]:
    commands = {
        "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"],
        "daphne": ["daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0"],
    }
    server = subprocess.Popen([sys.executable, "-m", *commands[name], "example_project.asgi:application"], cwd=ROOT)
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/login/").close()
            return server
        except OSError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.1)


def memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1000, 1)
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
