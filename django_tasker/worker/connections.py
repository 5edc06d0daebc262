"""Keeps the database connections of a runner's thread fit for the next run."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)


def tidy_connections() -> None:
    """Close what is unusable, too old, or stuck in a transaction that the last run left open; never raises.

    Call it in the runner's thread. It costs a few microseconds, and no query unless the last run met an error.
    """
    for connection in connections.all(initialized_only=True):
        try:
            connection.queries_log.clear()
            if _is_in_transaction(connection):
                _drop(connection)
            else:
                connection.close_if_unusable_or_obsolete()
        except Exception:
            logger.warning("connection could not be tidied alias=%s", connection.alias, exc_info=True)
            del connections[connection.alias]


def close_connections() -> None:
    """Close all connections of this thread, before it ends; never raises."""
    for connection in connections.all(initialized_only=True):
        try:
            _drop(connection)
        except Exception:
            logger.debug("connection could not be closed alias=%s", connection.alias, exc_info=True)


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        return True
    # Asking get_autocommit() would connect.
    return connection.connection is not None and not connection.autocommit and connection.settings_dict["AUTOCOMMIT"]


def _drop(connection: BaseDatabaseWrapper) -> None:
    """Roll back by closing, and forget the wrapper: it would go on believing in its atomic block."""
    del connections[connection.alias]
    raw = connection.connection
    connection.close()
    if raw is not None:
        with suppress(Exception):  # closed already, as a rule; a database in memory is left open by Django
            raw.close()


class IdleTidier:
    """Tidies before a run whose thread has been idle: the server may have closed what was good when we last looked."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._last = 0.0

    def before_run(self) -> None:
        if time.monotonic() - self._last > self._seconds:
            tidy_connections()

    def after_run(self) -> None:
        tidy_connections()
        self._last = time.monotonic()
