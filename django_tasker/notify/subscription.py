"""Waiting for wake-ups, in a thread or in an event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Notifier

FIRST_PACE = 0.05
"""Seconds between two looks when no wake-up can be heard; grows while nothing is found."""
PACE_GROWTH = 1.5

logger = logging.getLogger(__name__)


class Subscription:
    """Hears the wake-ups of some topics; made by `Notifier.subscribe`, closed by its owner.

    Wait, then look at the rows; before the first wait, look as well. A wake-up that comes in between is kept.
    While the notifier can't hear other processes (MySQL, a lost connection) a wait returns True by the clock, at
    first every 50 ms, then more seldom; `found()` says that looking was worth it. One waiter at a time.
    """

    def __init__(self, notifier: Notifier, topics: tuple[str, ...], callback: Callable[[], None] | None) -> None:
        self.topics = topics
        self._notifier = notifier
        self._callback = callback
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._sleeper: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._pace = FIRST_PACE

    def wait(self, timeout: float) -> bool:
        """Sleep until a wake-up, an interrupt or `timeout` seconds; is there a reason to look?"""
        limit, by_clock = self._limit(timeout)
        woken = self._event.wait(limit)
        self._event.clear()
        return woken or by_clock

    async def await_(self, timeout: float) -> bool:
        """The same in a coroutine; occupies no thread."""
        limit, by_clock = self._limit(timeout)
        deadline = time.monotonic() + limit
        loop = asyncio.get_running_loop()
        with self._lock:
            sleeper: asyncio.Future[None] | None = None if self._event.is_set() else loop.create_future()
            self._sleeper = None if sleeper is None else (loop, sleeper)
        if sleeper is not None:
            try:
                await asyncio.wait((sleeper,), timeout=max(0.0, deadline - time.monotonic()))
            finally:
                self._sleeper = None
        woken = self._event.is_set()
        self._event.clear()
        return woken or by_clock

    def _limit(self, timeout: float) -> tuple[float, bool]:
        """How long to sleep, and whether it is then time to look all the same."""
        timeout = max(0.0, timeout)
        if self._notifier.is_live or timeout <= self._pace:
            return timeout, False
        limit = self._pace
        self._pace = min(self._pace * PACE_GROWTH, self._notifier.poll_interval)
        return limit, True

    def found(self) -> None:
        """Tell that the last look found something new, so that more is likely soon."""
        self._pace = FIRST_PACE

    def interrupt(self) -> None:
        """End the present wait, or the next one, at once. From any thread; never blocks."""
        with self._lock:
            self._event.set()
            sleeper = self._sleeper
        if sleeper is not None:
            loop, future = sleeper
            try:
                loop.call_soon_threadsafe(_finish, future)
            except RuntimeError:  # the loop was closed: nobody waits any more
                pass

    def wake(self) -> None:
        """The notifier heard one of the topics."""
        self._pace = FIRST_PACE
        self.interrupt()
        if self._callback is not None:
            try:
                self._callback()
            except Exception:
                logger.exception("A callback for wake-ups failed topics=%s", self.topics)

    def close(self) -> None:
        """Hear nothing any more; ends a wait that is under way. Safe to call twice."""
        self._notifier.unsubscribe(self)
        self.interrupt()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
