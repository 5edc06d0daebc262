"""Fixtures for those who listen: a second process, and connections that don't outlive a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from tests.processes import ROOT


class Writer:
    """Drives `tests.listening.writer`."""

    def __init__(self, database_url: str) -> None:
        environment = {**os.environ, "DATABASE_URL": database_url}
        command = [sys.executable, "-m", "tests.listening.writer"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)
        assert self._answer() == "ready"

    def start(self, *command: Any) -> None:
        """Send a command; `Writer.finish` waits for its answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Any:
        return self._answer()

    def do(self, *command: Any) -> Any:
        self.start(*command)
        return self.finish()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture
def writer(database_url):
    """A process of its own that writes rows."""
    writer = Writer(database_url)
    yield writer
    writer.close()


@pytest.fixture(autouse=True)
def no_connection_outlives_a_test():
    """Closes what coroutines used, and looks that our threads are gone."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def in_thread():
    """Call a function in a thread of its own, with its own connection; joined, and its errors raised, at the end."""
    threads, errors = [], []

    def start(function, *args):
        def run():
            try:
                function(*args)
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
