"""A run's progress: checked when it enters, throttled on its way out, the last value always told."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import InvalidTask
from ..json_values import storable_text
from .ticker import progress_ticker

MIN_SECONDS = 0.1
"""Between two reports of one run."""
MAX_MESSAGE_CHARACTERS = 1_000


class ProgressReports:
    """Passes a run's progress to `deliver`, at most about ten times a second.

    Args:
        deliver: called with each value that goes out, never after `close()`. It must return at once.
        lock: held while `deliver` is called; reentrant.
    """

    __slots__ = ("_deliver", "_is_open", "_lock", "_next_at", "_pending")

    def __init__(self, deliver: Callable[[dict[str, Any]], None], lock: threading.RLock) -> None:
        self._deliver = deliver
        self._lock = lock
        self._pending: dict[str, Any] | None = None
        self._next_at = 0.0
        self._is_open = True

    def report(self, current: float, total: float | None = None, message: str | None = None) -> None:
        value = {
            "current": _number(current, "progress.current"),
            "total": None if total is None else _number(total, "progress.total"),
            "message": None if message is None else _text(message),
        }
        with self._lock:
            if time.monotonic() >= self._next_at:
                self._send(value)
            elif self._pending is None:
                self._pending = value
                progress_ticker().soon(self._tick)
            else:
                self._pending = value

    def close(self) -> None:
        """Tell what has not been told yet, and nothing after that."""
        with self._lock:
            if self._pending is not None:
                self._send(self._pending)
            self._is_open = False

    def _tick(self) -> None:
        with self._lock:
            if self._pending is None:
                return
            if time.monotonic() >= self._next_at:
                self._send(self._pending)
            else:
                progress_ticker().soon(self._tick)

    def _send(self, value: dict[str, Any]) -> None:
        self._pending = None
        self._next_at = time.monotonic() + MIN_SECONDS
        if self._is_open:
            self._deliver(value)


def _number(value: object, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTask(f"{path} must be a number, not {value!r:.200}.", path=path)
    if not math.isfinite(value) or abs(value) >= 2**63:
        raise InvalidTask(f"{path} must be a finite number below 2**63, not {value!r:.200}.", path=path)
    return int(value) if isinstance(value, int) else float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidTask(f"progress.message must be a string or None, not {value!r:.200}.", path="progress.message")
    return storable_text(value, MAX_MESSAGE_CHARACTERS)
