"""What processes and threads do alike with plain functions."""

from __future__ import annotations

import json

import pytest

from django_tasker.conf import options
from django_tasker.registry import Registry
from django_tasker.worker.executors import make_executor
from tests.runners import echo
from tests.waiting import wait_until
from tests.worker.executors.conftest import Bench
from tests.worker.sinks import RecordingSink, assignment

pytestmark = pytest.mark.sqlite_only


@pytest.fixture(params=["processes", "threads"])
def bench(request) -> Bench:
    return request.getfixturevalue(request.param)


def test_the_result_comes_back(bench):
    done = bench.run("echo", {"a": [1, "é", None, 1.5]})

    assert done.ended.kind == "done"
    assert done.ended.result == '{"a":[1,"é",null,1.5]}'
    assert done.kinds == ["started", "ended"]


def test_the_runner_is_told_its_task(bench):
    made = bench.submit("describe", {"x": 1}, priority=-2.5, attempt=3, queue="slow")
    result = json.loads(bench.sink.wait(made.key).result)

    assert result["uuid"] == str(made.uuid)
    assert {key: result[key] for key in ("operation", "queue", "data", "priority", "attempt")} == {
        "operation": "describe",
        "queue": "slow",
        "data": {"x": 1},
        "priority": -2.5,
        "attempt": 3,
    }


def test_every_logging_call_is_captured(bench):
    done = bench.run("log")

    assert [(entry.logger, entry.level, entry.message) for entry in done.entries] == [
        ("task.log", 10, "own debug"),
        ("tests.sample", 20, "other info"),
        ("tests.sample", 40, "with a traceback"),
    ]
    assert done.entries[1].extra == {"answer": 42, "thing": "<class 'object'>"}
    assert "KeyError: 'lost'" in done.entries[2].traceback
    assert done.kinds[-1] == "ended"


def test_the_level_of_the_task_counts(bench):
    assert bench.run("log", log_level=20).messages == ["other info", "with a traceback"]


def test_odd_entries_are_captured(bench):
    done = bench.run("log-odd")

    assert done.ended.kind == "done"
    assert len(done.entries) == 6
    assert done.messages[4] == "surrogate \\udcff and NUL \\x00"


def test_the_next_run_captures_its_own_entries_only(bench):
    first, second = bench.run("log"), bench.run("log")

    assert len(first.entries) == len(second.entries) == 3


def test_too_many_entries_are_counted(bench):
    done = bench.run("log-much", {"count": 500, "size": 1}, log_entries_left=100)

    assert len(done.entries) == 100
    assert done.ended.logs_dropped == 400


def test_a_hundred_megabytes_of_logs_cost_only_the_task(bench):
    done = bench.run("log-much", {"count": 1000, "size": 100_000}, log_bytes_left=1_000_000)

    assert done.ended.kind == "done"
    assert len(done.entries) + done.ended.logs_dropped == 1000
    assert sum(len(message) for message in done.messages) <= 1_000_000


def test_entries_arrive_while_the_runner_runs(bench, wait_until):
    made = bench.submit("log-and-wait")
    wait_until(lambda: bench.sink.messages(made.key) == ["waiting"])

    bench.executor.abort(made.key, "seen", 10)

    assert bench.sink.wait(made.key).kind == "aborted"
    assert bench.sink.messages(made.key) == ["waiting", "signalled: seen"]


def test_progress_is_told_to_the_last_value(bench):
    done = bench.run("progress", {"count": 500})

    told = bench.sink.of(done.key, "progress")
    assert told[-1] == {"current": 500, "total": 500, "message": "steps"}
    assert len(told) < 50


def test_progress_is_told_while_the_runner_waits(bench, wait_until):
    made = bench.submit("progress-then-wait")
    wait_until(lambda: (told := bench.sink.of(made.key, "progress")) and told[-1]["current"] == 100)

    bench.executor.abort(made.key, "seen", 10)

    assert bench.sink.wait(made.key).kind == "done"


@pytest.mark.parametrize(
    ("operation", "kind", "error"),
    [
        ("bad-progress", "failed", "django_tasker.errors.InvalidTask"),
        ("fail", "failed", "ValueError"),
        ("fail-group", "failed", "ExceptionGroup"),
        ("system-exit", "failed", "SystemExit"),
        ("unserialisable", "failed", "InvalidResult"),
        ("postpone-wrongly", "failed", "ValueError"),
        ("no-such-operation", "failed", "django_tasker.worker.run.UnknownOperation"),
        ("retry", "retry", "django_tasker.errors.Retry"),
    ],
)
def test_failures(bench, operation, kind, error):
    ended = bench.run(operation, {}).ended

    assert (ended.kind, ended.error["type"]) == (kind, error)
    assert bench.run("echo", 1).ended.kind == "done"


