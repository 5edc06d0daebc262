"""SQLite: watches PRAGMA data_version, which changes with every commit of another connection."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing

from django.db import connections

from .base import Hub

TICK_SECONDS = 0.005
BUSY_TICK_SECONDS = 0.02
BUSY_AFTER = 20
"""Commits in that many ticks on end: a wake-up per tick would cost readers more than it tells."""
FILE_CHECK_SECONDS = 1.0


class SQLiteNotifier(Hub):
    """Wakes everybody after any commit to the file, by whatever process: SQLite does not say what changed."""

    kind = "watch"

    def __init__(self, using: str) -> None:
        super().__init__(using)
        self._nudge = threading.Event()

    def _watch(self) -> None:
        path = self._path()
        is_uri = path.startswith("file:")
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None, uri=is_uri)) as connection:
            file = None if is_uri else _identity(path)
            version = _data_version(connection)
            self._went_live()
            changes, next_file_check = 0, time.monotonic() + FILE_CHECK_SECONDS
            while not self._is_over():
                tick = BUSY_TICK_SECONDS if changes > BUSY_AFTER else TICK_SECONDS
                self._nudge.wait(tick if self._count else self.linger)
                self._nudge.clear()
                seen = _data_version(connection, version)
                changes = changes + 1 if seen != version else 0
                if seen != version:
                    version = seen
                    self.wake_here(["*"])
                if file and time.monotonic() > next_file_check:
                    next_file_check = time.monotonic() + FILE_CHECK_SECONDS
                    if _identity(path) != file:
                        return  # replaced by another file: begin anew

    def _path(self) -> str:
        return str(connections[self.using].get_connection_params()["database"])

    def _begin(self) -> None:
        super()._begin()
        self._interrupt()

    def _interrupt(self) -> None:
        self._nudge.set()


def _data_version(connection: sqlite3.Connection, unknown: int = -1) -> int:
    try:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return unknown  # without WAL, a writer at its commit keeps readers out for a moment
        raise


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
