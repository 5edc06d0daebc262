"""Which processes count as alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.utils import timezone

from django_tasker.conf import options
from django_tasker.models import Worker
from django_tasker.worker.rescue import rescue
from django_tasker.worker.settings import is_alive, machine_id


@pytest.fixture
def child():
    """A process that sleeps; its id is ours to keep until the end of the test."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()


def kill_unreaped(child: subprocess.Popen) -> None:
    """Kill it and leave it a zombie."""
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.sqlite_only
def test_process_is_alive_until_it_ends(child):
    assert is_alive(os.getpid())
    assert is_alive(child.pid)

    child.kill()
    child.wait()

    assert not is_alive(child.pid)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells zombies by /proc")


@linux
@pytest.mark.sqlite_only
def test_process_that_nobody_has_reaped_is_dead(child):
    kill_unreaped(child)

    os.kill(child.pid, 0)  # its id is still there
    assert not is_alive(child.pid)


@linux
@pytest.mark.django_db(transaction=True)
def test_killed_worker_is_lost_before_its_parent_reaps_it(child):
    now = timezone.now()
    worker = Worker.objects.create(
        name="w", hostname="h", pid=child.pid, machine=machine_id(), started_at=now, heartbeat_at=now
    )
    rescue("default", options())
    assert Worker.objects.filter(pk=worker.pk).exists()

    kill_unreaped(child)
    rescue("default", options())

    assert not Worker.objects.exists()
