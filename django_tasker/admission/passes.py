"""One pass: under the gate, let the walk choose tasks, claim them, move crowds out of the way."""

from __future__ import annotations

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
    LATER,
    Condition,
    check_global,
    resolve,
)
from ..conf import Options
from ..conf import options as project_options
from ..databases import database, in_transaction
from ..models import Pause, Stream, Task
from ..statuses import Status
from . import rows, streams
from .counts import RunningTasks
from .facts import Facts
from .places import Places
from .rows import Row
from .waiting import WaitingTasks
from .walk import State, Walk

CACHED_LANES = 50_000


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
    ahead: int
    log_count: int
    log_bytes: int
    warning_count: int
    error_count: int


@dataclass
class PassResult:
    """What a pass has claimed, in queue order, and whether it stopped before it had seen the whole queue."""

    claimed: list[ClaimedRow] = field(default_factory=list)
    now: datetime | None = None  # the database's time of the claim
    unfinished: bool = False
    wanted: frozenset[str] = frozenset()
    """Kinds of executors that more tasks may wait for, when there is no need to look for others."""


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
        self.waiting = WaitingTasks(using)
        self.answers = AssertionAnswers(assertions or project_assertions, self.options.assertion_interval)
        self.global_conditions = check_global(self.options.conditions)
        self.lanes: dict[int, list[Condition]] = {}
        self.conditions: dict[int, Condition] = {}
        self.reasons: dict[int, Any] = {}
        self.needs_gate = bool(self.global_conditions)
        self._asserted: set[str] = set()

    def run_pass(self, free: Mapping[str, int], limit: int, slots: Mapping[str, int] | None = None) -> PassResult:
        """Claim up to `limit` tasks in a transaction of its own.

        Unless `unfinished`, nothing else that the claimant could run may start now.

        Args:
            free: executor kind -> how many tasks there is a place for.
            slots: executor kind -> how many of those would begin at once; None: all.
        """
        self.answers.refresh(self._asserted)
        if not self.needs_gate:
            result = in_transaction(self.using, lambda: self._shared_pass(Places(free, slots), limit))
            if not self.needs_gate:
                return result
            if result.claimed:
                result.unfinished = True
                return result
        return in_transaction(self.using, lambda: self._gated_pass(free, slots, limit))

    # -- without conditions ---------------------------------------------------------------------------------------

    def _shared_pass(self, places: Places, limit: int) -> PassResult:
        """Claim from the front as long as no task there has conditions; else say that the gate is needed."""
        database(self.using).close_gate(connections[self.using], shared=True)
        state = self._state()
        if state.has_streams or state.has_pauses:
            self.needs_gate = True
            return PassResult()
        if state.has_due and not streams.bring_due_to_front(self.using, state.now):
            return PassResult(now=state.now, unfinished=True)
        chosen: list[ClaimedRow] = []
        wanted: set[str] = set()
        unasked: set[str] | None = None  # kinds that may have tasks behind what was read
        limit = min(limit, places.most())  # all may be of one kind
        for row in itertools.starmap(ClaimedRow, rows.front(self.using, ClaimedRow._fields, limit)):
            kind = self.claimant.kind(row.operation, row.queue)
            if kind is not None and not row.lane and not places.has(kind):
                unasked, wanted = places.open_kinds(), {kind}
                break
            if kind is None or row.lane or not places.take(kind, row):
                self.needs_gate = True  # what is behind it must be merged with what is moved away
                break
            wanted.add(kind)
            chosen.append(row)
        result = self._claim(chosen, places, state.now)
        if unasked is None and 0 < len(chosen) == limit:
            unasked = places.open_kinds() - wanted
        if unasked is not None:
            self.needs_gate = self._waits_for(unasked)
            result.wanted = frozenset() if self.needs_gate else frozenset(wanted)
            result.unfinished = any(map(places.has, result.wanted))
        return result

    def _waits_for(self, kinds: Collection[str]) -> bool:
        """Does any task at the front wait for these kinds of executors? Asked of those that a page had nothing for."""
        if not kinds or self.claimant.kinds is None:
            return False
        operations = [operation for operation, kind in self.claimant.kinds.items() if kind in kinds]
        return rows.waits(self.using, operations)

    # -- with conditions ------------------------------------------------------------------------------------------

    def _gated_pass(self, free: Mapping[str, int], slots: Mapping[str, int] | None, limit: int) -> PassResult:
        database(self.using).close_gate(connections[self.using], shared=False)
        state = self._state()
        if state.has_due and not streams.bring_due_to_front(self.using, state.now):
            return PassResult(now=state.now, unfinished=True)
        excluded: set[int] = set()
        for _ in range(5):
            places = Places(free, slots)
            walk = Walk(self, state, places, limit, excluded)
            walk.run()
            locked = self._lock(walk.chosen, walk.tasks, excluded)
            if locked is not None:
                break
        else:
            return PassResult(now=state.now, unfinished=True)
        result = self._claim(locked, places, state.now)
        self.running.keep_started()
        moved = walk.move_crowds()
        result.unfinished = walk.ran_out or walk.met_unready or (walk.met_unasked and not result.claimed)
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
        """Lock the chosen rows and say them as claimed; None when some are not what they were.

        The ids of those go to `excluded`.
        """
        if not chosen:
            return []
        waiting = Task.objects.using(self.using).filter(id__in=[row.id for row in chosen], status=Status.NEW)
        values = waiting.select_for_update(skip_locked=_skips(self.using)).values_list(*ClaimedRow._fields)
        found = {row.id: row for row in itertools.starmap(ClaimedRow, values)}
        stale = [row.id for row in chosen if not _is_same(row, found.get(row.id), tasks.get(row.id))]
        excluded.update(stale)
        return None if stale else [found[row.id]._replace(attempt=found[row.id].attempt + 1) for row in chosen]

    def _claim(self, locked: list[ClaimedRow], places: Places, now: datetime) -> PassResult:
        if not locked:
            return PassResult(now=now)
        lifecycle.claim(
            [(row.id, row.uuid) for row in locked],
            worker_id=self.claimant.worker_id,
            worker_name=self.claimant.worker_name,
            ahead=places.ahead,
            now=now,
            using=self.using,
        )
        return PassResult(locked, now)

    def _state(self) -> State:
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
        return State(rest[0] if rest else now, bool(has_streams), bool(has_pauses), bool(has_due))

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
        self.waiting.learn(condition)
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
