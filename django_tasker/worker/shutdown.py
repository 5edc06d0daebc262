"""SIGTERM and SIGINT to a worker's stop: the first begins it, the second skips the wait."""

from __future__ import annotations

import itertools
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
        then: called at the first signal as well, in the handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    count = itertools.count()  # next() of it can't be interrupted: a signal may come within the handler of another

    def stop(*_: Any) -> None:
        is_first = next(count) == 0
        worker.request_stop(None if is_first else 0)
        if is_first:
            then()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
