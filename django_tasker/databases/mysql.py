"""MySQL and MariaDB: the gate is a row."""

from __future__ import annotations

from datetime import datetime

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .base import SILENCE_SECONDS, Database

# deadlock, lock wait timeout, cannot connect, server gone, connection lost
_RETRYABLE = {1213, 1205, 2002, 2003, 2006, 2013, 2055}


class MySQL(Database):
    def now(self, connection: BaseDatabaseWrapper) -> datetime:
        with connection.cursor() as cursor:
            cursor.execute("SELECT UTC_TIMESTAMP(6)")
            now: datetime = cursor.fetchone()[0]
        return timezone.make_aware(now, timezone.get_fixed_timezone(0))

    def max_json_depth(self, connection: BaseDatabaseWrapper) -> int:
        # MariaDB's JSON_VALID, the check of its JSON columns, gives up at 32 levels.
        is_mariadb = getattr(connection, "mysql_is_mariadb", False)
        return 31 if is_mariadb else super().max_json_depth(connection)

    def bound_silence(self, connection: BaseDatabaseWrapper) -> None:
        if getattr(connection, "mysql_is_mariadb", False):  # MySQL has no such bound
            with connection.cursor() as cursor:
                cursor.execute(f"SET SESSION idle_transaction_timeout = {SILENCE_SECONDS}")

    def close_gate(self, connection: BaseDatabaseWrapper, *, shared: bool) -> None:
        with connection.cursor() as cursor:
            mode = "LOCK IN SHARE MODE" if shared else "FOR UPDATE"
            cursor.execute(f"SELECT id FROM django_tasker_gate WHERE id = 1 {mode}")
            if cursor.fetchone() is None:  # the tests' flush may have emptied the table
                cursor.execute("INSERT IGNORE INTO django_tasker_gate (id) VALUES (1)")

    def is_transient(self, error: BaseException) -> bool:
        if isinstance(error, OperationalError) and error.args and isinstance(error.args[0], int):
            return error.args[0] in _RETRYABLE
        return isinstance(error, InterfaceError)
