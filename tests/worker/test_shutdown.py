"""Signals may come at any moment, in the midst of another's handler too."""

from __future__ import annotations

import signal
import threading

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
        self.asked.append(grace)
        if len(self.asked) == 1:
            signal.raise_signal(signal.SIGTERM)


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


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_bell_can_be_rung_by_a_handler_while_it_is_rung() -> None:
    """An Event would lock itself up: the handler waits for a lock that the interrupted code holds."""
    bell, strokes = Bell(), []
    before = signal.signal(signal.SIGVTALRM, lambda *_: strokes.append(bell.ring()))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.001)
    try:
        while len(strokes) < 100:
            bell.ring()
            bell.clear()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
