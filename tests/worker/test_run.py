"""What becomes of what a runner returns or raises: the same for every executor."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from django_tasker.conf import options
from django_tasker.errors import InvalidTask, Postpone, Retry, RunAborted
from django_tasker.registry import Registry, reference_to
from django_tasker.worker.messages import Entry
from django_tasker.worker.run import Run, UnknownOperation, resolve

from ..runners import noop
from .sinks import RecordingSink, assignment

pytestmark = pytest.mark.sqlite_only


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def run(sink) -> Run:
    return Run(assignment("op"), sink)


def test_a_result_is_stored_as_json(run):
    ended = run.returned({"pages": 310}, options())

    assert (ended.kind, ended.result) == ("done", '{"pages":310}')
    assert (ended.id, ended.attempt) == run.key and ended.ended


def test_no_result_is_none(run):
    assert run.returned(None, options()).result is None


@pytest.mark.parametrize(
    ("result", "place"),
    [
        ({"items": [1, 2, 3, object()]}, "result.items[3]"),
        (float("inf"), "result is inf"),
        ({"a": {1: 2}}, "result.a has the key 1"),
        ("\0", "result contains a NUL"),
    ],
)
def test_a_result_that_is_no_json_fails_and_names_the_place(run, result, place):
    ended = run.returned(result, options())

    assert ended.kind == "failed"
    assert ended.error["type"] == "InvalidResult"
    assert place in ended.error["message"]


def test_a_result_that_is_too_large_fails(run, settings):
    settings.TASKER = {"MAX_RESULT_BYTES": 100}

    ended = run.returned("x" * 200, options())

    assert ended.kind == "failed" and "202 bytes" in ended.error["message"]


def test_a_circular_result_fails(run):
    circular: list = []
    circular.append(circular)

    assert "nested too many levels" in run.returned(circular, options()).error["message"]


def test_retry_carries_delay_and_reason(run):
    ended = run.raised(Retry("busy", delay=timedelta(seconds=2)))

    assert (ended.kind, ended.delay, ended.reason) == ("retry", 2.0, "busy")
    assert ended.error["message"] == "busy"


def test_postpone_carries_until(run):
    until = datetime(2030, 1, 1, tzinfo=UTC)

    ended = run.raised(Postpone(until=until))

    assert (ended.kind, ended.until, ended.delay) == ("postpone", until.timestamp(), None)


@pytest.mark.parametrize(
    "asked",
    [
        Retry(delay=-1),
        Retry(delay=float("nan")),
        Retry(delay="1"),
        Postpone(until=datetime(2030, 1, 1)),
        Postpone(until=1),
    ],
)
def test_a_wrong_retry_or_postpone_fails(run, asked):
    ended = run.raised(asked)

    assert ended.kind == "failed"
    assert ended.error["type"] == "ValueError" and "must be" in ended.error["message"]


@pytest.mark.parametrize(
    "error",
    [RunAborted(), asyncio.CancelledError(), BaseExceptionGroup("both", [RunAborted(), asyncio.CancelledError()])],
)
def test_giving_way_to_the_signal_is_aborted(run, error):
    run.controller.abort("enough")

    ended = run.raised(error)

    assert (ended.kind, ended.reason) == ("aborted", "enough")


@pytest.mark.parametrize("error", [RunAborted(), asyncio.CancelledError()])
def test_giving_way_without_a_signal_is_a_failure(run, error):
    assert run.raised(error).kind == "failed"


def test_an_error_after_the_signal_is_a_failure(run):
    run.controller.abort("enough")

    assert run.raised(ValueError("in cleaning up")).kind == "failed"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError(), ValueError("x")])
def test_whatever_else_is_raised_fails(run, error):
    ended = run.raised(error)

    assert ended.kind == "failed"
    assert ended.error["type"] == type(error).__name__


def test_the_first_end_counts(run, sink):
    assert run.finish(run.died("given up"))
    assert not run.finish(run.returned(1, options()))

    assert sink.wait(run.key).kind == "died"


def test_nothing_is_reported_after_the_end(run, sink):
    run.finish(run.returned(None, options()))

    run.task.progress(1)
    run.capture.add(logging.makeLogRecord({"msg": "late"}))

    assert sink.kinds(run.key) == ["ended"]


def test_a_dropped_entry_is_told_at_the_end(sink):
    run = Run(assignment("op", log_entries_left=1), sink)
    for number in range(3):
        run.capture.add(logging.makeLogRecord({"msg": str(number)}))

    run.finish(run.returned(None, options()))

    assert [type(entry) for entry in sink.entries(run.key)] == [Entry]
    assert sink.wait(run.key).logs_dropped == 2


# -- progress -------------------------------------------------------------------------------------------------------


def test_progress_is_throttled_and_ends_with_the_last_value(run, sink):
    for number in range(1000):
        run.task.progress(number, 1000, "steps")
    run.finish(run.returned(None, options()))

    told = sink.of(run.key, "progress")
    assert told[0] == {"current": 0, "total": 1000, "message": "steps"}
    assert told[-1]["current"] == 999
    assert len(told) < 10


def test_the_last_progress_is_told_while_the_run_goes_on(run, sink, wait_until):
    for number in range(100):
        run.task.progress(number)

    wait_until(lambda: sink.of(run.key, "progress")[-1]["current"] == 99)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ((float("nan"),), "progress.current"),
        (("1",), "progress.current"),
        ((True,), "progress.current"),
        ((2**70,), "progress.current"),
        ((1, float("inf")), "progress.total"),
        ((1, 2, 3), "progress.message"),
    ],
)
def test_progress_that_is_none_is_refused(run, arguments, path):
    with pytest.raises(InvalidTask) as caught:
        run.task.progress(*arguments)

    assert caught.value.path == path


def test_a_message_of_progress_is_made_storable(run, sink):
    run.task.progress(1, message="\0" + "x" * 2000)

    assert sink.of(run.key, "progress")[0]["message"].startswith("\\x00xxx")
    assert len(sink.of(run.key, "progress")[0]["message"]) < 1100


def test_threads_may_report_at_once(run, sink):
    threads = [threading.Thread(target=lambda: [run.task.progress(number) for number in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish(run.returned(None, options()))

    assert sink.of(run.key, "progress")[-1]["current"] == 199


# -- finding the runner ---------------------------------------------------------------------------------------------


def test_an_unknown_operation_says_what_to_do():
    with pytest.raises(UnknownOperation, match=r"'nothing' here\. Assign it in the `runners` module"):
        resolve("nothing")


def test_a_runner_is_found_by_reference():
    assert resolve("nothing", reference="tests.runners:noop").__name__ == "noop"


def test_the_reference_says_which_of_two_is_meant():
    """A tasker of one's own may call another runner by a name that the project's tasker uses."""
    registry = Registry()
    registry.assign("op", noop)

    assert resolve("op", registry, reference="tests.runners:echo").__name__ == "echo"
    assert resolve("op", registry).__name__ == "noop"


@pytest.mark.parametrize("reference", ["tests.runners:nothing", "no.module:f", "junk", ":x"])
def test_a_wrong_reference_finds_nothing(reference):
    with pytest.raises(UnknownOperation):
        resolve("nothing", reference=reference)


def test_runners_without_an_importable_name_have_no_reference():
    assert reference_to(noop) == "tests.runners:noop"
    assert reference_to(lambda task: None) is None
    assert reference_to(functools.partial(noop)) is None
