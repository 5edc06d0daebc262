"""Counts the running tasks that match a condition's query.

They are few (the slots of all workers), so they are held in memory and judged by the query's predicate; equality
queries are looked up in an index.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from django.db import connections

from ..conditions import Condition, look_up
from ..json_values import stand_in
from ..models import Task
from ..statuses import Status
from . import rows
from .facts import KEPT, Facts, read

VOLATILE = frozenset(
    ["progress", "abort_requested_at", "abort_reason", "log_count", "warning_count", "error_count", "updated_at"]
)
"""Columns that change while an attempt runs; the others are read once an attempt."""

_INDEXED = frozenset(["data", "operation", "queue"])


class RunningTasks:
    """The running tasks of all workers, kept from pass to pass and refreshed at each pass that counts them."""

    def __init__(self, using: str) -> None:
        self._using = using
        self.fields = KEPT
        self._known: dict[tuple[int, datetime | None], Facts] = {}  # by id and start
        self._fresh = False
        self._volatile = False
        self._indexes: dict[tuple[str, ...], Counter[tuple[Any, ...]]] = {}
        self._counts: dict[int, tuple[Condition, int]] = {}
        self._started: list[Facts] = []

    def begin_pass(self) -> None:
        """Forget all counts; the rows are read again when the first count is asked for."""
        self._fresh = False
        self._indexes, self._counts, self._started = {}, {}, []

    def count(self, condition: Condition) -> int:
        """How many running tasks, those started in this pass included, match the condition's query."""
        self._refresh(condition.fields)
        if condition.equal is not None and condition.fields <= _INDEXED:
            paths, values = condition.equal
            return self._index(paths)[values]
        if condition.query_id not in self._counts:
            self._counts[condition.query_id] = condition, sum(map(condition.predicate, self._tasks()))
        return self._counts[condition.query_id][1]

    def start(self, task: Facts) -> None:
        """Count a task that this pass starts; its attributes say so already."""
        self._started.append(task)
        for paths, index in self._indexes.items():
            index[_key(task, paths)] += 1
        for query_id, (condition, count) in self._counts.items():
            if condition.predicate(task):
                self._counts[query_id] = condition, count + 1

    def keep_started(self) -> None:
        """Remember what this pass has started, once it is claimed, so that the next one need not read it."""
        if self._fresh:  # else nothing counts now, and would forget them when they end
            self._known.update(((task.id, task.started_at), task) for task in self._started)

    def _tasks(self) -> list[Facts]:
        return [*self._known.values(), *self._started]

    def _index(self, paths: tuple[str, ...]) -> Counter[tuple[Any, ...]]:
        if paths not in self._indexes:
            self._indexes[paths] = Counter(_key(task, paths) for task in self._tasks())
        return self._indexes[paths]

    def _refresh(self, fields: frozenset[str]) -> None:
        volatile = not VOLATILE.isdisjoint(fields)
        known = fields <= self.fields
        if known and self._fresh and (self._volatile or not volatile):
            return
        if not known:
            self.fields |= fields
            self._known = {}
        keys = rows.running(self._using)
        known_before = {} if volatile else self._known
        unknown = [key[0] for key in keys if key not in known_before]
        self._known = {key: known_before[key] for key in keys if key in known_before}
        for start in range(0, len(unknown), 500):
            # Not asked for `running` again: a plan that begins with the status would read them all each time.
            tasks = Task.objects.using(self._using).filter(id__in=unknown[start : start + 500])
            for task in read(tasks, self.fields):
                if task.status == Status.RUNNING:
                    self._known[task.id, task.started_at] = task
        self._fresh, self._volatile = True, volatile


def _key(task: Facts, paths: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(stand_in(look_up(task, path)) for path in paths)


def explain_sql(using: str, sql: str, params: list[Any]) -> str:
    """The database's plan for a statement, as text; for tests and benchmarks that keep the hot plans honest."""
    word = "EXPLAIN QUERY PLAN" if connections[using].vendor == "sqlite" else "EXPLAIN"
    with connections[using].cursor() as cursor:
        cursor.execute(f"{word} {sql}", params)
        return "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())
