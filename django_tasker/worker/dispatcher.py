"""The loop of a worker: write what came in, look after what runs, claim what may start, hand it over.

One thread, one database connection. Executors report into an inbox; wake-ups and reports end its sleep.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from django.db import DatabaseError, connections

from .. import lifecycle
from ..admission import Admission, Claimant
from ..admission.passes import ClaimedRow
from ..databases import database
from ..events import Happening, emit
from ..models import Task, Worker
from ..notify import notifier
from ..notify.subscription import FIRST_PACE, PACE_GROWTH
from ..statuses import Outcome, Status
from .bell import Bell
from .executors.base import Executor
from .held import HeldTask, Key, hold
from .messages import Assignment
from .recorder import Inbox, Recorder, Report, settle
from .rescue import release_strays
from .settings import WorkerSettings
from .writer import BACKOFF_SECONDS, Writer

logger = logging.getLogger(__name__)

MAX_BATCH = 400
"""Tasks claimed in one pass."""

MAX_PREFETCH = 1000
"""Tasks claimed ahead of the slots of a kind, when runs are very short."""

MAX_UNWRITTEN = 2000
"""Ended tasks whose ends are not written yet; with more of them, no more are claimed."""

CONTROL_SECONDS = 2.0
"""Between two looks for aborts when no wake-up tells of one."""

TAKEN_FOR_LOST = "the worker was taken for lost"

Life = tuple[int, str]
"""Id and name of the Worker row under which tasks are claimed."""


class Dispatcher:
    """Claims for one worker and follows its tasks to their end."""

    def __init__(
        self, settings: WorkerSettings, worker_id: int, worker_name: str, make: Callable[[str, int, Inbox], Executor]
    ) -> None:
        self._settings = settings
        self._options = settings.options
        self._using = settings.using
        self._bell = Bell()
        self._inbox = Inbox(self._bell.ring)
        self._make = make
        self._executors: dict[str, Executor] = {}
        self._held: dict[Key, HeldTask] = {}
        self._count: Counter[str] = Counter()  # held tasks that have not ended, by kind of executor
        self._mean_seconds: dict[str, float] = {}
        self._deadlines: list[tuple[float, Key, float, str]] = []  # when, whose, its start, why
        self._pending: dict[Key, Report] = {}
        self._writer = Writer(self._using, self._bell.ring)
        self._queue_woken = True
        self._control_woken = True
        self._claimed = 0
        self._exhausted = False
        self._wanted: frozenset[str] = frozenset()  # unless exhausted: the kinds that tasks wait for; empty: any
        self._was_busy = False
        self._next_control = 0.0
        self._next_strays = time.monotonic() + self._options.heartbeat
        self._next_look = 0.0
        self._pace = FIRST_PACE
        self._withdrawn: list[Key] = []
        self._failures = 0
        self._is_claiming = True
        self._ends: list[float] = []  # of the grace times
        self._forced = False
        self._called_back: Life | None = None  # said by another thread, and not heard yet
        self._next_life: Life | None = None
        self._live_as(worker_id, worker_name)
        self.ended = threading.Event()

    # -- from other threads ---------------------------------------------------------------------------------------

    def come_back(self, worker_id: int, worker_name: str) -> None:
        """We were taken for lost: let go of all tasks and, once they have ended, go on under this new Worker row."""
        self._called_back = worker_id, worker_name
        self._bell.ring()

    def stop(self, grace: float) -> None:
        """Claim no more; end the tasks by force after `grace` seconds. Again: the earlier end wins.

        Takes no lock, and may be interrupted by itself: signal handlers call it.
        """
        self._ends.append(time.monotonic() + grace)
        self._is_claiming = False
        self._bell.ring()

    def abandon(self, why: str) -> None:
        """Abort every run: the tasks are, or soon will be, another worker's. Any still ours end by their `on_stop`."""
        for task in list(self._held.values()):
            if not task.has_ended:
                self._let_go(task, why)

    def _let_go(self, task: HeldTask, why: str) -> None:
        if not task.is_aborting:
            task.is_aborting, task.is_stopping, task.abort_reason = True, True, why
        self._executors[task.kind].abort(task.key, why, 0)

    @property
    def running(self) -> int:
        return len(self._held)

    # -- its lives ------------------------------------------------------------------------------------------------

    def _live_as(self, worker_id: int, worker_name: str) -> None:
        """Work under this Worker row from now on."""
        self.worker_id, self.worker_name = worker_id, worker_name
        self._is_marked = False
        self._kinds = self._settings.kinds()
        claimant = Claimant(worker_id, worker_name, self._kinds, self._settings.queues)
        self._admission = Admission(self._using, claimant, options=self._options, assertions=self._settings.assertions)
        self._recorder = Recorder(self._using, worker_id, max_losses=self._options.max_losses)

    def _change_lives(self) -> None:
        if self._called_back:
            self._next_life, self._called_back = self._called_back, None
            self.abandon(TAKEN_FOR_LOST)
        # What has not ended and been written is the former life's: it may come back to us as the very same attempt.
        if self._next_life and not (self._held or self._pending or self._writer.batch):
            self._live_as(*self._next_life)
            self._next_life = None
            self._queue_woken = True

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Dispatch until stopped (or, in a burst, until nothing more can start) and every task has ended."""
        hub = notifier(self._using)
        with (
            hub.subscribe("queue", callback=self._wake_queue),
            hub.subscribe("ended", callback=self._wake_ended),
            hub.subscribe("control", callback=self._wake_control),
        ):
            while not self._is_over():
                self._bell.clear()
                try:
                    self._step()
                    self._failures = 0
                except DatabaseError:
                    self._recover()
                    continue
                self._bell.wait(self._pause_seconds())
        self.ended.set()

    def close(self) -> None:
        """After the loop."""
        self._writer.close()

    def _wake_queue(self) -> None:
        self._queue_woken = True
        self._bell.ring()

    def _wake_ended(self) -> None:
        """Some task has ended: that lets others start only where there are conditions."""
        if self._admission.needs_gate:
            self._wake_queue()

    def _wake_control(self) -> None:
        self._control_woken = True
        self._bell.ring()

    def _is_over(self) -> bool:
        return not (self._is_claiming or self._held or self._inbox or self._pending or self._writer.batch)

    def _step(self) -> None:
        self._take_in()
        self._write()
        self._change_lives()
        self._watch()
        if self._ends:
            self._wind_down()
        self._claim()
        self._end_by_itself()

    def _recover(self) -> None:
        """The database did not answer: wait a little longer each time, and go on with a new connection."""
        pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        if self._failures in (3, 30, 300):
            logger.warning("database fails worker_id=%s failures=%s", self.worker_id, self._failures, exc_info=True)
        connections[self._using].close()
        self._queue_woken = self._control_woken = True
        time.sleep(pause)

    def _pause_seconds(self) -> float:
        if self._is_claiming and not self._next_life and self._is_worth_a_pass():
            return 0
        now = time.monotonic()
        until = [self._next_look, self._next_control]
        until += [self._deadlines[0][0]] if self._deadlines else []
        until += [min(self._ends)] if self._ends and not self._forced else []
        return max(0.0, min(until) - now)

    # -- what came in ---------------------------------------------------------------------------------------------

    def _take_in(self) -> None:
        for what, key, value in self._inbox.drain():
            task = self._held.get(key)
            if task is None:
                continue
            if what == "started":
                self._started(task, value)
                continue
            report = self._pending.setdefault(key, Report(task))
            if what == "log":
                report.entries += value
            elif what == "progress":
                report.progress = value
            else:
                report.ended = value
                self._has_ended(task, value.ended)

    def _started(self, task: HeldTask, at: float) -> None:
        self._inbox.urgent.discard(task.key)
        task.started = at
        timeout, deadline = task.assignment.run_timeout, task.assignment.run_deadline
        if timeout is not None:
            self._set_deadline(task, at, timeout, f"run_timeout of {timeout:g} s exceeded")
        if deadline is not None:
            self._set_deadline(task, time.monotonic(), deadline - time.time(), "run_until reached")

    def _set_deadline(self, task: HeldTask, since: float, seconds: float, reason: str) -> None:
        if len(self._deadlines) > 1000 + 4 * len(self._held):  # long timeouts of short runs would pile up
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._held]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (since + seconds, task.key, task.started or since, reason))

    def _write(self) -> None:
        self._settle()
        if self._pending and not self._writer.batch:
            reports, self._pending = list(self._pending.values()), {}
            self._writer.hand_over(reports, self._recorder)
            self._settle()

    def _settle(self) -> None:
        """Draw the consequences of what has been written."""
        written = self._writer.collect()
        if written is None:
            return
        reports, tasks = written
        lost = {task.key for task in tasks}
        for report in reports:
            task = report.task
            if report.ended is not None:
                del self._held[task.key]
            elif task.key in lost:
                logger.warning("task is held by another now task_id=%s", task.held.uuid)
                self._let_go(task, "the task is held by another worker now")
            if task.key not in lost:
                settle(report)

    def _has_ended(self, task: HeldTask, ended: float) -> None:
        """Its slot is free, though the end is not written yet."""
        task.has_ended = True
        self._inbox.urgent.discard(task.key)
        self._count[task.kind] -= 1
        if task.started is not None:
            seconds = max(0.0, time.monotonic() - task.started - max(0.0, time.time() - ended))
            mean = self._mean_seconds.get(task.kind, seconds)
            self._mean_seconds[task.kind] = mean + 0.05 * (seconds - mean) if seconds < 10 * mean else seconds

    # -- what runs ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, key, started, reason = heapq.heappop(self._deadlines)
            task = self._held.get(key)
            # An attempt that did not count comes back under the same key: its time began anew.
            if task is not None and task.started == started and not task.is_aborting and not task.has_ended:
                lifecycle.note_abort(task.held, reason, using=self._using)
                self._abort(task, reason)
        if self._control_woken or now >= self._next_control:
            self._control_woken = False
            is_live = notifier(self._using).is_live
            self._next_control = now + (CONTROL_SECONDS if is_live else min(0.5, self._options.poll_interval))
            self._look_for_aborts()
        if now >= self._next_strays:
            self._next_strays = now + self._options.heartbeat
            release_strays(self._using, self.worker_id, self._held)

    def _look_for_aborts(self) -> None:
        if not self._held:
            return
        asked = Task.objects.using(self._using).filter(
            worker_id=self.worker_id, status=Status.RUNNING, abort_requested_at__isnull=False
        )
        for pk, attempt, reason in asked.values_list("id", "attempt", "abort_reason"):
            task = self._held.get((pk, attempt))
            if task is not None and not task.has_ended and (not task.is_aborting or task.is_stopping):
                task.is_stopping = False
                self._abort(task, reason)

    def _abort(self, task: HeldTask, reason: str | None) -> None:
        task.is_aborting, task.abort_reason = True, reason
        self._executors[task.kind].abort(task.key, reason or "aborted", task.abort_grace)

    def _wind_down(self) -> None:
        """After stop(): give back what has not begun; after the grace time, end the rest."""
        for executor in self._executors.values():
            self._withdrawn += [assignment.key for assignment in executor.withdraw()]
        while self._withdrawn:  # kept until it is written: the database may be away just now
            task = self._held.get(self._withdrawn[-1])
            if task is not None:
                self._give_back(task)
            self._withdrawn.pop()
        if self._ends and not self._forced and time.monotonic() >= min(self._ends):
            self._forced = True
            for task in self._held.values():
                if not task.is_aborting and not task.has_ended:
                    task.is_aborting = task.is_stopping = True
                    self._executors[task.kind].abort(task.key, "the worker stops", task.abort_grace)
        if not self._is_marked:
            row = Worker.objects.using(self._using).filter(pk=self.worker_id)
            row.update(stopping_at=self._now())
            self._is_marked = True

    def _give_back(self, task: HeldTask) -> None:
        now = self._now()
        if task.is_aborting and not task.is_stopping:
            lifecycle.aborted(task.held, task.abort_reason, now=now, using=self._using)
        else:
            lifecycle.postponed(task.held, None, Outcome.STOPPED, now=now, using=self._using)
        del self._held[task.key]
        self._count[task.kind] -= 1

    # -- what may start -------------------------------------------------------------------------------------------

    def _free(self) -> dict[str, int]:
        return {kind: max(0, self._capacity(kind) - self._count[kind]) for kind in self._used_kinds()}

    def _free_slots(self) -> dict[str, int]:
        return {kind: max(0, self._settings.slots[kind] - self._count[kind]) for kind in self._used_kinds()}

    def _used_kinds(self) -> set[str]:
        return set(self._kinds.values())

    def _capacity(self, kind: str) -> int:
        """Slots, and as much more as will be begun within a moment: so a short run does not wait for the database."""
        slots = self._settings.slots[kind]
        mean = self._mean_seconds.get(kind)
        if mean is None or not self._options.prefetch_seconds or self._options.max_losses == 1:
            return slots
        return slots + min(MAX_PREFETCH, int(slots * self._options.prefetch_seconds / max(mean, 1e-4)))

    def _is_worth_a_pass(self, *, is_time: bool = False) -> bool:
        """Is there a place for what may be waiting?"""
        if len(self._held) - self._count.total() > MAX_UNWRITTEN:
            return False
        if self._queue_woken or is_time:
            return self._has_room(self._used_kinds())
        return not self._exhausted and self._has_room(self._wanted or self._used_kinds())

    def _has_room(self, kinds: Collection[str]) -> bool:
        """For any of these kinds; with many short runs in hand, not for each that ends."""
        for kind in kinds:
            capacity, held = self._capacity(kind), self._count[kind]
            if held < capacity and (capacity <= self._settings.slots[kind] or capacity - held >= capacity // 4):
                return True
        return False

    def _claim(self) -> None:
        now = time.monotonic()
        is_time = now >= self._next_look
        if not self._is_claiming or self._next_life or not self._is_worth_a_pass(is_time=is_time):
            if now >= self._next_look:
                self._next_look = now + self._options.poll_interval
            return
        self._queue_woken = False
        limit = MAX_BATCH
        if self._settings.max_tasks is not None:
            limit = min(limit, self._settings.max_tasks - self._claimed)
        free = self._free()
        if limit <= 0 or not any(free.values()):
            return
        result = self._admission.run_pass(free, limit, self._free_slots())
        if result.claimed:
            self._begin(result.claimed, result.now or self._now())
        full = len(result.claimed) == min(limit, sum(free.values()))
        self._exhausted = not (result.unfinished or result.wanted or full)
        self._wanted = result.wanted
        self._pace = FIRST_PACE if result.claimed else min(self._pace * PACE_GROWTH, self._options.poll_interval)
        pause = self._seconds_to_next_due()
        if not notifier(self._using).is_live:  # no wake-up comes: look by the clock, often while there is work
            pause = min(pause, self._pace)
        self._next_look = time.monotonic() + pause
        self._tell_state(bool(result.claimed))

    def _begin(self, rows: Sequence[ClaimedRow], now: datetime) -> None:
        assignments: dict[str, list[Assignment]] = {}
        for row in rows:
            if task := self._hold(row, now):
                assignments.setdefault(task.kind, []).append(task.assignment)
                self._claimed += 1
        for kind, submitted in assignments.items():
            self._count[kind] += len(submitted)
            if kind not in self._executors:
                self._executors[kind] = self._make(kind, self._settings.slots[kind], self._inbox)
            self._executors[kind].submit_all(submitted)

    def _hold(self, row: ClaimedRow, now: datetime) -> HeldTask | None:
        """None: its run is still here. We were taken for lost without our knowing, and the task has come back to us."""
        kind = self._kinds[row.operation]
        assigned = self._settings.registry.get(row.operation)
        task = hold(row, kind=kind, worker_id=self.worker_id, now=now, options=self._options, assigned=assigned)
        if going_on := self._held.get(task.key):
            going_on.renew(task)
            return None
        self._held[task.key] = task
        if task.assignment.run_timeout is not None or task.assignment.run_deadline is not None:
            self._inbox.urgent.add(task.key)
        return task

    def _seconds_to_next_due(self) -> float:
        """Until the next look: the poll interval, or less when a task's `run_at` comes sooner."""
        longest = self._options.poll_interval
        if not self._exhausted:
            return longest
        later = Task.objects.using(self._using).filter(status=Status.NEW, hold=1).order_by("run_at")
        run_at = later.values_list("run_at", flat=True).first()
        if run_at is None:
            return longest
        return min(longest, max(0.0, (run_at - self._now()).total_seconds()) + 0.001)

    def _tell_state(self, claimed: bool) -> None:
        if claimed or self._held:
            self._was_busy = True
        if self._exhausted and self._was_busy and not claimed:
            self._say("empty-queue")
            if not self._held:
                self._was_busy = False
                self._say("idle")

    def _say(self, name: str) -> None:
        emit([Happening(name, None, {})], topics=[], using=self._using)

    def _end_by_itself(self) -> None:
        settings = self._settings
        is_full = settings.max_tasks is not None and self._claimed >= settings.max_tasks
        is_dry = settings.burst and self._exhausted and not self._held and not self._queue_woken
        if is_full or is_dry:
            self._is_claiming = False

    def _now(self) -> datetime:
        return database(self._using).now(connections[self._using])

    @property
    def executors(self) -> Mapping[str, Executor]:
        return self._executors
