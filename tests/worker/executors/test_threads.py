"""Runners in threads that do not want to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_tasker.errors import RunAborted
from django_tasker.testing import assigned_runner
from django_tasker.worker.executors.interrupt import clear_raised, raise_run_aborted
from tests.runners import touch

pytestmark = pytest.mark.sqlite_only


def test_threads_are_started_as_they_are_needed(make_bench):
    bench = make_bench("thread", 50)

    names = {bench.run("describe").ended.result is not None for _ in range(3)}

    assert names == {True}
    assert len(bench.executor._threads) <= 3


def test_an_exception_is_raised_again_in_a_runner_that_swallows_it(threads, started):
    made = threads.submit("loop-and-swallow", {"started": started.path, "times": 2})
    started.wait()

    threads.executor.abort(made.key, "enough", 60)

    assert threads.sink.wait(made.key).kind == "done"  # it returned in the end


@pytest.fixture
def release() -> Iterator[Callable[[], Any]]:
    """Lets the operation "stuck" go on, which waits in C: nothing can be raised in it there."""
    is_released = threading.Lock()
    is_released.acquire()

    def stuck(task):
        touch(task)
        is_released.acquire()

    with assigned_runner("stuck", stuck, executor="thread"):
        yield is_released.release


def test_a_thread_stuck_in_c_is_abandoned_and_its_slot_used(make_bench, started, release):
    bench = make_bench("thread", 1)
    made = bench.submit("stuck", {"started": started.path})
    started.wait()

    bench.executor.abort(made.key, "too long", 0.2)

    ended = bench.sink.wait(made.key)
    assert (ended.kind, ended.reason, ended.error["type"]) == ("died", "too long", "Stuck")
    assert bench.run("echo", 1).ended.kind == "done"
    release()


def test_an_abandoned_thread_ends_without_a_word(make_bench, started, release, wait_until):
    bench = make_bench("thread", 1)
    made = bench.submit("stuck", {"started": started.path})
    started.wait()
    (thread,) = bench.executor._threads

    bench.executor.abort(made.key, "too long", 0.05)
    bench.sink.wait(made.key)
    release()

    wait_until(lambda: not thread.is_alive())
    assert bench.sink.kinds(made.key) == ["started", "ended"]


def test_without_grace_a_runner_still_ends_by_what_is_raised_in_it(threads, started):
    made = threads.submit("loop-for-ever", {"started": started.path})
    started.wait()

    threads.executor.abort(made.key, "at once", 0)

    assert threads.sink.wait(made.key).kind == "aborted"


def test_many_aborts_never_hit_the_next_run(make_bench):
    """Aborts race with runs that end by themselves: the thread has moved on, and must not be hit."""
    bench = make_bench("thread", 2)
    runs = []
    for number in range(300):
        runs.append(bench.submit("echo", number))
        bench.executor.abort(runs[-1].key, "race", 0)
        runs.append(bench.submit("echo", number))

    for aborted, untouched in zip(runs[::2], runs[1::2], strict=True):
        assert bench.sink.wait(aborted.key).kind in ("aborted", "done", "died")
        assert bench.sink.wait(untouched.key).kind == "done"


def test_an_exception_that_is_pending_can_be_taken_back():
    ident = threading.get_ident()

    with pytest.raises(RunAborted):
        raise_run_aborted(ident)
        while True:
            pass

    clear_raised(ident)
