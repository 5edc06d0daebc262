"""What the demo does, step by step; `management/commands/demo.py` puts the steps together."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from django_tasker import tasker
from django_tasker.models import Task

from .packages import InstalledPackage, installed_packages


def create_admin() -> None:
    """A superuser admin/admin: for the demo only."""
    if not get_user_model().objects.filter(username="admin").exists():
        get_user_model().objects.create_superuser("admin", "admin@example.com", "admin")


def chosen_packages(wish: str) -> list[InstalledPackage]:
    """The first packages by name, as many as `wish` says: a number or 'all'."""
    if wish == "all":
        return installed_packages()
    count = int(wish)
    if count < 1:
        raise ValueError(f"{count} packages are too few")
    return installed_packages(count)


def add_index_tasks(packages: list[InstalledPackage]) -> list[Task]:
    """One task per package, small ones first. One that already waits or runs is not added again."""
    return [
        tasker.add_task(
            "index-package",
            {"package": package.name},
            priority=package.size // 1024,
            unique_key=f"index-package:{package.name}",
            on_conflict="return",
        )
        for package in packages
    ]


def add_summary_task() -> Task:
    """The last task of all: its priority is infinite, and its condition waits for all index tasks."""
    return tasker.add_task(
        "summarize-packages", priority=math.inf, unique_key="summarize-packages", on_conflict="replace"
    )


def check_port(port: int) -> None:
    """Raises OSError if something else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py …` beside us, stopped at the end of the block by one SIGTERM and, if need be, by force.

    It gets a session of its own, so that Ctrl-C reaches it only once, through us.
    """
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
    started = subprocess.Popen(command, start_new_session=True)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=20)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # Ctrl-C again: no more patience
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def results_table(summary: dict[str, Any]) -> list[str]:
    """The lines of the table that the summary task made."""
    columns = ["files", "lines", "functions", "classes", "imports", "unreadable"]
    row = "{:<24}" + "{:>11}" * len(columns)
    table = [row.format("package", *columns)]
    table += [
        row.format(package["name"][:24], *(package[column] for column in columns)) for package in summary["largest"]
    ]
    table.append(row.format(f"all {summary['packages']} packages", *(summary["totals"][column] for column in columns)))
    if longest := summary["longest_function"]:
        table.append(f"longest function: {longest['longest_function']}, {longest['longest_function_lines']} lines")
    return table
