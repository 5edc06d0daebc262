"""Runners in an event loop, those that block it among them."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.sqlite_only


def test_the_result_and_the_entries_come_back(coroutines):
    done = coroutines.run("async-echo", {"x": 1})

    assert done.ended.result == '{"x":1}'
    assert done.messages == ["echo {'x': 1}"]
    assert done.kinds == ["started", "log", "ended"]


def test_neighbours_capture_their_own_entries(make_bench):
    bench = make_bench("coroutine", 50)
    keys = [bench.submit("async-echo", number).key for number in range(200)]

    for number, key in enumerate(keys):
        bench.sink.wait(key)
        assert bench.sink.messages(key) == [f"echo {number}"]


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("async-fail", "ValueError"),
        ("async-system-exit", "SystemExit"),
        ("async-cancel-itself", "asyncio.exceptions.CancelledError"),
        ("echo", "TypeError"),  # a plain function
        ("no-such-operation", "django_tasker.worker.run.UnknownOperation"),
    ],
)
def test_failures(coroutines, operation, error):
    ended = coroutines.run(operation).ended

    assert (ended.kind, ended.error["type"]) == ("failed", error)
    assert coroutines.run("async-echo", 1).ended.kind == "done"


def test_no_more_run_than_there_are_slots(coroutines, tmp_path, wait_until):
    end = str(tmp_path / "end")
    runs = [coroutines.submit("async-wait-for-file", {"end": end}) for _ in range(5)]
    wait_until(lambda: sum(bool(coroutines.sink.of(run.key, "started")) for run in runs) == 2)

    assert coroutines.executor.withdraw() == runs[2:]

    (tmp_path / "end").touch()
    assert [coroutines.sink.wait(run.key).kind for run in runs[:2]] == ["done", "done"]


def test_an_abort_cancels(coroutines, wait_until):
    made = coroutines.submit("async-wait")
    wait_until(lambda: coroutines.sink.messages(made.key) == ["waiting"])

    coroutines.executor.abort(made.key, "enough", 10)

    ended = coroutines.sink.wait(made.key)
    assert (ended.kind, ended.reason) == ("aborted", "enough")


def test_without_grace_a_coroutine_still_ends_by_being_cancelled(coroutines, wait_until):
    made = coroutines.submit("async-wait")
    wait_until(lambda: coroutines.sink.messages(made.key))

    coroutines.executor.abort(made.key, "at once", 0)

    assert coroutines.sink.wait(made.key).kind == "aborted"


def test_what_has_not_taken_its_first_step_is_aborted(make_bench):
    bench = make_bench("coroutine", 500)
    runs = [bench.submit("async-wait") for _ in range(200)]
    for run in runs:
        bench.executor.abort(run.key, "at once", 10)

    assert {bench.sink.wait(run.key).kind for run in runs} == {"aborted"}


def test_a_coroutine_that_returns_although_cancelled_is_done(coroutines, started):
    made = coroutines.submit("async-wait-for-signal", {"started": started.path})
    started.wait()

    coroutines.executor.abort(made.key, "in vain", 10)

    assert coroutines.sink.wait(made.key).kind == "done"


def test_a_coroutine_that_swallows_is_cancelled_again(coroutines, started):
    made = coroutines.submit("async-swallow", {"started": started.path, "times": 2})
    started.wait()

    coroutines.executor.abort(made.key, "enough", 60)

    assert coroutines.sink.wait(made.key).kind == "done"


def test_a_coroutine_that_never_gives_in_is_abandoned(make_bench, started):
    bench = make_bench("coroutine", 1)
    made = bench.submit("async-swallow", {"started": started.path, "times": 1000})
    started.wait()

    bench.executor.abort(made.key, "enough", 0.3)

    ended = bench.sink.wait(made.key)
    assert (ended.kind, ended.reason, ended.error["type"]) == ("died", "enough", "Stuck")
    assert bench.run("async-echo", 1).ended.kind == "done"


@pytest.mark.parametrize("operation", ["async-block", "async-block-in-group"])
def test_a_coroutine_that_blocks_the_loop_is_interrupted_and_its_neighbour_is_not(
    coroutines, started, tmp_path, operation, wait_until
):
    neighbour = coroutines.submit("async-wait-for-file", {"end": str(tmp_path / "end")})
    wait_until(lambda: coroutines.sink.of(neighbour.key, "started"))
    blocking = coroutines.submit(operation, {"started": started.path})
    started.wait()

    coroutines.executor.abort(blocking.key, "blocks", 5)

    ended = coroutines.sink.wait(blocking.key, 4)
    assert (ended.kind, ended.reason) == ("aborted", "blocks")
    (tmp_path / "end").touch()
    assert coroutines.sink.wait(neighbour.key).result == '"survived"'


def test_a_loop_blocked_in_c_is_replaced_and_its_neighbours_go_on_later(make_bench, started, tmp_path, wait_until):
    bench = make_bench("coroutine", 3)
    neighbour = bench.submit("async-wait-for-file", {"end": str(tmp_path / "end")})
    wait_until(lambda: bench.sink.of(neighbour.key, "started"))
    blocking = bench.submit("async-block-in-c", {"started": started.path, "seconds": 2})
    started.wait()
    before = bench.executor._current

    bench.executor.abort(blocking.key, "blocks", 0.3)

    assert bench.sink.wait(blocking.key).kind == "died"
    assert bench.run("async-echo", 1).ended.kind == "done"
    assert not bench.sink.of(neighbour.key, "ended")
    (tmp_path / "end").touch()
    assert bench.sink.wait(neighbour.key).result == '"survived"'
    wait_until(lambda: before.loop.is_closed())


def test_who_waits_for_a_blocked_loop_is_aborted_and_the_blocker_is_not(make_bench, started, wait_until):
    bench = make_bench("coroutine", 3)
    waiting = bench.submit("async-wait")
    wait_until(lambda: bench.sink.messages(waiting.key))
    blocking = bench.submit("async-block-in-c", {"started": started.path, "seconds": 1})
    started.wait()

    bench.executor.abort(waiting.key, "enough", 0.3)

    assert bench.sink.wait(waiting.key).kind == "aborted"
    assert not bench.sink.of(blocking.key, "ended")
    assert bench.sink.wait(blocking.key).kind == "done"


def test_stop_ends_what_runs(make_bench, started):
    bench = make_bench("coroutine", 2)
    sleeping = bench.submit("async-wait")
    blocking = bench.submit("async-block", {"started": started.path})
    started.wait()

    bench.executor.stop()
    bench.executor.stop()

    assert {bench.sink.wait(run.key).kind for run in (sleeping, blocking)} == {"died"}
    with pytest.raises(RuntimeError):
        bench.submit("async-echo")
