"""One pass: walk the queue in order, judge each task, claim those that may start, move crowds out of the way."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections

from .. import lifecycle
from ..assertions import AssertionAnswers, Assertions
from ..assertions import assertions as project_assertions
from ..conditions import (
    FRONT,
    LATER,
    NOT_WAITING,
    Condition,
    check_global,
    digest,
    from_reason,
    resolve,
)
from ..conf import Options
from ..conf import options as project_options
from ..databases import database, in_transaction
from ..models import Pause, Stream, Task
from ..statuses import Status
from . import rows, streams
from .counts import RunningTasks, WaitingTasks
from .facts import EVERYTHING, WAITING, Facts, read
from .rows import Row

EXAMINE = 6000
"""Rows one pass may read: what bounds the time it holds the gate."""

CACHED_LANES = 50_000
DISSOLVE_BELOW = streams.CROWD // 2
_PAGES = (64, 256, 1024, 4096)


_GONE = -2
"""In place of a reason: the row is no longer what the queue's page said."""


@dataclass
class Claimant:
    """Who claims: a worker, and what it can run.

    Args:
        kinds: operation -> executor kind. None: it runs every operation, of kind "any".
        queues: the queues it serves; None: all.
    """

    worker_id: int
    worker_name: str
    kinds: Mapping[str, str] | None = None
    queues: Collection[str] | None = None

    def kind(self, operation: str, queue: str) -> str | None:
        """The kind of executor that would run it here; None: not here."""
        if self.queues is not None and queue not in self.queues:
            return None
        return "any" if self.kinds is None else self.kinds.get(operation)


class ClaimedRow(NamedTuple):
    """A claimed task: all that running and ending it needs. `attempt` is the one that begins."""

    id: int
    priority: float
    lane: int
    updated_at: datetime
    uuid: UUID
    operation: str
    queue: str
    data: Any
    attempt: int
    max_attempts: int
    retry_delay: float | None
    run_timeout: float | None
    run_until: str | None
    keep_for: float | None
    on_stop: str
    losses: int
    log_count: int
    warning_count: int
    error_count: int


@dataclass
class PassResult:
    """What a pass has claimed, in queue order, and whether it stopped before it had seen the whole queue."""

    claimed: list[ClaimedRow] = field(default_factory=list)
    now: datetime | None = None  # the database's time of the claim
    unfinished: bool = False


class _State(NamedTuple):
    now: datetime
    has_streams: bool
    has_pauses: bool
    has_due: bool


