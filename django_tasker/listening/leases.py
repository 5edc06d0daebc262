"""Listener rows: this process's word that somebody listens to a pattern of events, renewed while it is so."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from datetime import datetime, timedelta

from django.db import DatabaseError, connections

from ..databases import database
from ..models import Listener

LEASE_SECONDS = 60.0
"""How long a process that died without a word is still written for."""

logger = logging.getLogger(__name__)


class Leases:
    """The Listener rows of one process and database, one for each distinct pattern. Thread safe."""

    lease = LEASE_SECONDS

    def __init__(self, using: str) -> None:
        self.using = using
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._rows: dict[str, int] = {}
        self._abandoned: deque[str] = deque()
        self._keeper: threading.Thread | None = None
        self._stop = threading.Event()

    def take(self, pattern: str) -> None:
        """Listen to `pattern`: in force on return, or when the caller's transaction has committed."""
        with self._lock:
            if not self._counts[pattern]:
                self._rows[pattern] = self._insert(pattern)
            self._counts[pattern] += 1
            if self._keeper is None:
                name = f"django_tasker-leases-{self.using}"
                self._keeper = threading.Thread(target=self._keep, name=name, daemon=True)
                self._keeper.start()

    def give_back(self, pattern: str) -> None:
        """End what one `take` began. An outage of the database delays it to the end of the lease."""
        with self._lock:
            pk = self._drop(pattern)
        if pk is not None:
            try:
                Listener.objects.using(self.using).filter(pk=pk)._raw_delete(self.using)
            except DatabaseError as error:
                logger.debug("A listener's row stays until its lease is over id=%s error=%s", pk, error)
        if not self._counts:
            self._stop.set()

    def abandon(self, pattern: str) -> None:
        """The same for a listener that is garbage: from any thread, without locks and without the database."""
        self._abandoned.append(pattern)

    def _drop(self, pattern: str) -> int | None:
        """Count one down; the row that nobody needs any more."""
        self._counts[pattern] -= 1
        if self._counts[pattern] > 0:
            return None
        del self._counts[pattern]
        return self._rows.pop(pattern, None)

    def _insert(self, pattern: str) -> int:
        return int(Listener.objects.using(self.using).create(pattern=pattern, expires_at=self._expiry()).pk)

    def _expiry(self) -> datetime:
        return database(self.using).now(connections[self.using]) + timedelta(seconds=self.lease)

    def _keep(self) -> None:
        """Renew until no lease is left."""
        while True:
            self._stop.wait(self.lease / 3)
            try:
                while self._abandoned:
                    self.give_back(self._abandoned.popleft())
                self._renew()
            except Exception as error:
                logger.warning("Listeners could not be renewed using=%s error=%s", self.using, error)
            finally:
                connections[self.using].close()
            with self._lock:
                self._stop.clear()
                if not self._counts:
                    self._keeper = None
                    return

    def _renew(self) -> None:
        with self._lock:
            rows = dict(self._rows)
        for pattern, pk in rows.items():
            if Listener.objects.using(self.using).filter(pk=pk).update(expires_at=self._expiry()):
                continue
            with self._lock:  # its lease was over, or its transaction has not committed
                if self._rows.get(pattern) == pk:
                    self._rows[pattern] = self._insert(pattern)


_leases: dict[str, Leases] = {}
_guard = threading.Lock()


def leases(using: str) -> Leases:
    """This process's leases in a database."""
    with _guard:
        return _leases.setdefault(using, Leases(using))


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    _leases.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
