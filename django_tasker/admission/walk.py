"""The walk of one pass: merge the open streams in queue order, judge each task, choose those that may start."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ..conditions import FRONT, LATER, NOT_WAITING, Condition, digest, from_reason
from ..models import Pause, Task
from ..statuses import Status
from . import keys, rows, sources, streams
from .facts import EVERYTHING, WAITING, Facts, read
from .places import Places
from .rows import Row
from .sources import Source
from .waiting import NotReady

if TYPE_CHECKING:
    from .passes import Admission, Claimant

EXAMINE = 6000
"""Rows one pass may read: what bounds the time it holds the gate."""

DISSOLVE_BELOW = streams.CROWD // 2

_GONE = -2
"""In place of a reason: the row is no longer what the queue's page said."""


class State(NamedTuple):
    now: datetime
    has_streams: bool
    has_pauses: bool
    has_due: bool


class Walk:
    """The walk of one pass under the gate."""

    def __init__(
        self, admission: Admission, state: State, places: Places, limit: int, excluded: Collection[int]
    ) -> None:
        self._admission = admission
        self._using = admission.using
        self._state = state
        self._places = places
        self._limit = limit
        self._excluded = set(excluded)
        self._paused = _paused(admission.using) if state.has_pauses else set()
        self._refused_lanes: dict[Any, int] = {}
        self._examined = 0
        self._sources: list[Source] = []
        self.chosen: list[Row] = []
        self.tasks: dict[int, Facts] = {}  # the rows of which more than the queue's columns was read
        self.refused: dict[int, list[Row]] = {}
        self.ran_out = False
        self.met_unready = False
        self.met_conditions = False
        self.met_unasked = False
        admission.running.begin_pass()
        admission.waiting.begin_pass(state.now, has_streams=state.has_streams, may_be_late=state.has_due)

    def run(self) -> None:
        self._open_sources()
        heap: list[tuple[Row, int]] = []
        for index in range(len(self._sources)):
            self._push(heap, index)
        while heap and len(self.chosen) < self._limit and self._places:
            if self._examined >= EXAMINE:
                self.ran_out = True
                return
            row, index = heapq.heappop(heap)
            try:
                self._examine(row, self._sources[index])
            except NotReady:
                self.met_unready = True
                return
            self._push(heap, index)

    def move_crowds(self) -> int:
        """Move what was refused out of the way where it crowds, and forget streams that have run dry."""
        keys.forget(self._using, self._keyed())
        moved = streams.move(
            self._using,
            self.refused,
            self._admission.reasons,
            keyed=keys.keyed(self._admission.waiting.paths),
            everything=self.ran_out,
        )
        dry = [
            source.hold
            for source in self._sources
            if source.hold != FRONT and source.exhausted and not source.closed and source.kept <= DISSOLVE_BELOW
        ]
        streams.dissolve(self._using, dry)
        return moved

    def _keyed(self) -> list[int]:
        """The started tasks that may have keys; those that other workers left behind are removed when met."""
        return [row.id for row in self.chosen if row.hold > LATER] if self._admission.waiting.paths else []

    # -- sources --------------------------------------------------------------------------------------------------

    def _open_sources(self) -> None:
        size = max(sources.PAGES[0], min(self._limit * 2, sources.PAGES[1]))
        self._sources.append(Source(self._using, FRONT, None, None, size))
        if not self._state.has_streams:
            return
        opened = {pk: reason for pk, reason in self._admission.stream_reasons().items() if self._is_open(reason)}
        size = min(self._limit, 8 if len(opened) > 16 else size)
        heads = rows.heads(self._using, list(opened), size)
        for pk, reason in opened.items():
            condition = None if "operation" in reason else self._admission.shared(from_reason(reason))
            self._sources.append(Source(self._using, pk, condition, heads[pk], size))

    def _is_open(self, reason: Mapping[str, Any]) -> bool:
        """May a task of this stream start? For scopes that look at the queue its first task will tell."""
        if "operation" in reason:
            kind = self._kind(reason["operation"], reason["queue"])
            return kind is not None and self._places.has(kind)
        if "assert" in reason:
            return self._assertion_holds(reason["assert"])
        condition = self._admission.shared(from_reason(reason))
        return condition.scope == "queued_before" or self._admission.running.count(condition) <= condition.limit

    def _push(self, heap: list[tuple[Row, int]], index: int) -> None:
        source = self._sources[index]
        row = None if source.closed else source.pop()
        if row is not None:
            heapq.heappush(heap, (row, index))

    # -- judging --------------------------------------------------------------------------------------------------

    def _examine(self, row: Row, source: Source) -> None:
        self._examined += 1
        if row.id in self._excluded:
            self._keep(row, source)
            return
        reason_id = self._judge(row)
        if reason_id is None and self._start(row):
            return
        self._keep(row, source)
        if reason_id is None or reason_id == _GONE:
            self._excluded.add(row.id)
        elif reason_id == source.hold:
            source.closed = True  # all behind it are refused for the same reason
        else:
            self.refused.setdefault(reason_id, []).append(row)

    def _keep(self, row: Row, source: Source) -> None:
        source.kept += 1
        if source.hold == FRONT:
            self._admission.waiting.pass_over(row)

    def _judge(self, row: Row) -> int | None:
        """The id of the reason that refuses the task; None: it may start."""
        kind = self._kind(row.operation, row.queue)
        if kind is None or not self._places.has(kind):
            return self._reason({"operation": row.operation, "queue": row.queue})
        if not row.lane and not self._admission.global_conditions:
            return None
        self.met_conditions = True
        if not self._admission.global_conditions and row.lane in self._refused_lanes:
            return self._refused_lanes[row.lane]
        conditions = self._conditions(row)
        if conditions is None:
            return _GONE
        key = row.lane if not self._admission.global_conditions else frozenset(c.id for c in conditions)
        if key not in self._refused_lanes:
            refusing = next((c for c in conditions if not self._holds(c, row)), None)
            if refusing is None:
                return None
            self._refused_lanes[key] = self._reason(refusing.reason, refusing.id)
        return self._refused_lanes[key]

    def _conditions(self, row: Row) -> list[Condition] | None:
        """All that must hold; None: the row is no longer what it was. A known lane tells without reading the row."""
        if not self._admission.global_conditions and row.lane in self._admission.lanes:
            return self._admission.lanes[row.lane]
        task = self._task(row)
        return None if task is None else [*self._admission.conditions_of(task), *self._global(task)]

    def _global(self, task: Facts) -> list[Condition]:
        admission = self._admission
        return [admission.shared(g.resolve(task)) for g in admission.global_conditions if g.applies(task)]

    def _holds(self, condition: Condition, row: Row) -> bool:
        if condition.assertion is not None:
            return self._assertion_holds(condition.assertion)
        count = 0
        if condition.scope != "queued_before":
            count = self._admission.running.count(condition)
        if condition.scope != "running" and count <= condition.limit:
            count += self._admission.waiting.ahead(condition, row.place)
        return count <= condition.limit

    def _assertion_holds(self, name: str) -> bool:
        answer = self._admission.assertion_holds(name)
        self.met_unasked |= answer is None
        return bool(answer)

    def _kind(self, operation: str, queue: str) -> str | None:
        if ("operation", operation) in self._paused or ("queue", queue) in self._paused:
            return None
        return self._admission.claimant.kind(operation, queue)

    def _reason(self, reason: Mapping[str, Any], reason_id: int | None = None) -> int:
        reason_id = reason_id or digest(reason)
        self._admission.reasons.setdefault(reason_id, reason)
        return reason_id

    def _start(self, row: Row) -> bool:
        """Choose the task, and count it as running from now on; False: the row is no longer what it was."""
        task = self._task(row)
        kind = self._kind(row.operation, row.queue)
        if task is None or kind is None:
            return False
        if not self._places.take(kind, task):
            self.met_conditions = True  # the end of another task lets it start
            return False
        self.chosen.append(row)
        self._admission.waiting.start(row.id)
        self._admission.running.start(_as_running(task, self._admission.claimant, self._state.now))
        return True

    def _task(self, row: Row) -> Facts | None:
        """More of the row; read for the next rows that may start, too, since one question serves many."""
        if row.id not in self.tasks:
            count = self._limit - len(self.chosen) + 8
            ahead = (r for source in self._sources if not source.closed for r in source.upcoming(count))
            likely = (r for r in ahead if r.id not in self.tasks and r.lane not in self._refused_lanes)
            ids = {row.id, *(r.id for r in heapq.nsmallest(count, likely))}
            found = Task.objects.using(self._using).filter(id__in=ids, status=Status.NEW)
            names = EVERYTHING if self._admission.global_conditions else WAITING | self._admission.running.fields
            self.tasks.update((task.id, task) for task in read(found, names))
        task = self.tasks.get(row.id)
        return None if task is None or task.lane != row.lane else task


def _as_running(task: Facts, claimant: Claimant, now: datetime) -> Facts:
    """A copy with the values that the claim will write, for queries that look at them."""
    return task.changed(
        status=Status.RUNNING,
        hold=NOT_WAITING,
        attempt=task.attempt + 1,
        worker_id=claimant.worker_id,
        worker_name=claimant.worker_name,
        started_at=now,
        updated_at=now,
        error=None,
        progress=None,
    )


def _paused(using: str) -> set[tuple[str, str]]:
    return set(Pause.objects.using(using).values_list("kind", "name"))
