"""Finds the tasks in streams by values they have, in queue order, however long the streams are.

A task that is moved to a stream gets a `StreamKey` for each list of paths that conditions of waiting tasks compare
with values: a hash of the paths and the task's values there. Tasks at the front have none, so adding one costs
nothing: a pass reads those that are ahead anyway. A key counts only while its task is new and in the key's stream; all
that changes what a key says brings the task to the front. What a task has left behind is removed when it is met.

Only passes that hold the gate alone write keys, and read them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isinf
from typing import Any

from django.db import connections
from django.db.models import Exists, OuterRef

from ..conditions import digest, key_digest, look_up
from ..databases import database, in_transaction, listed
from ..models import Stream, StreamKey, Task
from ..statuses import Status
from . import rows
from .facts import Facts

WRITE_AT_ONCE = 5000
"""Keys written, and rows given keys, in one statement."""

NAMES = ("id", "lane", "priority", "operation", "queue", "data")
"""What is read of a row to give it keys."""

_MANY = 1000
_TABLE = StreamKey._meta.db_table


def name_of(paths: Sequence[str]) -> str:
    """The name of a list of paths in `Stream.keyed`."""
    return f"{digest(list(paths)):x}"


def digests(task: Any, path_lists: Iterable[Sequence[str]]) -> list[int]:
    """A task's keys; none where it has no value, for a query with null is no look-up."""
    found = []
    for paths in path_lists:
        values = [look_up(task, path) for path in paths]
        if all(value is not None for value in values):
            found.append(key_digest(paths, values))
    return found


def path_lists(stream: Stream) -> list[Sequence[str]]:
    """All that rows which are moved to this stream must have keys for."""
    return [*stream.keyed.values(), *([stream.keying["paths"]] if stream.keying else [])]


def write(using: str, hold: int, tasks: Sequence[Facts], paths: Collection[Sequence[str]]) -> None:
    """Give these tasks of a stream their keys, in place of all they had."""
    forget(using, [task.id for task in tasks])
    found = [(task, key) for task in tasks for key in digests(task, paths)]
    for start in range(0, len(found), WRITE_AT_ONCE):
        chunk = found[start : start + WRITE_AT_ONCE]
        values = ", ".join(f"({key:d}, {_literal(task.priority)}, {task.id:d}, {hold:d})" for task, key in chunk)
        infinite = [rows.to_database(using, task.priority) for task, _ in chunk if isinf(task.priority)]
        with connections[using].cursor() as cursor:
            cursor.execute(f"INSERT INTO {_TABLE} (digest, priority, task_id, hold) VALUES {values}", infinite)


def _literal(priority: float) -> str:
    """As it stands in a statement: a parameter for each of thousands of rows would cost more than their insert."""
    return "%s" if isinf(priority) else repr(float(priority))


def forget(using: str, task_ids: Collection[int]) -> None:
    """Remove all keys of these tasks."""
    if task_ids:
        with connections[using].cursor() as cursor:
            cursor.execute(f"DELETE FROM {_TABLE} WHERE task_id IN ({listed(task_ids)})")


def places(using: str, key: int, size: int) -> list[tuple[float, int]]:
    """The first `size` places of waiting tasks in streams under this key."""
    while True:
        with connections[using].cursor() as cursor:
            cursor.execute(places_sql(size), [key])
            found = cursor.fetchall()
        stale = {task_id for _, task_id, waits in found if waits is None}
        if not stale:
            return [(rows.from_database(using, priority), task_id) for priority, task_id, _ in found]
        forget(using, stale)
        size = max(size, _MANY)  # who aborts one, often aborts thousands


def places_sql(size: int) -> str:
    return (
        f"SELECT k.priority, k.task_id, t.id FROM {_TABLE} k LEFT JOIN {rows.TABLE} t"
        " ON t.id = k.task_id AND t.hold = k.hold AND t.status = 'new'"
        f" WHERE k.digest = %s ORDER BY k.priority, k.task_id LIMIT {size:d}"
    )


def complete(using: str, paths: Sequence[str], most: int) -> tuple[bool, int]:
    """Give keys to rows that were moved before anybody asked for these paths, `most` of them at a time.

    Returns whether every stream's rows have them now, and how many rows were given keys.
    """
    done = 0
    for stream in Stream.objects.using(using).exclude(keyed__has_key=name_of(paths)).order_by("id"):
        if done >= most:
            return False, done
        if stream.keying is None:
            stream.keying = {"paths": list(paths), "after": None}
        size = most - done
        page = rows.page(using, stream.id, _read_place(stream.keying["after"]), size)
        _write_page(using, stream, page)
        done += len(page)
        if len(page) < size:
            stream.keyed[name_of(stream.keying["paths"])] = stream.keying["paths"]
            stream.keying = None
        else:
            stream.keying["after"] = [repr(page[-1].priority), page[-1].id]
        stream.save(using=using, update_fields=["keyed", "keying"])
        if name_of(paths) not in stream.keyed:
            return False, done
    return True, done


def _write_page(using: str, stream: Stream, page: Sequence[rows.Row]) -> None:
    if not page:
        return
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(NAMES)} FROM {rows.TABLE} WHERE status = 'new' AND hold = %s"
            f" AND id IN ({listed([row.id for row in page])})",
            [stream.id],
        )
        found = rows.convert(using, NAMES, cursor.fetchall())
    tasks = [Facts(using, dict(zip(NAMES, values, strict=True))) for values in found]
    write(using, stream.id, tasks, path_lists(stream))


def _read_place(place: Sequence[Any] | None) -> tuple[float, int] | None:
    return None if place is None else (float(place[0]), place[1])


def forget_stale(using: str) -> int:
    """Remove keys that tasks have left behind and nobody has met: house-keeping, run now and then."""
    waits = Task.objects.filter(id=OuterRef("task_id"), status=Status.NEW, hold=OuterRef("hold"))
    stale = list(StreamKey.objects.using(using).filter(~Exists(waits)).values_list("id", flat=True)[:WRITE_AT_ONCE])
    if not stale:
        return 0

    def remove() -> int:
        database(using).close_gate(connections[using], shared=False)
        with connections[using].cursor() as cursor:
            cursor.execute(f"DELETE FROM {_TABLE} WHERE id IN ({listed(stale)})")
            return int(cursor.rowcount)

    return in_transaction(using, remove)


def keyed(path_lists: Mapping[tuple[str, ...], str]) -> dict[str, list[str]]:
    """The value of `Stream.keyed` for these lists of paths and their names."""
    return {name: list(paths) for paths, name in path_lists.items()}
