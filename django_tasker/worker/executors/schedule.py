"""Calls functions at given times, in one thread: how executors come back to a run that does not end."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Schedule:
    """A few calls in the future. Its thread starts with the first and ends with `stop()`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call()` in `seconds`, in the schedule's thread. What it raises is logged."""
        with self._condition:
            if self._is_stopped:
                return
            heapq.heappush(self._calls, (time.monotonic() + seconds, next(self._numbers), call))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._condition.notify()

    def stop(self) -> None:
        """Forget all calls and end the thread."""
        with self._condition:
            self._is_stopped = True
            self._calls.clear()
            self._condition.notify()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:
                logger.exception("scheduled call raised call=%r", call)

    def _next(self) -> Callable[[], None] | None:
        with self._condition:
            while not self._is_stopped:
                now = time.monotonic()
                if self._calls and self._calls[0][0] <= now:
                    return heapq.heappop(self._calls)[2]
                self._condition.wait(self._calls[0][0] - now if self._calls else None)
        return None