class Admission:
    """Chooses and claims tasks for one worker; keeps what it has learned from pass to pass. Not thread-safe."""

    def __init__(
        self,
        using: str,
        claimant: Claimant,
        *,
        options: Options | None = None,
        assertions: Assertions | None = None,
    ) -> None:
        self.using = using
        self.claimant = claimant
        self.options = options or project_options()
        self.running = RunningTasks(using)
        self.answers = AssertionAnswers(assertions or project_assertions, self.options.assertion_interval)
        self.global_conditions = check_global(self.options.conditions)
        self.lanes: dict[int, list[Condition]] = {}
        self.conditions: dict[int, Condition] = {}
        self.reasons: dict[int, Any] = {}
        self.needs_gate = bool(self.global_conditions)
        self._asserted: set[str] = set()

    def run_pass(self, free: Mapping[str, int], limit: int) -> PassResult:
        """Claim up to `limit` tasks for the free slots (executor kind -> how many), in a transaction of its own.

        Unless `unfinished`, nothing else that the claimant could run may start now.
        """
        self.answers.refresh(self._asserted)
        if not self.needs_gate:
            result = in_transaction(self.using, lambda: self._shared_pass(free, limit))
            if not self.needs_gate:
                return result
            if result.claimed:
                result.unfinished = True
                return result
        return in_transaction(self.using, lambda: self._gated_pass(free, limit))

    # -- without conditions ---------------------------------------------------------------------------------------

    def _shared_pass(self, free: Mapping[str, int], limit: int) -> PassResult:
        """Claim from the front as long as no task there has conditions; else say that the gate is needed."""
        database(self.using).close_gate(connections[self.using], shared=True)
        state = self._state()
        if state.has_streams or state.has_pauses:
            self.needs_gate = True
            return PassResult()
        if state.has_due and not streams.bring_due_to_front(self.using, state.now):
            return PassResult(now=state.now, unfinished=True)
        left = dict(free)
        chosen: list[ClaimedRow] = []
        for row in itertools.starmap(ClaimedRow, rows.front(self.using, ClaimedRow._fields, limit)):
            kind = self.claimant.kind(row.operation, row.queue)
            if row.lane or kind is None or not left.get(kind):
                self.needs_gate = True  # what is behind it must be merged with what is moved away
                break
            left[kind] -= 1
            chosen.append(row)
        return self._claim(chosen, state.now)

    # -- with conditions ------------------------------------------------------------------------------------------

    def _gated_pass(self, free: Mapping[str, int], limit: int) -> PassResult:
        database(self.using).close_gate(connections[self.using], shared=False)
        state = self._state()
        if state.has_due and not streams.bring_due_to_front(self.using, state.now):
            return PassResult(now=state.now, unfinished=True)
        excluded: set[int] = set()
        for _ in range(5):
            walk = _Walk(self, state, free, limit, excluded)
            walk.run()
            locked = self._lock(walk.chosen, walk.tasks, excluded)
            if locked is not None:
                break
        else:
            return PassResult(now=state.now, unfinished=True)
        result = self._claim(locked, state.now)
        self.running.keep_started()
        moved = walk.move_crowds()
        result.unfinished = walk.ran_out or (walk.met_unasked and not result.claimed)
        # Back to the cheap pass when nothing that needs the gate was met.
        self.needs_gate = bool(
            walk.met_conditions
            or walk.refused
            or moved
            or state.has_streams
            or state.has_pauses
            or self.global_conditions
        )
        return result

    def _lock(self, chosen: list[Row], tasks: Mapping[int, Facts], excluded: set[int]) -> list[ClaimedRow] | None:
        """Lock the chosen rows; None when some are not what they were (their ids go to `excluded`)."""
        if not chosen:
            return []
        waiting = Task.objects.using(self.using).filter(id__in=[row.id for row in chosen], status=Status.NEW)
        values = waiting.select_for_update(skip_locked=_skips(self.using)).values_list(*ClaimedRow._fields)
        found = {row.id: row for row in itertools.starmap(ClaimedRow, values)}
        stale = [row.id for row in chosen if not _is_same(row, found.get(row.id), tasks.get(row.id))]
        excluded.update(stale)
        return None if stale else [found[row.id] for row in chosen]

    def _claim(self, locked: list[ClaimedRow], now: datetime) -> PassResult:
        if not locked:
            return PassResult(now=now)
        lifecycle.claim(
            [(row.id, row.uuid) for row in locked],
            worker_id=self.claimant.worker_id,
            worker_name=self.claimant.worker_name,
            now=now,
            using=self.using,
        )
        return PassResult([row._replace(attempt=row.attempt + 1) for row in locked], now)

    def _state(self) -> _State:
        """What the pass must know before it reads the queue, in one question."""
        connection = connections[self.using]
        clock, params = database(self.using).clock, []
        if clock is None:
            clock, now = "%s", database(self.using).now(connection)
            params = [connection.ops.adapt_datetimefield_value(now)]
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT EXISTS(SELECT 1 FROM {Stream._meta.db_table}), EXISTS(SELECT 1 FROM {Pause._meta.db_table}),"
                f" EXISTS(SELECT 1 FROM {rows.TABLE} WHERE status = 'new' AND hold = {LATER} AND run_at <= {clock})"
                + ("" if params else f", {clock}"),
                params,
            )
            has_streams, has_pauses, has_due, *rest = cursor.fetchone()
        return _State(rest[0] if rest else now, bool(has_streams), bool(has_pauses), bool(has_due))

    # -- what is known of lanes and reasons -----------------------------------------------------------------------

    def conditions_of(self, task: Facts) -> list[Condition]:
        """The task's own resolved conditions, from the cache of lanes."""
        if task.lane not in self.lanes:
            if len(self.lanes) >= CACHED_LANES:
                self.lanes.clear()
                self.conditions.clear()
            self.lanes[task.lane] = [self.shared(c) for c in resolve(task.concurrency, task)]
        return self.lanes[task.lane]

    def shared(self, condition: Condition) -> Condition:
        """The one object for equal conditions, so that each query is compiled once."""
        return self.conditions.setdefault(condition.id, condition)

    def assertion_holds(self, name: str) -> bool | None:
        """None: not asked yet; it will be before the next pass."""
        self._asserted.add(name)
        return self.answers.holds(name) if self.answers.known(name) else None

    def stream_reasons(self) -> dict[int, Any]:
        """Every stream's reason, read once a stream."""
        ids = list(Stream.objects.using(self.using).values_list("id", flat=True))
        unknown = [pk for pk in ids if pk not in self.reasons]
        for start in range(0, len(unknown), 500):
            chunk = Stream.objects.using(self.using).filter(id__in=unknown[start : start + 500])
            self.reasons.update(chunk.values_list("id", "reason"))
        return {pk: self.reasons[pk] for pk in ids}


def _skips(using: str) -> bool:
    return connections[using].features.has_select_for_update_skip_locked


def _is_same(row: Row, found: ClaimedRow | None, task: Facts | None) -> bool:
    """Is the locked row still the one that was judged?"""
    if found is None or (found.priority, found.lane) != (row.priority, row.lane):
        return False
    return task is None or found.updated_at == task.updated_at


