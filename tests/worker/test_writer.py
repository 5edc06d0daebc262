"""Who writes what was reported: the dispatcher itself, or a thread beside it that never gives up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import OperationalError

from django_tasker.databases import alias, database
from django_tasker.worker.held import HeldTask
from django_tasker.worker.messages import Ended
from django_tasker.worker.recorder import Report
from django_tasker.worker.writer import Writer
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class FakeRecorder:
    """Notes the thread that writes; fails as often as it is told to."""

    def __init__(self, failures: Sequence[Exception] = ()) -> None:
        self.failures = list(failures)
        self.threads: list[threading.Thread] = []

    def write(self, reports: Sequence[Report]) -> list[HeldTask]:
        self.threads.append(threading.current_thread())
        if self.failures:
            raise self.failures.pop(0)
        return []


def report(kind: str | None) -> Report:
    task: Any = None
    return Report(task, ended=Ended(1, 1, kind) if kind else None)


@pytest.fixture(params=[True, False], ids=["beside", "at once"])
def beside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(database(alias()), "writes_beside", request.param)
    return bool(request.param)


def handed_over(kinds: Sequence[str | None], recorder: FakeRecorder) -> tuple[Writer, threading.Event, list[Report]]:
    woken = threading.Event()
    writer, reports = Writer(alias(), woken.set), [report(kind) for kind in kinds]
    writer.hand_over(reports, recorder)  # type: ignore[arg-type]
    return writer, woken, reports


def test_ends_and_logs_are_written_beside_where_the_database_gains_by_it(beside: bool) -> None:
    recorder = FakeRecorder()
    writer, woken, reports = handed_over(["done", None, "done"], recorder)

    assert not beside or woken.wait(PATIENCE)
    assert writer.collect() == (reports, [])
    assert writer.collect() is None and not writer.batch
    assert (recorder.threads != [threading.current_thread()]) is beside
    writer.close()


@pytest.mark.parametrize("kind", ["failed", "retry", "postpone", "died", "aborted"])
def test_what_may_lead_back_to_new_is_written_by_the_dispatcher(beside: bool, kind: str) -> None:
    recorder = FakeRecorder()
    writer, _, reports = handed_over(["done", kind], recorder)

    assert writer.collect() == (reports, [])
    assert recorder.threads == [threading.current_thread()]


def test_a_database_that_fails_gets_the_same_batch_again(beside: bool) -> None:
    recorder = FakeRecorder([OperationalError("away"), OperationalError("still away")])
    writer, woken, reports = handed_over(["done"], recorder)

    if beside:
        assert writer.collect() is None and list(writer.batch) == reports
        assert woken.wait(PATIENCE)
    else:
        for _ in range(2):
            with pytest.raises(OperationalError):
                writer.collect()
            assert list(writer.batch) == reports
    assert writer.collect() == (reports, [])
    assert len(recorder.threads) == 3
    writer.close()


def test_a_mistake_in_the_thread_reaches_the_dispatcher(beside: bool) -> None:
    writer, woken, _ = handed_over(["done"], FakeRecorder([ValueError("ours")]))

    assert not beside or woken.wait(PATIENCE)
    with pytest.raises(ValueError, match="ours"):
        writer.collect()
    writer.close()


def test_it_can_be_closed_while_the_database_is_away(beside: bool) -> None:
    recorder = FakeRecorder([OperationalError("away")] * 1000)
    writer, _, reports = handed_over(["done"], recorder)
    assert not beside or wait_until(lambda: len(recorder.threads) > 1)

    writer.close()

    assert list(writer.batch) == reports
    assert beside is any(thread.name == "django_tasker-writer" for thread in recorder.threads)
