"""Runners in child processes: how they die, and what that costs the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from django.conf import UserSettingsHolder, global_settings, settings

from django_tasker.errors import ConfigurationError
from django_tasker.worker.executors import forkserver, keeper
from django_tasker.worker.executors.launching import describe_exit
from tests.waiting import wait_until

pytestmark = pytest.mark.sqlite_only

ROOT = Path(__file__).resolve().parents[3]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"how": "exit", "code": 7}, "exit code 7"),
        ({"how": "exit", "code": 0}, "exit code 0"),
        ({"how": "segfault"}, "signal 11 (SIGSEGV)"),
        ({"how": "kill"}, "signal 9 (SIGKILL); perhaps it ran out of memory"),
        ({"how": "close-files"}, "signal 9 (SIGKILL)"),
    ],
)
def test_a_child_that_dies_costs_its_own_task_only(processes, tmp_path, data, said):
    neighbour = processes.submit("wait-for-file", {"end": str(tmp_path / "end")})

    done = processes.run("die", data)

    assert (done.ended.kind, done.ended.error["type"]) == ("died", "ProcessDied")
    assert said in done.ended.error["message"]
    assert done.messages == ["about to die"]
    (tmp_path / "end").touch()
    assert processes.sink.wait(neighbour.key).kind == "done"
    assert processes.run("echo", 1).ended.kind == "done"


def test_children_that_die_together_leave_the_fork_server_alive(make_bench):
    bench = make_bench("process", 6)
    bench.run("echo")
    server = bench.executor._keeper._launcher._process

    for _ in range(8):
        runs = [bench.submit("die", {"how": "kill"}) for _ in range(6)]
        assert {bench.sink.wait(made.key).kind for made in runs} == {"died"}

    assert bench.run("echo", 1).ended.kind == "done"
    assert bench.executor._keeper._launcher._process is server and server.poll() is None


def test_running_out_of_memory_fails_and_the_child_lives(processes):
    ended = processes.run("out-of-memory").ended

    assert (ended.kind, ended.error["type"]) == ("failed", "MemoryError")


def test_threads_of_the_runner_are_captured(processes):
    assert processes.run("log-from-thread").messages == ["from a thread of the runner"]


def test_programs_that_a_killed_runner_has_started_die_with_it(processes, started):
    made = processes.submit("start-subprocess", {"started": started.path})
    pid = int(started.wait())

    processes.executor.abort(made.key, "enough", 0.1)

    assert processes.sink.wait(made.key).kind == "aborted"
    wait_until(lambda: not is_alive(pid))


def test_children_leave_signals_to_the_worker_and_programs_do_not(processes):
    assert processes.run("ignores-signals").ended.result == '"True"'


def test_an_alarm_left_on_does_not_ring_in_the_next_run(processes, tmp_path):
    for _ in range(2):
        assert processes.run("leave-alarm").ended.kind == "done"
    for _ in range(2):
        assert processes.run("sleep-in-c", {"seconds": 0.1}).ended.kind == "done"


def test_a_process_that_a_runner_forks_is_not_heard(processes):
    done = processes.run("fork")

    assert done.ended.result == '"runner"'
    assert done.messages == ["before", "after in runner"]
    assert [told["current"] for told in processes.sink.of(done.key, "progress")] == [1]
    assert processes.run("echo", 1).ended.kind == "done"


def test_a_signal_that_comes_late_costs_a_child_and_no_answer(make_bench):
    bench = make_bench("process", 1)
    pid = json.loads(bench.run("describe").ended.result)["pid"]

    assert bench.run("ring-late").ended.kind == "done"

    wait_until(lambda: not is_alive(pid))
    assert bench.run("echo", 1).ended.kind == "done"


def test_a_run_that_was_given_to_a_child_just_as_it_died_goes_to_another(make_bench):
    bench = make_bench("process", 1)
    for _ in range(20):
        pid = json.loads(bench.run("describe").ended.result)["pid"]
        os.kill(pid, signal.SIGKILL)

        assert bench.run("echo", 1).ended.kind == "done"


def test_children_are_replaced_after_so_many_tasks(make_bench):
    bench = make_bench("process", 1, child_max_tasks=3)

    pids = [bench.run("wait-for-file", {"end": "/"}).ended.result for _ in range(7)]

    assert [pids.index(pid) for pid in pids] == [0, 0, 0, 3, 3, 3, 6]


def test_unread_data_does_not_hold_up_the_worker(processes, started):
    """An assignment larger than the socket's buffer goes to a child that is slow to read it."""
    keys = [processes.submit("echo", "x" * 2_000_000).key for _ in range(6)]

    assert {len(processes.sink.wait(key).result) for key in keys} == {2_000_002}


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_the_main_module_of_the_worker_is_not_run_again(make_bench, start_method):
    bench = make_bench("process", 1, start_method=start_method)

    result = bench.run("main-module").ended.result

    assert '"file":null' in result and '"ran":null' in result


