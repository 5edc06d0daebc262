"""The demo as `make demo` runs it: real packages, a real worker, a real web server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.processes import ROOT
from tests.waiting import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.sqlite_only]


@pytest.fixture
def start_demo(tmp_path):
    """start_demo(**environment): the demo on a database of its own, ended after the test."""
    started = []

    def start(**environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "example_project.settings",
                "DATABASE_URL": f"sqlite:///{tmp_path}/demo.sqlite3",
                "DEMO_PACKAGES": "4",
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_once_ends_with_a_table_and_may_be_run_again(start_demo):
    for _ in range(2):
        demo = start_demo(DEMO_ONCE="1")

        output, _ = demo.communicate(timeout=110)

        assert demo.returncode == 0, output
        assert "all 4 packages" in output
        assert "longest function:" in output


def test_ctrl_c_stops_everything(start_demo):
    port = free_port()
    demo = start_demo(PORT=str(port), DEMO_ONCE="")
    wait_until(lambda: is_listening(port), timeout=60)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/", timeout=30) as page:
        assert page.status == 200

    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=60)

    assert (demo.returncode, "Stopped." in output) == (0, True), output
    assert not is_listening(port)


@pytest.mark.parametrize("wish", ["many", "0", "-1.5"])
def test_wrong_number_of_packages_is_refused(start_demo, wish):
    demo = start_demo(DEMO_ONCE="1", DEMO_PACKAGES=wish)

    output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 1
    assert "CommandError" in output


def test_taken_port_is_told(start_demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        demo = start_demo(PORT=str(taken.getsockname()[1]), DEMO_ONCE="")
        output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 1
    assert "is taken" in output
