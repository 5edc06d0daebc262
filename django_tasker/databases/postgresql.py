"""PostgreSQL: the gate is an advisory lock, many rows are written by one UPDATE … FROM unnest(…)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from .base import SILENCE_SECONDS, Database

# serialization failure, deadlock, lock not available, ended for its silence
_RETRYABLE = {"40001", "40P01", "55P03", "25P03"}


class PostgreSQL(Database):
    supports_row_values = True
    writes_beside = True
    clock = "statement_timestamp()"

    def now(self, connection: BaseDatabaseWrapper) -> datetime:
        with connection.cursor() as cursor:
            # Not now(): that is when the transaction began, before it may have waited for the gate.
            cursor.execute("SELECT clock_timestamp()")
            now: datetime = cursor.fetchone()[0]
        return now

    def bound_silence(self, connection: BaseDatabaseWrapper) -> None:
        # For this transaction alone: behind a pooler the session is somebody else's next.
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{SILENCE_SECONDS}s'")

    def close_gate(self, connection: BaseDatabaseWrapper, *, shared: bool) -> None:
        # An advisory lock is queued fairly and leaves no dead rows; the table's oid makes it this schema's own.
        suffix = "_shared" if shared else ""
        # Under REPEATABLE READ the snapshot would be older than the gate, and the counts with it. Within another
        # transaction, as in tests, it is too late to say so.
        level = "" if connection.savepoint_ids else "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
        with connection.cursor() as cursor:
            cursor.execute(
                f"{level}"
                f"SELECT pg_advisory_xact_lock{suffix}('django_tasker_gate'::regclass::oid::bigint::bit(32)::int, 0)"
            )

    def guarded_update(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        worker_id: int,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Any, ...]],
        constants: Sequence[tuple[str, Any]] = (),
    ) -> set[int]:
        if not rows:
            return set()
        kinds = ("bigint", "int", *(kind for _, kind in columns))
        changes = [f"{name} = {_value(name, kind)}" for name, kind in columns]
        sets = ", ".join(changes + [f"{name} = %s" for name, _ in constants])
        lists = ", ".join("jsonb_array_elements(%s)" if kind == "jsonb" else f"unnest(%s::{kind}[])" for kind in kinds)
        names = ", ".join(("id", "attempt", *(name for name, _ in columns)))
        sql = (
            f"UPDATE {table} t SET {sets} FROM ROWS FROM ({lists}) AS v({names}) "
            "WHERE t.id = v.id AND t.attempt = v.attempt AND t.worker_id = %s AND t.status = 'running' RETURNING t.id"
        )
        fixed = [value for _, value in constants]
        columnwise = zip(kinds, zip(*rows, strict=True), strict=True)
        with connection.cursor() as cursor:
            cursor.execute(sql, [*fixed, *(_list(kind, values) for kind, values in columnwise), worker_id])
            return {row[0] for row in cursor.fetchall()}

    def is_transient(self, error: BaseException) -> bool:
        state = getattr(error.__cause__, "sqlstate", None)
        if state is not None:
            return state in _RETRYABLE or state[:2] in ("08", "57")  # connection lost, server shut down
        return isinstance(error, OperationalError) or super().is_transient(error)


def _list(kind: str, values: Sequence[Any]) -> str:
    """Values as the text of an array, or of a JSON array: psycopg's own lists cost several times as much."""
    if kind == "jsonb":
        return f"[{','.join('null' if value is None else value for value in values)}]"
    if kind == "timestamptz":
        return f"{{{','.join('null' if value is None else value.isoformat() for value in values)}}}"
    return f"{{{','.join(map(str, values))}}}"


def _value(name: str, kind: str) -> str:
    return f"NULLIF(v.{name}, 'null')" if kind == "jsonb" else f"v.{name}"
