"""SIGTERM and SIGINT to a worker's stop: the first begins it, the second skips the wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .worker import TaskWorker

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(
    worker: TaskWorker, *, then: Callable[[], object] = lambda: None, numbers: Sequence[signal.Signals] = SIGNALS
) -> Iterator[None]:
    """Within the block, signals stop the worker; the handlers there were are put back after it.

    Does nothing outside the main thread, where Python can't set handlers.

    Args:
        then: called at each signal as well, in the handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = 0

    def stop(*_: Any) -> None:
        nonlocal asked
        asked += 1
        worker.request_stop(None if asked == 1 else 0)
        then()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
