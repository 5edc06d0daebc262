"""Real `tasker_worker` processes for tests and soaks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_tasker.models import Worker
from tests.processes import manage
from tests.waiting import wait_until

START_SECONDS = 30
"""How long a worker may take to show itself, on a busy machine."""


class WorkerProcess:
    """One `manage.py tasker_worker …`; its output goes to a file, so that it never blocks."""

    def __init__(self, database_url: str, *arguments: str, **options: Any) -> None:
        """Start it; `options` are keys of TASKER, in any case."""
        self.name = f"w{next(_numbers)}"
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        named = arguments if "--name" in arguments else (*arguments, "--name", self.name)
        self.name = named[named.index("--name") + 1]
        tasker = {"POLL_INTERVAL": 0.2, **{key.upper(): value for key, value in options.items()}}
        self.process = manage(
            database_url,
            "tasker_worker",
            *named,
            environment={"TASKER_TEST_OPTIONS": json.dumps(tasker)},
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def wait_until_registered(self) -> Worker:
        """Its row, once it is there."""

        def row() -> Worker | None:
            assert self.process.poll() is None, self.output
            return Worker.objects.filter(pid=self.pid).first()

        found = wait_until(row, START_SECONDS)
        assert found is not None
        return found

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone for the system as well."""
        self.process.kill()
        self.process.wait()

    def wait(self, timeout: float = 60) -> int:
        """The exit code, once it has ended by itself or by a signal."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"worker {self.name} did not end in {timeout} s: {self.output}") from None

    def end(self) -> None:
        """Leave nothing behind: in order if it can, else by force."""
        for number in (signal.SIGTERM, signal.SIGTERM):
            if self.process.poll() is None:
                self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        if self.process.returncode not in (0, -signal.SIGKILL):
            print(self.name, self.process.returncode, self.output, file=sys.stderr)
        self._output.close()


_numbers = iter(range(1, sys.maxsize))


@contextmanager
def workers(database_url: str, count: int, *arguments: str, **options: Any) -> Iterator[list[WorkerProcess]]:
    """Several that are alike, ended after the block."""
    started = [WorkerProcess(database_url, *arguments, **options) for _ in range(count)]
    try:
        yield started
    finally:
        for worker in started:
            worker.end()