def test_the_traceback_begins_in_the_runner(bench):
    text = bench.run("fail", {}).ended.error["traceback"]

    assert "KeyError: 'cause'" in text and "worker/executors" not in text


def test_postpone(bench):
    ended = bench.run("postpone").ended

    assert (ended.kind, ended.delay, ended.reason) == ("postpone", 60.0, "later")


def test_a_large_result_comes_back(bench):
    assert len(bench.run("large-result", {"size": 5_000_000}).ended.result) == 5_000_002


def test_a_result_that_is_too_large_fails(bench):
    assert bench.run("large-result", {"size": 10_000_001}).ended.error["type"] == "InvalidResult"


def test_large_data_goes_to_the_runner(bench):
    assert len(bench.run("echo", "x" * 3_000_000).ended.result) == 3_000_002


def test_all_that_is_submitted_is_run(bench):
    keys = [bench.submit("echo", number).key for number in range(300)]

    assert [bench.sink.wait(key).result for key in keys] == [str(number) for number in range(300)]


def fill(bench, folder) -> list:
    """Runs in both slots, which end when the file `end` is there."""
    busy = [bench.submit("wait-for-file", {"end": str(folder / "end")}) for _ in range(2)]
    wait_until(lambda: all(bench.sink.of(run.key, "started") for run in busy))
    return busy


# -- abort ----------------------------------------------------------------------------------------------------------


def test_what_has_not_begun_is_aborted_at_once(bench, tmp_path):
    busy = fill(bench, tmp_path)
    waiting = bench.submit("echo", 1)

    bench.executor.abort(waiting.key, "not needed", 10)

    assert bench.sink.wait(waiting.key).kind == "aborted"
    assert bench.sink.wait(waiting.key).reason == "not needed"
    assert "started" not in bench.sink.kinds(waiting.key)
    (tmp_path / "end").touch()
    assert [bench.sink.wait(run.key).kind for run in busy] == ["done", "done"]


def test_what_has_not_begun_can_be_withdrawn(bench, tmp_path):
    busy = fill(bench, tmp_path)
    waiting = [bench.submit("echo", number) for number in range(5)]

    assert bench.executor.withdraw() == waiting
    assert bench.executor.withdraw() == []

    (tmp_path / "end").touch()
    assert [bench.sink.wait(run.key).kind for run in busy] == ["done", "done"]
    assert all(bench.sink.kinds(run.key) == [] for run in waiting)


def test_an_endless_loop_is_ended_and_its_neighbour_is_not(bench, started, tmp_path):
    neighbour = bench.submit("wait-for-file", {"end": str(tmp_path / "end")})
    looping = bench.submit("loop-for-ever", {"started": started.path})
    started.wait()

    bench.executor.abort(looping.key, "too long", 0.3)

    ended = bench.sink.wait(looping.key)
    assert (ended.kind, ended.reason) == ("aborted", "too long")
    assert bench.run("echo", 1).ended.kind == "done"
    (tmp_path / "end").touch()
    assert bench.sink.wait(neighbour.key).kind == "done"


def test_a_runner_that_returns_although_aborted_is_done(bench, started):
    made = bench.submit("return-although-aborted", {"started": started.path})
    started.wait()

    bench.executor.abort(made.key, "in vain", 10)

    assert bench.sink.wait(made.key).kind == "done"


def test_aborting_twice_keeps_the_first_reason_and_the_shorter_grace(bench, started):
    made = bench.submit("loop-for-ever", {"started": started.path})
    started.wait()

    bench.executor.abort(made.key, "first", 60)
    bench.executor.abort(made.key, "second", 0.1)

    assert bench.sink.wait(made.key, 10).reason == "first"


def test_aborting_the_unknown_does_nothing(bench):
    bench.executor.abort((999_999_999, 1), "who?", 0)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_stop_ends_what_runs(make_bench, kind, started):
    bench = make_bench(kind)
    looping = bench.submit("loop-for-ever", {"started": started.path})
    started.wait()
    sleeping = bench.submit("wait-for-file", {"end": "/nowhere"})
    wait_until(lambda: bench.sink.of(sleeping.key, "started"))
    waiting = bench.submit("echo")

    bench.executor.stop()
    bench.executor.stop()

    for run in (looping, sleeping):
        ended = bench.sink.wait(run.key)
        assert (ended.kind, ended.error["message"]) == ("died", "Its worker stopped.")
    assert bench.sink.kinds(waiting.key) == []
    with pytest.raises(RuntimeError):
        bench.submit("echo")


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_runners_of_a_registry_of_ones_own_are_found(kind):
    registry = Registry()
    registry.assign("log", echo)  # the project has another runner of this name
    sink = RecordingSink()
    executor = make_executor(kind, 1, options(), sink, registry)
    executor.start()
    made = assignment("log", "mine")
    try:
        executor.submit(made)

        assert sink.wait(made.key).result == '"mine"'
    finally:
        executor.stop()
