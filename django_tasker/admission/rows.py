"""Reads waiting rows in queue order, a page at a time, as plain tuples: the hot queries of admission."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conditions import FRONT
from ..databases import database
from ..models import Task

TABLE = Task._meta.db_table
_PRIORITY = Task._meta.get_field("priority")


class Row(NamedTuple):
    """What a pass needs to judge a waiting task. Compares in queue order."""

    priority: float
    id: int
    lane: int
    operation: str
    queue: str
    hold: int
    updated_at: Any  # as the database writes it: only good to see that the row is still the same

    @property
    def place(self) -> tuple[float, int]:
        return self.priority, self.id


def page(using: str, hold: int, after: tuple[float, int] | None, size: int) -> list[Row]:
    """The next `size` waiting rows of a stream in queue order, behind the place `after`."""
    connection = connections[using]
    sql, params = page_sql(using, hold, after, size)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return _rows(cursor.fetchall(), connection)


def page_sql(
    using: str, hold: int, after: tuple[float, int] | None, size: int, names: Sequence[str] = Row._fields
) -> tuple[str, list[Any]]:
    """The hot query. The status is a literal, or SQLite would not use the index of new tasks."""
    where, params = _after(using, after)
    return (
        f"SELECT {', '.join(names)} FROM {TABLE} "
        f"WHERE status = 'new' AND hold = %s{where} ORDER BY priority, id LIMIT {size:d}",
        [hold, *params],
    )


def heads(using: str, holds: Sequence[int], size: int) -> dict[int, list[Row]]:
    """The first `size` rows of each stream, in one question for up to 200 streams."""
    found: dict[int, list[Row]] = {hold: [] for hold in holds}
    connection = connections[using]
    for start in range(0, len(holds), 200):
        chunk = holds[start : start + 200]
        parts: list[str] = []
        params: list[Any] = []
        for hold in chunk:
            sql, values = page_sql(using, hold, None, size)
            parts.append(f"SELECT * FROM ({sql}) AS s{len(parts)}")
            params += values
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts), params)
            for row in _rows(cursor.fetchall(), connection):
                found[row.hold].append(row)
    for rows in found.values():
        rows.sort()
    return found


def convert(using: str, names: Sequence[str], values: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows of raw SQL, with each column's values as the model would hold them."""
    connection = connections[using]
    columns: list[Sequence[Any]] = list(zip(*values, strict=True))
    for index, name in enumerate(names if columns else ()):
        field: Any = Task._meta.get_field(name)
        column = field.cached_col
        for converter in (*connection.ops.get_db_converters(column), *column.get_db_converters(connection)):
            columns[index] = [converter(value, column, connection) for value in columns[index]]
    return list(zip(*columns, strict=True))


def front(using: str, names: Sequence[str], size: int) -> list[tuple[Any, ...]]:
    """These columns of the first rows of the front, locked; those that somebody else has locked are left out.

    `attempt` is the one that would begin.
    """
    connection = connections[using]
    columns = ["attempt + 1" if name == "attempt" else name for name in names]
    sql, params = page_sql(using, FRONT, None, size, columns)
    if connection.features.has_select_for_update_skip_locked:
        sql += " FOR UPDATE SKIP LOCKED"
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return convert(using, names, cursor.fetchall())


def waits(using: str, operations: Sequence[str]) -> bool:
    """Does a task of these operations wait at the front?

    SQLite is told to look each of them up: by the statistics of a long queue it would rather read that.
    """
    connection = connections[using]
    hint = " INDEXED BY tasker_task_operation" if connection.vendor == "sqlite" else ""
    names = ", ".join(["%s"] * len(operations))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT 1 FROM {TABLE}{hint} WHERE operation IN ({names}) AND status = 'new' AND hold = {FRONT} LIMIT 1",
            operations,
        )
        return cursor.fetchone() is not None


def running(using: str) -> list[tuple[int, datetime | None]]:
    """Id and start of every running task, of all workers.

    Each has a worker; saying so lets databases use the small index of running tasks. By the status alone, SQLite
    reads the whole table when its statistics are of a time when nothing ran.
    """
    names = ("id", "started_at")
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT id, started_at FROM {TABLE} WHERE status = 'running' AND worker_id IS NOT NULL")
        return [(pk, started) for pk, started in convert(using, names, cursor.fetchall())]


def waiting_ids(using: str, where: str, params: Sequence[Any] = (), *, size: int | None = None) -> list[int]:
    """Ids of new rows, locked; those that somebody else has locked are left out."""
    return [row[0] for row in _waiting(using, ["id"], where, params, size)]


def waiting(using: str, names: Sequence[str], where: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """These columns of new rows, locked; those that somebody else has locked are left out."""
    return convert(using, names, _waiting(using, names, where, params, None))


def _waiting(using: str, names: Sequence[str], where: str, params: Sequence[Any], size: int | None) -> Any:
    connection = connections[using]
    sql = f"SELECT {', '.join(names)} FROM {TABLE} WHERE status = 'new' AND {where}"
    sql += f" LIMIT {size:d}" if size else ""
    if connection.features.has_select_for_update_skip_locked:
        sql += " FOR UPDATE SKIP LOCKED"
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def _after(using: str, after: tuple[float, int] | None) -> tuple[str, list[Any]]:
    if after is None:
        return "", []
    priority, pk = to_database(using, after[0]), after[1]
    if database(using).supports_row_values:
        return " AND (priority, id) > (%s, %s)", [priority, pk]
    return " AND priority >= %s AND (priority > %s OR id > %s)", [priority, priority, pk]


def to_database(using: str, priority: float) -> Any:
    """A priority as a parameter of raw SQL."""
    return _PRIORITY.get_db_prep_value(priority, connections[using])


def from_database(using: str, priority: float) -> float:
    """A priority that raw SQL has read. The largest doubles stand for the infinities on MySQL."""
    connection = connections[using]
    return _PRIORITY.from_db_value(priority, None, connection) if connection.vendor == "mysql" else priority


def _rows(values: Sequence[tuple[float, int, int, str, str, int, Any]], connection: BaseDatabaseWrapper) -> list[Row]:
    if connection.vendor != "mysql":
        return [Row(*value) for value in values]
    return [Row(from_database(connection.alias, value[0]), *value[1:]) for value in values]
