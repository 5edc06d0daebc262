"""A worker that says nothing in the midst of a transaction holds nobody up for long."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest
from django.db import connection

from django_tasker import tasker
from django_tasker.models import Task
from tests.processes import manage
from tests.waiting import PATIENCE, wait_until

# Stops itself under the gate, with the task's row locked; when it goes on, its transaction is gone, and is run again.
FROZEN = """
import os, signal, sys
from django.db import connection
from django_tasker import databases
from django_tasker.models import Task

database = databases.database("default")
sys.modules[type(database).__module__].SILENCE_SECONDS = 1
runs = []

def work():
    database.close_gate(connection, shared=False)
    runs.append(list(Task.objects.select_for_update().values_list("pk")))
    if len(runs) == 1:
        print("frozen", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    return Task.objects.count()

assert databases.in_transaction("default", work) == 1
print("runs", len(runs), flush=True)
"""


@pytest.fixture
def frozen(database_url: str) -> Iterator[subprocess.Popen[str]]:
    if not (connection.vendor == "postgresql" or getattr(connection, "mysql_is_mariadb", False)):
        pytest.skip("no server that ends a transaction for its silence")
    process = manage(database_url, "shell", "--no-imports", "-c", FROZEN)
    yield process
    process.kill()
    process.communicate()


def test_frozen_worker_is_left_behind_and_goes_on_later(start_worker, frozen) -> None:
    task = tasker.add_task("noop", concurrency=[{"scope": "running", "query": {"operation": "noop"}, "limit": 1}])
    assert frozen.stdout.readline() == "frozen\n"

    start_worker("--concurrency", "1")

    wait_until(lambda: Task.objects.get(pk=task.pk).status == "done")
    frozen.send_signal(signal.SIGCONT)
    output, errors = frozen.communicate(timeout=PATIENCE)
    assert (output, frozen.returncode) == ("runs 2\n", 0), errors
