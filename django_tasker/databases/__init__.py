"""What differs between databases when rows are claimed and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache

from django.db import connections, router

from .base import Database, Result


def alias() -> str:
    """The alias of the database that holds the tasks, by the project's routers."""
    from ..models import Task

    return router.db_for_write(Task)


def database(using: str) -> Database:
    """The `Database` for an alias."""
    return _for_vendor(connections[using].vendor)


@cache
def _for_vendor(vendor: str) -> Database:
    if vendor == "postgresql":
        from .postgresql import PostgreSQL

        return PostgreSQL()
    if vendor == "mysql":
        from .mysql import MySQL

        return MySQL()
    if vendor == "sqlite":
        from .sqlite import SQLite

        return SQLite()
    raise NotImplementedError(f"django_tasker runs on PostgreSQL, MySQL, MariaDB and SQLite, not on {vendor!r}.")


def in_transaction(using: str, work: Callable[[], Result]) -> Result:
    """Run `work` in a transaction of its own, again when a passing conflict (deadlock, lock wait) undid it."""
    return database(using).in_transaction(using, work)


def listed(ids: Iterable[int]) -> str:
    """Ids as they stand in a statement: thousands of them cost a tenth of what the ORM's parameters do."""
    return ", ".join(f"{pk:d}" for pk in ids)


@contextmanager
def told_time(using: str, now: Callable[[], datetime]) -> Iterator[None]:
    """Within the block, what `now()` says is the time of this kind of database, in every thread: for tests.

    Tests freeze or move the time of Python, which a server knows nothing of.
    """
    instance = vars(database(using))
    before = dict(instance)
    instance.update(now=lambda _connection: now(), clock=None)
    try:
        yield
    finally:
        instance.clear()
        instance.update(before)


__all__ = ["Database", "alias", "database", "in_transaction", "listed", "told_time"]
