"""Sends wake-ups after the commit, many at a time, for a process that has very many of them.

PostgreSQL lets only one transaction that notifies commit at a time, so a busy process would keep all others, and
itself, from committing together. Its wake-ups are sent by a thread on a connection that does not wait for the disk.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

BUSY_PER_SECOND = 20
"""Transactions that notify by themselves; with more in a second, they leave it to the sender."""
REST_SECONDS = 0.002
"""Between two notifications of a sender, to gather what comes meanwhile."""
LINGER_SECONDS = 2.0
BROKEN_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Sender:
    """Gathers topics and sends them. Thread safe; its thread lives while there is something to do."""

    def __init__(self, name: str, work: Callable[[Callable[[], list[str] | None]], None]) -> None:
        """
        Args:
            work: opens a connection and notifies of each list that the given function returns, until it is None.
        """
        self._name = name
        self._pid = os.getpid()
        self._work = work
        self._changed = threading.Condition()
        self._pending: dict[str, None] = {}
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._broken_until = 0.0
        self._recent: deque[float] = deque(maxlen=BUSY_PER_SECOND)

    @property
    def is_broken(self) -> bool:
        """Did sending fail just now?"""
        return self._is_closed or time.monotonic() < self._broken_until

    def is_needed(self) -> bool:
        """Count a transaction that wants to notify; should it leave that to the sender?"""
        now = time.monotonic()
        recent = self._recent
        is_busy = len(recent) == BUSY_PER_SECOND and recent[0] > now - 1.0
        recent.append(now)
        return is_busy and now > self._broken_until and not self._is_closed

    def send(self, topics: Iterable[str]) -> None:
        """Send soon; returns at once."""
        with self._changed:
            self._pending.update(dict.fromkeys(topics))
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._work(self._next)
        except Exception as error:
            self._broken_until = time.monotonic() + BROKEN_SECONDS
            logger.debug("Wake-ups can't be sent aside, transactions send them again error=%s", error)
        with self._changed:
            self._thread = None
            self._changed.notify_all()
            is_left = bool(self._pending) and time.monotonic() > self._broken_until
        atexit.unregister(self.close)
        if is_left:  # came while we were leaving
            self.send([])

    def _next(self) -> list[str] | None:
        time.sleep(REST_SECONDS)
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._is_closed, LINGER_SECONDS)
            topics, self._pending = list(self._pending), {}
            return topics or None

    def close(self) -> None:
        """Send what is left; wait for it a moment."""
        if os.getpid() != self._pid:
            return  # a forked child has no such thread, and perhaps a lock that nobody will release
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._thread is None, 2.0)
