"""What everybody who waits for rows has in common: looking again after an outage, and looking from coroutines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections

from ..abort import AbortSignal
from ..errors import TaskNotFound
from ..notify import Subscription

PATIENCE_SECONDS = 60.0
"""How long a database may be away before who waits is told."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


def not_found(uuid: UUID) -> TaskNotFound:
    return TaskNotFound(f"There is no task {uuid}.")


class Looker:
    """Looks at rows; during an outage of the database it sees nothing instead of raising, for a while."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._lost_at: float | None = None

    def look(self, ask: Callable[[], T], otherwise: T) -> T:
        """`ask()`, or `otherwise` while the database can't be asked.

        Raises:
            OperationalError: inside a transaction, which is broken by it; or after `PATIENCE_SECONDS`.
        """
        try:
            seen = ask()
        except (OperationalError, InterfaceError) as error:
            if not self._is_patient():
                raise
            logger.debug("The database can't be asked, trying again using=%s error=%s", self.using, error)
            return otherwise
        self._lost_at = None
        return seen

    def _is_patient(self) -> bool:
        connection = connections[self.using]
        if connection.in_atomic_block:
            return False
        connection.close()
        now = time.monotonic()
        self._lost_at = now if self._lost_at is None else self._lost_at
        return now < self._lost_at + PATIENCE_SECONDS

    async def alook(self, ask: Callable[[], T], otherwise: T) -> T:
        """The same from a coroutine; keeps no connection beyond CONN_MAX_AGE."""
        return await in_database_thread(self.using, partial(self.look, ask, otherwise))


async def in_database_thread(using: str, work: Callable[[], T]) -> T:
    """Run `work` in the thread where async code of Django talks to the database, as its ORM does."""

    def run() -> T:
        connection = connections[using]
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        try:
            return work()
        finally:
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()

    return await sync_to_async(run, thread_sensitive=True)()


class _Interrupting:
    def __init__(self, signal: AbortSignal, subscription: Subscription) -> None:
        self._remove = signal.add_listener(subscription.interrupt)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove()


def interrupting(signal: AbortSignal | None, subscription: Subscription) -> AbstractContextManager[None]:
    """Let `signal` end the waits of `subscription`."""
    return nullcontext() if signal is None else _Interrupting(signal, subscription)


def is_aborted(signal: AbortSignal | None) -> bool:
    return signal is not None and signal.aborted
