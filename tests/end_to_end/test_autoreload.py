"""`tasker_worker --autoreload` on a project of its own: new code runs, and what ran goes back without a loss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_tasker import tasker
from django_tasker.models import Attempt, Task, Worker
from tests.processes import ROOT
from tests.waiting import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.sqlite_only]

SECONDS = 40
"""How long anything may take on a busy machine; a look for changed files comes once a second."""
SETTINGS = "from tests.settings import *\n\nINSTALLED_APPS = [*INSTALLED_APPS, 'reloaded']\n"
RUNNERS = """
import asyncio
import os
import time

from django_tasker import tasker

VERSION = {version}


@tasker.runner("reloaded-process")
def in_a_process(task):
    task.progress(0, message=str(os.getpid()))
    for _ in range(6000 if VERSION == 1 else 0):
        time.sleep(0.01)
    return VERSION


@tasker.runner("reloaded-thread", executor="thread")
def in_a_thread(task):
    task.progress(0, message=str(os.getpid()))
    task.abort_signal.wait(60 if VERSION == 1 else 0)
    task.abort_signal.raise_if_aborted()
    return VERSION


@tasker.runner("reloaded-coroutine")
async def in_a_coroutine(task):
    task.progress(0, message=str(os.getpid()))
    await asyncio.sleep(60 if VERSION == 1 else 0)
    return VERSION
"""
OPERATIONS = ("reloaded-process", "reloaded-thread", "reloaded-coroutine")


class Project:
    """A project in a folder, and the worker that reloads it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        (folder / "reloaded").mkdir()
        (folder / "reloaded" / "__init__.py").touch()
        (folder / "reloaded_settings.py").write_text(SETTINGS)
        self.write(version=1)
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "reloaded_settings",
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",  # what is written twice in a second looks the same to its cache
        }
        self._output = (folder / "output").open("w+")
        self.process: subprocess.Popen[str] | None = None

    def write(self, version: int | str) -> None:
        (self._folder / "reloaded" / "runners.py").write_text(RUNNERS.format(version=version))

    def change(self, version: int | str, is_seen: Callable[[], object]) -> None:
        """Write new code, again until it is seen: what changes before the reloader's first look, it takes for old."""
        wait_until(lambda: self.write(version) or is_seen(), SECONDS, interval=4)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the worker as a shell does: in a process group of its own."""
        command = [
            sys.executable,
            str(ROOT / "manage.py"),
            "tasker_worker",
            "--autoreload",
            "--name",
            "dev",
            *arguments,
        ]
        self.process = subprocess.Popen(
            command,
            env=self._environment,
            cwd=self._folder,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self.process

    def group(self) -> set[int]:
        """The processes that the worker began, itself included, and that still run."""
        assert self.process
        listing = subprocess.run(["ps", "-e", "-o", "pid=,sid=,stat="], capture_output=True, text=True, check=True)
        rows = [line.split() for line in listing.stdout.splitlines()]
        return {int(pid) for pid, session, state in rows if int(session) == self.process.pid and state[0] != "Z"}

    @property
    def output(self) -> str:
        return (self._folder / "output").read_text()

    def end(self) -> None:
        print(self.output)  # pytest shows it where a test has failed
        if self.process is not None:
            for pid in self.group():
                os.kill(pid, signal.SIGKILL)
            self.process.wait(10)
        self._output.close()


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    project = Project(tmp_path, database_url)
    yield project
    project.end()


@pytest.fixture
def running(project: Project) -> Callable[..., list[Task]]:
    """running(*arguments): a worker with a task in progress in each executor."""

    def start(*arguments: str) -> list[Task]:
        tasks = tasker.add_tasks({"operation": operation} for operation in OPERATIONS)
        project.start("--concurrency", "1", *arguments)
        wait_until(lambda: all(task.progress for task in fresh(tasks)), SECONDS)
        return fresh(tasks)

    return start


def fresh(tasks: list[Task]) -> list[Task]:
    return list(Task.objects.filter(pk__in=[task.pk for task in tasks]).order_by("id"))


def assert_given_back(tasks: list[Task]) -> None:
    """They are new, or ended, after exactly one attempt that was stopped in order."""
    assert [task.losses for task in fresh(tasks)] == [0, 0, 0]
    outcomes = Attempt.objects.filter(task__in=tasks).order_by("task").values_list("outcome", flat=True)
    assert list(outcomes) == ["stopped"] * 3


def test_changed_code_runs_what_the_old_code_gave_back(project, running) -> None:
    tasks = running("--grace", "0.5")
    before = project.group()
    worker = Worker.objects.get()

    project.change(version=2, is_seen=lambda: not Worker.objects.filter(pk=worker.pk, stopping_at=None).exists())

    wait_until(lambda: [task.result for task in fresh(tasks)] == [2, 2, 2], SECONDS)
    assert_given_back(tasks)
    assert [task.attempt for task in fresh(tasks)] == [1, 1, 1]
    assert project.process.poll() is None
    assert project.group() & before == {project.process.pid}, "all others are new"
    assert Worker.objects.get().pid != worker.pid


def test_broken_code_is_waited_out(project) -> None:
    project.start("--concurrency", "1")
    wait_until(Worker.objects.exists, SECONDS)

    project.change(version="1 +", is_seen=lambda: "SyntaxError" in project.output)
    task = tasker.add_task("reloaded-process")
    project.change(version=2, is_seen=Worker.objects.exists)

    wait_until(lambda: fresh([task])[0].result == 2, SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_parent_stops_everything_in_order(project, running, number) -> None:
    tasks = running("--grace", "0.5")

    project.process.send_signal(number)

    assert project.process.wait(SECONDS) == 0, project.output
    wait_until(lambda: not project.group(), SECONDS)
    assert_given_back(tasks)
    assert [task.status for task in fresh(tasks)] == ["new"] * 3
    assert not Worker.objects.exists()


def test_interrupt_from_the_keyboard_stops_everything_in_order(project, running) -> None:
    """A terminal sends it to the whole group; that is one signal, not one for each process to count."""
    tasks = running("--grace", "2")
    began = time.monotonic()

    os.killpg(project.process.pid, signal.SIGINT)

    assert project.process.wait(SECONDS) == 0, project.output
    assert time.monotonic() - began >= 2, "the grace was skipped"
    assert "Traceback" not in project.output
    wait_until(lambda: not project.group(), SECONDS)
    assert_given_back(tasks)


def test_second_signal_skips_the_grace(project, running) -> None:
    tasks = running("--grace", "300")
    os.killpg(project.process.pid, signal.SIGINT)
    wait_until(Worker.objects.filter(stopping_at__isnull=False).exists, SECONDS)

    os.killpg(project.process.pid, signal.SIGINT)

    assert project.process.wait(SECONDS) == 0, project.output
    wait_until(lambda: not project.group(), SECONDS)
    assert_given_back(tasks)
