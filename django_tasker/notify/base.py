"""What every notifier does: who subscribed to what, and the life of the thread that hears other processes.

Vendors add how a wake-up leaves this process (`announce`) and how those of others are heard (`Hub._watch`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction

from ..conf import options
from .subscription import Subscription

LINGER_SECONDS = 2.0
"""How long a hub outlives its last subscription: most waits follow one another.

Less than the 5 seconds that PostgreSQL's DROP DATABASE waits for others, as at the end of a test run.
"""
MAX_BACKOFF_SECONDS = 5.0
FAILURES_BEFORE_WARNING = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How well wake-ups of other processes are heard at the moment."""

    kind: str  # "listen", "watch" or "poll"
    is_live: bool  # False: waits look by the clock
    subscriptions: int
    failures: int  # in a row
    error: str | None  # the last one, while it lasts


class Notifier:
    """Wake-ups of one database, in one process. Thread safe.

    Topics are plain strings: `queue` (something may be startable), `ended` (a task has, and others may be
    startable where there are conditions), `control` (a worker must look at a running
    task), `events` (Event rows were written), `task:<uuid>` (its logs, or its end). A subscription to `task:*`
    hears every topic that begins so, one to `*` hears all.
    """

    kind = "poll"

    def __init__(self, using: str) -> None:
        self.using = using
        self.is_live = False
        self._lock = threading.Lock()
        self._subscriptions: dict[str, tuple[Subscription, ...]] = {}
        self._count = 0

    @property
    def poll_interval(self) -> float:
        return options().poll_interval

    # -- for those who change rows ------------------------------------------------------------------------------

    def wake(self, topics: Iterable[str]) -> None:
        """Wake subscribers in all processes once the current transaction, if any, has committed."""
        topics = list(topics)
        self.announce(topics)

        def wake_here() -> None:
            self.wake_here(topics)

        transaction.on_commit(wake_here, using=self.using, robust=True)

    def announce(self, topics: Iterable[str], question: str = "NULL") -> Any:
        """Tell other processes, at commit, of `topics`; answer an SQL expression in the same round trip.

        The own process is woken by `wake_here`, after the commit.
        """
        if question == "NULL":
            return None
        with connections[self.using].cursor() as cursor:
            cursor.execute(f"SELECT {question}")
            return cursor.fetchone()[0]

    def is_busy(self) -> bool:
        """Is it better to `send` topics after the commit than to `announce` them in this transaction?"""
        return False

    def send(self, topics: Iterable[str]) -> None:
        """Tell other processes of `topics` soon, after the commit of what they are about."""

    def wake_here(self, topics: Iterable[str]) -> None:
        """Wake this process's subscribers, now."""
        if not self._count:
            return
        subscriptions = self._subscriptions
        woken = set(subscriptions.get("*", ()))
        for topic in topics:
            if topic == "*":
                woken.update(each for some in subscriptions.values() for each in some)
                break
            woken.update(subscriptions.get(topic, ()))
            head, colon, _ = topic.partition(":")
            if colon:
                woken.update(subscriptions.get(f"{head}:*", ()))
        for subscription in woken:
            subscription.wake()

    # -- for those who wait -------------------------------------------------------------------------------------

    def subscribe(self, *topics: str, callback: Callable[[], None] | None = None) -> Subscription:
        """Hear `topics` from now on.

        Args:
            callback: called at each wake-up from whichever thread heard it; must be quick. It is not called by
                the clock: who relies on it alone looks every poll interval by itself.
        """
        subscription = Subscription(self, topics, callback)
        with self._lock:
            # Tuples are replaced, not changed: wake_here reads them without the lock.
            table = dict(self._subscriptions)
            for topic in topics:
                table[topic] = (*table.get(topic, ()), subscription)
            self._subscriptions = table
            self._count += 1
        self._begin()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            table = dict(self._subscriptions)
            hit = False
            for topic in subscription.topics:
                left = tuple(each for each in table.get(topic, ()) if each is not subscription)
                hit = hit or len(left) < len(table.get(topic, ()))
                if left:
                    table[topic] = left
                else:
                    table.pop(topic, None)
            self._subscriptions = table
            self._count -= hit
            over = hit and not self._count
        if over:
            self._pause()

    def _begin(self) -> None:
        """Somebody subscribed."""

    def _pause(self) -> None:
        """Nobody is subscribed any more."""

    @property
    def health(self) -> Health:
        return Health(self.kind, self.is_live, self._count, 0, None)

    def close(self) -> None:
        """Stop hearing other processes; those who still wait go on by the clock."""


class Hub(Notifier):
    """A notifier with a thread that hears other processes while somebody is subscribed."""

    linger = LINGER_SECONDS

    def __init__(self, using: str) -> None:
        super().__init__(using)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._last_wanted = 0.0
        self._failures = 0
        self._error: str | None = None

    @property
    def health(self) -> Health:
        return Health(self.kind, self.is_live, self._count, self._failures, self._error)

    def _watch(self) -> None:
        """Hear other processes until `_is_over()`; call `_went_live()` when it has begun. Raises when it can't."""
        raise NotImplementedError

    def _interrupt(self) -> None:
        """Let `_watch` look at once whether anybody is subscribed."""
        raise NotImplementedError

    def _begin(self) -> None:
        with self._lock:
            self._last_wanted = time.monotonic()
            if self._thread is None and not self._stop.is_set():
                # A daemon: a thread that only listens must not keep the interpreter alive.
                name = f"django_tasker-notify-{self.using}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._watch()
            except Exception as error:
                self._went_dead(error)
                self._stop.wait(min(MAX_BACKOFF_SECONDS, 0.1 * 2 ** min(self._failures - 1, 10)))
            self.is_live = False
            with self._lock:
                if self._is_over():
                    self._thread = None
                    return

    def _pause(self) -> None:
        self._last_wanted = time.monotonic()
        self._interrupt()

    def _is_over(self) -> bool:
        return self._stop.is_set() or (not self._count and time.monotonic() > self._last_wanted + self.linger)

    def _went_live(self) -> None:
        if self._failures >= FAILURES_BEFORE_WARNING:
            logger.info("Wake-ups are heard again using=%s", self.using)
        self._failures, self._error = 0, None
        self.is_live = True
        # What happened between a subscriber's look at the rows and now was not heard.
        self.wake_here(["*"])

    def _went_dead(self, error: Exception) -> None:
        self.is_live = False
        self._failures += 1
        self._error = f"{type(error).__name__}: {error}"
        level = logging.WARNING if self._failures == FAILURES_BEFORE_WARNING else logging.DEBUG
        logger.log(level, "Wake-ups can't be heard, polling using=%s error=%s", self.using, self._error)
        self.wake_here(["*"])  # waits begun while live would sleep to their end

    def close(self) -> None:
        self._stop.set()
        self._interrupt()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)
