"""SQLite: the write transaction is the gate; whoever holds it is alone."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from .base import Database


class SQLite(Database):
    supports_row_values = True

    def close_gate(self, connection: BaseDatabaseWrapper, *, shared: bool) -> None:
        if getattr(connection, "transaction_mode", None) in ("IMMEDIATE", "EXCLUSIVE"):
            return  # BEGIN took the lock
        # In deferred mode the first statement decides: a write, even of no row, takes the lock before we read.
        with connection.cursor() as cursor:
            cursor.execute("UPDATE django_tasker_gate SET id = id WHERE id = 0")
