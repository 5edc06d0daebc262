"""Counts the waiting tasks ahead of a place that match a condition's query.

Those at the front a pass has read on its way, so they are judged in memory; those in streams the database finds, by
their keys as far as the query asks for equality. What else a query asks costs more: a look at each task that has the
same key, or, without any equality, at every task in streams, once for each query and pass.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from django.db.models import QuerySet

from .. import query
from ..conditions import LATER, Condition
from ..models import StreamKey, Task
from ..statuses import Status
from . import keys
from .facts import KEPT, Facts, read
from .rows import Row

MOST_PATHS = 8
"""Lists of paths that tasks are looked up by; what else is asked is answered by reading."""

CACHED_ROWS = 50_000

Place = tuple[float, int]


class NotReady(Exception):
    """Tasks in streams have not all got their keys yet: the pass must end here, and come again."""


class WaitingTasks:
    """The new, due tasks during a pass that walks the queue in order; keeps the keys of what it reads."""

    def __init__(self, using: str) -> None:
        self.paths: dict[tuple[str, ...], str] = {}  # with the names that streams know them by
        self._using = using
        self._keys: dict[int, tuple[object, list[int]]] = {}  # by task id; with the row's last change

    def begin_pass(self, now: datetime, *, has_streams: bool, may_be_late: bool) -> None:
        """Forget all counts.

        Args:
            may_be_late: a task whose time has come may not have reached the front, since somebody has locked it.
        """
        self._now = now
        self._has_streams = has_streams
        self._late: bool | None = None if may_be_late else False
        self._front: list[Row] = []
        self._counted = 0
        self._counts: Counter[int] = Counter()
        self._matched: dict[int, tuple[int, int]] = {}
        self._fields = KEPT
        self._facts: dict[int, Facts] = {}
        self._started: set[int] = set()
        self._ready: set[str] = set()
        self._keys_left = keys.WRITE_AT_ONCE
        self._places: dict[tuple[str, int], tuple[list[Place], bool]] = {}

    def learn(self, condition: Condition) -> None:
        """Prepare for the question: what is moved to streams from now on can be found by it."""
        if condition.scope in ("queued_before", "active") and condition.key is not None:
            self._knows(condition.key.paths)

    def pass_over(self, row: Row) -> None:
        """A row of the front that goes on waiting, ahead of all that the walk comes to."""
        self._front.append(row)

    def start(self, task_id: int) -> None:
        """A task that waits no more."""
        self._started.add(task_id)

    def ahead(self, condition: Condition, place: Place) -> int:
        """How many match ahead of a place that the walk has come to; exact up to the condition's limit + 1.

        Raises:
            NotReady: it can't be told yet.
        """
        by_key = condition.key is not None and self._knows(condition.key.paths)
        count = self._at_front(condition, by_key)
        if count <= condition.limit and self._has_streams:
            count += self._in_streams(condition, by_key, place)
        if count <= condition.limit and self._is_late():
            late = Task.objects.using(self._using).due(self._now).filter(hold=LATER)
            count += self._matching("late", condition, late, place)
        return count

    def _knows(self, paths: tuple[str, ...]) -> bool:
        if paths not in self.paths:
            if len(self.paths) >= MOST_PATHS:
                return False
            self.paths[paths] = keys.name_of(paths)
            self._keys = {}
            self._counts, self._counted = Counter(), 0
        return True

    # -- at the front ---------------------------------------------------------------------------------------------

    def _at_front(self, condition: Condition, by_key: bool) -> int:
        if by_key and condition.key is not None:
            self._count_keys()
            count = self._counts[condition.key.digest]
            if condition.key.is_whole or not count:
                return count
        self._read_facts(condition.fields)
        position, count = self._matched.get(condition.query_id, (0, 0))
        facts = (self._facts.get(row.id) for row in self._front[position:])
        count += sum(condition.predicate(task) for task in facts if task is not None)
        self._matched[condition.query_id] = len(self._front), count
        return count

    def _count_keys(self) -> None:
        new = self._front[self._counted :]
        self._counted = len(self._front)
        unknown = {row.id: row.updated_at for row in new if self._keys.get(row.id, (None,))[0] != row.updated_at}
        if len(self._keys) + len(unknown) > CACHED_ROWS:
            self._keys = {}
            unknown = {row.id: row.updated_at for row in new}
        for task in self._read(unknown, KEPT):
            self._keys[task.id] = unknown.pop(task.id), keys.digests(task, self.paths)
        for row in new:
            if row.id not in unknown:  # else it waits no more
                self._counts.update(self._keys[row.id][1])

    def _read_facts(self, fields: frozenset[str]) -> None:
        if not fields <= self._fields:
            self._fields |= fields
            self._facts = {}
        unknown = [row.id for row in self._front if row.id not in self._facts]
        self._facts.update((task.id, task) for task in self._read(unknown, self._fields))

    def _read(self, ids: Iterable[int], fields: frozenset[str]) -> Iterable[Facts]:
        ids = list(ids)
        for start in range(0, len(ids), 500):
            chunk = Task.objects.using(self._using).filter(id__in=ids[start : start + 500], status=Status.NEW)
            yield from read(chunk, fields)

    # -- in streams -----------------------------------------------------------------------------------------------

    def _in_streams(self, condition: Condition, by_key: bool, place: Place) -> int:
        in_streams = Task.objects.using(self._using).filter(status=Status.NEW, hold__gt=LATER)
        if not by_key or condition.key is None:
            return self._matching("streams", condition, in_streams, place)
        self._make_ready(condition.key.paths)
        key = condition.key.digest
        if condition.key.is_whole:
            return self._count("key", key, condition.limit, place, lambda size: keys.places(self._using, key, size))
        same = StreamKey.objects.using(self._using).filter(digest=key)
        return self._matching("streams", condition, in_streams.filter(id__in=same.values("task_id")), place)

    def _make_ready(self, paths: tuple[str, ...]) -> None:
        """Let every task in a stream have its key."""
        name = self.paths[paths]
        if name not in self._ready:
            is_complete, written = keys.complete(self._using, paths, self._keys_left)
            self._keys_left -= written
            if not is_complete:
                raise NotReady
            self._ready.add(name)

    def _matching(self, where: str, condition: Condition, tasks: QuerySet[Task], place: Place) -> int:
        matching = tasks.filter(query.to_q(condition.node)).order_by("priority", "id").values_list("priority", "id")
        return self._count(where, condition.query_id, condition.limit, place, lambda size: list(matching[:size]))

    def _count(self, where: str, key: int, limit: int, place: Place, first: Callable[[int], list[Place]]) -> int:
        """Count in a list of places, of which the first ones, as many as it takes, are read once a pass."""
        found, is_all = self._places.get((where, key), ([], False))
        while True:
            ahead = found[: bisect_left(found, place)]
            count = sum(pk not in self._started for _, pk in ahead)
            if count > limit or is_all or len(ahead) < len(found):
                return count
            size = max(limit + 8, 4 * len(found))
            found = first(size)
            is_all = len(found) < size
            self._places[where, key] = found, is_all

    def _is_late(self) -> bool:
        if self._late is None:
            self._late = Task.objects.using(self._using).due(self._now).filter(hold=LATER).exists()
        return self._late