def test_a_plain_script_without_guard_can_run_tasks(tmp_path):
    """The worst case for multiprocessing: a script that starts children at its top level."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, sys
            assert "TASKER_MAIN_RAN" not in os.environ, "run again"
            os.environ["TASKER_MAIN_RAN"] = "1"
            import django
            django.setup()
            from django_tasker.conf import options
            from django_tasker.worker.executors import make_executor
            from tests.worker.sinks import RecordingSink, assignment

            sink = RecordingSink()
            executor = make_executor("process", 1, options(), sink)
            executor.start()
            made = assignment("echo", "from a script")
            executor.submit(made)
            print(sink.wait(made.key).result)
            executor.stop()
            """
        )
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
    }

    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == ('"from a script"\n', "")


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_children_die_with_a_worker_that_is_killed(tmp_path, start_method):
    """Even those that are in an endless loop: nothing must run on while another worker takes over."""
    code = textwrap.dedent(
        f"""
        import dataclasses, os, signal, sys, time
        import django
        django.setup()
        from django_tasker.conf import options
        from django_tasker.worker.executors import make_executor
        from tests.waiting import wait_until
        from tests.worker.sinks import RecordingSink, assignment

        sink = RecordingSink()
        executor = make_executor("process", 2, dataclasses.replace(options(), start_method={start_method!r}), sink)
        executor.start()
        executor.submit(assignment("loop-for-ever", {{"started": {str(tmp_path / "loop")!r}}}))
        executor.submit(assignment("sleep-in-c", {{"started": {str(tmp_path / "sleep")!r}, "seconds": 60}}))
        for name in ("loop", "sleep"):
            wait_until(lambda: os.path.exists(os.path.join({str(tmp_path)!r}, name)), 30)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=False)

    pids = [int((tmp_path / name).read_text()) for name in ("loop", "sleep")]
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_stop_leaves_no_process_behind(make_bench):
    bench = make_bench("process", 2)
    pids = {int(bench.run("wait-for-file", {"end": "/"}).ended.result) for _ in range(4)}

    bench.executor.stop()

    assert not any(is_alive(pid) for pid in pids)


# -- starting -------------------------------------------------------------------------------------------------------


def test_settings_without_a_module_are_refused(make_bench, monkeypatch):
    monkeypatch.setattr(settings, "_wrapped", UserSettingsHolder(global_settings))

    with pytest.raises(ConfigurationError, match="DJANGO_SETTINGS_MODULE"):
        make_bench("process")


def test_children_that_can_not_start_are_tried_again_ever_more_slowly(make_bench, monkeypatch, caplog):
    monkeypatch.setattr(keeper, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("TASKER_TEST_BREAK_CHILDREN", "1")
    bench = make_bench("process", 1)
    made = bench.submit("echo", 1)
    wait_until(lambda: bench.executor._keeper._failures >= 2)

    monkeypatch.delenv("TASKER_TEST_BREAK_CHILDREN")

    assert bench.sink.wait(made.key).kind == "done"
    assert caplog.text.count("child process could not be started") == 1
    assert "broken for the test" in caplog.text


def test_a_project_that_can_not_be_forked_gets_fresh_children(make_bench, monkeypatch, caplog):
    monkeypatch.setenv("TASKER_TEST_START_THREAD", "1")
    bench = make_bench("process", 1)

    assert bench.run("echo", 1).ended.kind == "done"
    assert "loading the project starts threads (left-over)" in caplog.text


def test_a_fork_server_that_is_killed_is_replaced(make_bench, started):
    bench = make_bench("process", 1)
    made = bench.submit("loop-for-ever", {"started": started.path})
    started.wait()

    bench.executor._keeper._launcher._process.kill()

    assert bench.sink.wait(made.key).kind == "died"
    assert bench.run("echo", 1).ended.kind == "done"


def test_open_connections_are_found():
    import socket

    before = forkserver.open_sockets()
    with socket.socket() as opened:
        assert forkserver.open_sockets() - before == {opened.fileno()}


@pytest.mark.parametrize(
    ("code", "said"),
    [(0, "exit code 0"), (-11, "signal 11 (SIGSEGV)"), (None, "it is gone"), (-99, "signal 99 (unknown)")],
)
def test_ends_are_described(code, said):
    assert describe_exit(code) == said
