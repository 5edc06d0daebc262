"""What claiming and ending need of a database, in the form that works everywhere; vendors override."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .. import json_values

Result = TypeVar("Result")

MAX_RETRIES = 8
SILENCE_SECONDS = 30
"""After so long the server ends a transaction of a worker that says nothing, where it can: its host may be gone."""


class Database:
    """One vendor's way to hold the gate, to tell the time and to write many rows at once."""

    supports_row_values = False
    """Can (a, b) > (c, d) use an index?"""

    writes_beside = False
    """Is it of use to end tasks on a second connection, while more are claimed on the first?"""

    clock: str | None = None
    """SQL for the time of the statement, as `now` gives it; None: `now` has to be asked."""

    def now(self, connection: BaseDatabaseWrapper) -> datetime:
        """The database's time where several hosts share it; else this host's."""
        return timezone.now()

    def in_transaction(self, using: str, work: Callable[[], Result]) -> Result:
        """Call `work()` in a transaction, again when a passing conflict undid it."""
        connection = connections[using]
        is_outermost = not connection.in_atomic_block
        for attempt in range(MAX_RETRIES):
            try:
                with transaction.atomic(using=using):
                    if is_outermost:
                        self.bound_silence(connection)
                    return work()
            except DatabaseError as error:
                if attempt == MAX_RETRIES - 1 or not self.is_transient(error):
                    raise
                connection.close_if_unusable_or_obsolete()
        raise AssertionError("unreachable")

    def bound_silence(self, connection: BaseDatabaseWrapper) -> None:
        """Have the server end this transaction if nothing comes for `SILENCE_SECONDS`, where it can.

        A worker that is frozen, or whose host is lost, in the midst of a transaction holds its locks, the gate
        perhaps: without a bound every other worker would wait until the server finds the connection dead, in hours.
        """

    def close_gate(self, connection: BaseDatabaseWrapper, *, shared: bool) -> None:
        """Wait for the gate and hold it until the transaction ends.

        Passes that start tasks with conditions hold it alone; passes that start only tasks without
        conditions share it among themselves.
        """
        raise NotImplementedError

    def guarded_update(
        self,
        connection: BaseDatabaseWrapper,
        table: str,
        worker_id: int,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Any, ...]],
        constants: Sequence[tuple[str, Any]] = (),
    ) -> set[int]:
        """Update running tasks of one worker, each with values of its own; return the ids that were hit.

        Args:
            columns: (name, PostgreSQL type) of what differs from row to row; jsonb as JSON text, None for NULL.
            rows: (id, attempt, value of each column…); a row whose task is no longer this worker's attempt,
                or no longer running, is left alone.
            constants: (name, value) written to every row.
        """
        sets = ", ".join(f"{name} = %s" for name, _ in (*columns, *constants))
        sql = f"UPDATE {table} SET {sets} WHERE id = %s AND attempt = %s AND worker_id = %s AND status = 'running'"
        fixed = tuple(value for _, value in constants)
        hit: set[int] = set()
        with connection.cursor() as cursor:
            for row in rows:
                cursor.execute(sql, (*self._adapt(connection, columns, row[2:]), *fixed, row[0], row[1], worker_id))
                if cursor.rowcount:
                    hit.add(row[0])
        return hit

    def _adapt(
        self, connection: BaseDatabaseWrapper, columns: Sequence[tuple[str, str]], values: Iterable[Any]
    ) -> Iterable[Any]:
        for (_, kind), value in zip(columns, values, strict=True):
            yield connection.ops.adapt_datetimefield_value(value) if kind == "timestamptz" else value

    def is_transient(self, error: BaseException) -> bool:
        """May the same transaction succeed when it is run again (deadlock, lock wait, lost connection)?"""
        return isinstance(error, OperationalError | InterfaceError)

    def max_json_depth(self, connection: BaseDatabaseWrapper) -> int:
        """Levels of lists and objects within each other that a JSON column takes; never more than ours."""
        return json_values.MAX_DEPTH