class _Source:
    """One stream during a pass: its rows in queue order, read page by page."""

    def __init__(self, using: str, hold: int, condition: Condition | None, first: list[Row] | None, size: int) -> None:
        self.hold = hold
        self.condition = condition
        self.closed = False
        self.exhausted = False
        self.kept = 0  # rows read and not started
        self._using = using
        self._page = first if first is not None else rows.page(using, hold, None, size)
        self._size = size
        self._next = 0

    def pop(self) -> Row | None:
        if self._next >= len(self._page):
            if len(self._page) < self._size:
                self.exhausted = True
                return None
            last = self._page[-1].place
            self._size = next((size for size in _PAGES if size > self._size), _PAGES[-1])
            self._page, self._next = rows.page(self._using, self.hold, last, self._size), 0
            if not self._page:
                self.exhausted = True
                return None
        self._next += 1
        return self._page[self._next - 1]

    def upcoming(self, count: int) -> list[Row]:
        """The next rows of the page in hand, the one just popped included."""
        return self._page[self._next - 1 : self._next - 1 + count]


class _Walk:
    """The walk of one pass under the gate."""

    def __init__(
        self, admission: Admission, state: _State, free: Mapping[str, int], limit: int, excluded: Collection[int]
    ) -> None:
        self._admission = admission
        self._using = admission.using
        self._state = state
        self._free = dict(free)
        self._limit = limit
        self._excluded = set(excluded)
        self._waiting = WaitingTasks(admission.using, state.now, limit)
        self._paused = _paused(admission.using) if state.has_pauses else set()
        self._refused_lanes: dict[Any, int] = {}
        self._examined = 0
        self._sources: list[_Source] = []
        self.chosen: list[Row] = []
        self.tasks: dict[int, Facts] = {}  # the rows of which more than the queue's columns was read
        self.refused: dict[int, list[int]] = {}
        self.ran_out = False
        self.met_conditions = False
        self.met_unasked = False
        admission.running.begin_pass()

    def run(self) -> None:
        self._open_sources()
        heap: list[tuple[Row, int]] = []
        for index in range(len(self._sources)):
            self._push(heap, index)
        while heap and len(self.chosen) < self._limit and any(self._free.values()):
            if self._examined >= EXAMINE:
                self.ran_out = True
                return
            row, index = heapq.heappop(heap)
            self._examine(row, self._sources[index])
            self._push(heap, index)

    def move_crowds(self) -> int:
        """Move what was refused out of the way where it crowds, and forget streams that have run dry."""
        moved = streams.move(self._using, self.refused, self._admission.reasons, everything=self.ran_out)
        dry = [
            source.hold
            for source in self._sources
            if source.hold != FRONT and source.exhausted and not source.closed and source.kept <= DISSOLVE_BELOW
        ]
        streams.dissolve(self._using, dry)
        return moved

    # -- sources --------------------------------------------------------------------------------------------------

    def _open_sources(self) -> None:
        size = max(_PAGES[0], min(self._limit * 2, _PAGES[1]))
        self._sources.append(_Source(self._using, FRONT, None, None, size))
        if not self._state.has_streams:
            return
        opened = {pk: reason for pk, reason in self._admission.stream_reasons().items() if self._is_open(reason)}
        size = min(self._limit, 8 if len(opened) > 16 else size)
        heads = rows.heads(self._using, list(opened), size)
        for pk, reason in opened.items():
            condition = None if "operation" in reason else self._admission.shared(from_reason(reason))
            self._sources.append(_Source(self._using, pk, condition, heads[pk], size))

    def _is_open(self, reason: Mapping[str, Any]) -> bool:
        """May a task of this stream start? For scopes that look at the queue its first task will tell."""
        if "operation" in reason:
            kind = self._kind(reason["operation"], reason["queue"])
            return kind is not None and self._free.get(kind, 0) > 0
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

    def _examine(self, row: Row, source: _Source) -> None:
        self._examined += 1
        if row.id in self._excluded:
            source.kept += 1
            return
        reason_id = self._judge(row)
        if reason_id is None and self._start(row):
            return
        source.kept += 1
        if reason_id is None or reason_id == _GONE:
            self._excluded.add(row.id)
        elif reason_id == source.hold:
            source.closed = True  # all behind it are refused for the same reason
        else:
            self.refused.setdefault(reason_id, []).append(row.id)

    def _judge(self, row: Row) -> int | None:
        """The id of the reason that refuses the task; None: it may start."""
        kind = self._kind(row.operation, row.queue)
        if kind is None or not self._free.get(kind):
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
            count += self._waiting.ahead(condition, row.place)
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
        self._free[kind] -= 1
        self.chosen.append(row)
        self._waiting.start(row.id)
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
