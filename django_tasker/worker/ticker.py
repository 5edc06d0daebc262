"""One thread that calls what was asked for a little later: how batches and throttled reports get out in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

Call = Callable[[], None]


class Ticker:
    """Calls everything asked for by `soon`, each once, `seconds` later at most. Its thread starts with the first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: dict[Call, None] = {}
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def soon(self, call: Call) -> None:
        """Call `call()` within `seconds`, in the ticker's thread; asking twice before that is asking once."""
        self._calls[call] = None
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tasker-ticker", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(self._seconds)
            self._wake.clear()  # before taking: what is asked for from here on wakes us again
            while self._calls:
                call, _ = self._calls.popitem()
                try:
                    call()
                except Exception:
                    logger.exception("late call raised call=%r", call)


_progress: Ticker | None = None


def progress_ticker() -> Ticker:
    """The one that all runs of this process share for their throttled progress."""
    global _progress
    if _progress is None:
        _progress = Ticker(0.05)
    return _progress
