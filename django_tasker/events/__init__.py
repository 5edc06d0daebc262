"""Tells what happened, after the commit: Django signals in this process, Event rows and wake-ups for the others.

`emit` is called by whoever changed rows, inside the transaction that changed them: rolled back, nothing is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..models import Task, Worker
from ..notify import notifier
from ..signals import SIGNALS
from . import rows
from .rows import pruning

KEEP_UNHEARD = 100
"""Emits of one transaction that are kept though nobody is connected: `once("task.<uuid>.added", …)` may still come."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event: its name, like `task.done`, its task, and its other arguments by name, in their order."""

    name: str
    uuid: UUID | None
    args: dict[str, Any]


Happenings = Sequence[Happening] | Callable[[], Iterable[Happening]]


def emit(
    happenings: Happenings, *, topics: Iterable[str] = (), using: str, names: Sequence[str] = tuple(SIGNALS)
) -> None:
    """Tell what happened once the current transaction, if any, has committed.

    Listeners in other processes hear what is emitted in transactions (or outside of one) begun after they
    registered. Costs one short query a transaction when nobody listens, on PostgreSQL with the wake-up in it.

    Args:
        happenings: in order; a function is only called when somebody listens.
        topics: whom to wake in every process; see `notify.Notifier`.
        names: those that a function may make: it is not called for the sake of receivers of others.
    """
    connection = connections[using]
    telling: _Telling | None = getattr(connection, "_django_tasker_telling", None)
    if telling is not None and telling.is_open(connection):
        telling.add(happenings, topics, names)
        return
    telling = _Telling(using)
    telling.add(happenings, topics, names)
    telling.place = len(connection.run_on_commit)
    telling.savepoints = list(connection.savepoint_ids)
    transaction.on_commit(telling, using=using, robust=True)
    if connection.in_atomic_block:
        connection._django_tasker_telling = telling  # type: ignore[attr-defined]


class _Telling:
    """What one transaction, or one savepoint in it, has to tell; Django calls it after the commit.

    Keeping one per savepoint lets a thousand `add_task` in a transaction cost one look for listeners and one
    wake-up, and a rolled back savepoint takes its own with it.
    """

    def __init__(self, using: str) -> None:
        self.place = -1
        self.savepoints: list[str] = []
        self._using = using
        self._topics: dict[str, None] = {}
        self._later: list[str] = []  # topics that other processes are told of after the commit
        self._said: list[tuple[Happenings, Sequence[str]]] = []
        self._patterns: list[str] | None = None  # None: not asked yet

    def is_open(self, connection: BaseDatabaseWrapper) -> bool:
        """Does it still wait for this very transaction and savepoint to end, with nothing rolled back?"""
        hooks = connection.run_on_commit
        return self.place < len(hooks) and hooks[self.place][1] is self and self.savepoints == connection.savepoint_ids

    def add(self, happenings: Happenings, topics: Iterable[str], names: Sequence[str]) -> None:
        self._announce([topic for topic in topics if topic not in self._topics], asking=bool(happenings))
        if not happenings:
            return
        if self._patterns:
            happenings = list(happenings() if callable(happenings) else happenings)
            if rows.write(happenings, self._patterns, using=self._using) and "events" not in self._topics:
                self._announce(["events"], asking=False)
        if len(self._said) < KEEP_UNHEARD or _is_anybody_connected(names):
            self._said.append((happenings, names))

    def _announce(self, topics: list[str], *, asking: bool) -> None:
        """Tell other processes of the topics and, once, look whether anybody listens to events."""
        asking = asking and self._patterns is None
        if topics or asking:
            told = topics
            if topics and notifier(self._using).is_busy():
                self._later += topics
                told = []
            somebody = notifier(self._using).announce(told, rows.ANYBODY if asking else "NULL")
            if asking:
                self._patterns = rows.live_patterns(self._using) if somebody else []
            self._topics.update(dict.fromkeys(topics))

    def __call__(self) -> None:
        notifier(self._using).wake_here(self._topics)
        if self._later:
            notifier(self._using).send(self._later)
        said, self._said = self._said, []  # the connection keeps us until its next transaction
        for happenings, names in said:
            if _is_anybody_connected(names):
                _send_all(happenings, self._using)


def _is_anybody_connected(names: Sequence[str]) -> bool:
    return any(SIGNALS[name].receivers for name in names)


def _send_all(happenings: Happenings, using: str) -> None:
    try:
        for happening in happenings() if callable(happenings) else happenings:
            _send(happening, using)
    except Exception:  # the transaction has committed: whoever made it must not hear of this as its failure
        logger.exception("Signals could not be sent using=%s", using)


def _send(happening: Happening, using: str) -> None:
    signal = SIGNALS[happening.name]
    if signal.receivers:
        about = {} if happening.uuid is None or happening.name == "task.add" else {"uuid": happening.uuid}
        try:
            signal.send_robust(Worker if happening.uuid is None else Task, using=using, **about, **happening.args)
        except Exception:  # an async receiver in a thread that runs an event loop, for one
            logger.exception("A signal could not be sent event=%s uuid=%s", happening.name, happening.uuid)


__all__ = ["Happening", "Happenings", "emit", "pruning"]
