"""Signals may come at any moment, in the midst of another's handler too."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from types import FrameType

import pytest

from django_tasker.worker.bell import Bell
from django_tasker.worker.settings import WorkerSettings
from django_tasker.worker.shutdown import stop_on_signals
from django_tasker.worker.worker import TaskWorker
from tests.waiting import PATIENCE

pytestmark = pytest.mark.sqlite_only


class FakeWorker:
    """Notes how it is asked to stop; a second signal comes while it is asked for the first time."""

    def __init__(self) -> None:
        self.asked: list[float | None] = []

    def request_stop(self, grace: float | None = None) -> None:
        if not self.asked:
            self.asked.append(grace)
            signal.raise_signal(signal.SIGTERM)
        else:
            self.asked.append(grace)


def test_second_signal_within_the_handler_of_the_first_skips_the_wait() -> None:
    worker, others = FakeWorker(), []

    with stop_on_signals(worker, then=lambda: others.append("then")):  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGTERM)

    assert worker.asked == [None, 0]
    assert others == ["then"]


@pytest.mark.django_db(transaction=True)
def test_signal_while_the_worker_starts_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_tasker.worker.worker.autodiscover", lambda: signal.raise_signal(signal.SIGTERM))
    worker = TaskWorker(WorkerSettings(concurrency=1))

    with stop_on_signals(worker):
        worker.start()
        has_stopped = worker.wait(PATIENCE)
        worker.stop(0)

    assert has_stopped


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with stop_on_signals(FakeWorker()):  # type: ignore[arg-type]
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_bell_is_kept_until_it_is_heard() -> None:
    bell = Bell()
    assert not bell.wait(0)

    bell.ring()
    bell.ring()

    assert bell.wait(0)
    assert not bell.wait(0)
    bell.ring()
    bell.clear()
    assert not bell.wait(0)


def test_bell_wakes_another_thread() -> None:
    bell, heard = Bell(), []
    sleeper = threading.Thread(target=lambda: heard.append(bell.wait(PATIENCE)))
    sleeper.start()

    bell.ring()

    sleeper.join(PATIENCE)
    assert heard == [True]


def test_bell_can_be_rung_by_a_handler_at_every_step_of_being_rung() -> None:
    """An Event would lock itself up: the handler waits for a lock that the interrupted code holds."""
    bell, strokes = Bell(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: strokes.append(bell.ring()))
    step = 0
    try:
        while ring_with_interrupt_at(step, bell):
            step += 1
            assert bell.wait(0) and len(strokes) == step
            bell.clear()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert step >= 2


def ring_with_interrupt_at(step: int, bell: Bell) -> bool:
    """Ring, with a SIGUSR1 before the line of that number; False if it has fewer lines."""
    lines = itertools.count()

    def trace(frame: FrameType, event: str, argument: object) -> object:
        if event == "line" and next(lines) == step:
            signal.raise_signal(signal.SIGUSR1)
        return trace

    tracer = sys.gettrace()
    sys.settrace(trace)
    try:
        bell.ring()
    finally:
        sys.settrace(tracer)
    return next(lines) > step
