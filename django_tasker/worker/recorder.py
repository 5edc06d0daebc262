"""Writes what executors report: log entries, progress and ends, many tasks in one transaction."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DatabaseError, connections

from .. import lifecycle
from ..databases import database, in_transaction
from ..events import Happening, emit
from ..models import Task, TaskLog
from ..statuses import Outcome
from .held import HeldTask, Key
from .messages import Ended, Entry

logger = logging.getLogger(__name__)

_COUNT_COLUMNS = [
    ("log_count", "int"),
    ("warning_count", "int"),
    ("error_count", "int"),
    ("log_bytes", "bigint"),
]


@dataclass(slots=True)
class Report:
    """What came in of one attempt and is not written yet."""

    task: HeldTask
    entries: list[Entry] = field(default_factory=list)
    progress: dict[str, Any] | None = None
    ended: Ended | None = None


class Inbox:
    """The executors' `Sink`: takes what they report from any thread, and wakes the dispatcher."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._items: deque[tuple[str, Key, Any]] = deque()
        self.urgent: set[Key] = set()
        """Attempts whose start must be known at once: their time runs from it."""

    def started(self, key: Key) -> None:
        self._items.append(("started", key, time.monotonic()))
        if key in self.urgent:
            self._wake()

    def log(self, key: Key, entries: list[Entry]) -> None:
        self._items.append(("log", key, entries))
        self._wake()

    def progress(self, key: Key, progress: dict[str, Any]) -> None:
        self._items.append(("progress", key, progress))
        self._wake()

    def ended(self, ended: Ended) -> None:
        self._items.append(("ended", (ended.id, ended.attempt), ended))
        self._wake()

    def __bool__(self) -> bool:
        return bool(self._items)

    def drain(self) -> Iterator[tuple[str, Key, Any]]:
        """Take out what is there now."""
        for _ in range(len(self._items)):
            yield self._items.popleft()


class Recorder:
    """Turns reports into rows. Used by the dispatcher's thread alone."""

    def __init__(self, using: str, worker_id: int, *, max_losses: int) -> None:
        self.using = using
        self.worker_id = worker_id
        self._max_losses = max_losses
        self._is_unsure = False

    def write(self, reports: Sequence[Report]) -> list[HeldTask]:
        """Write them all; return the tasks that are not this worker's any more (nothing was written of those).

        Raises:
            DatabaseError: nothing was written; the same reports may be given again.
        """
        try:
            return self._commit(reports)
        except DatabaseError as error:
            if len(reports) == 1 or database(self.using).is_transient(error):
                raise
        # One of them holds what the database refuses: it must not take the others with it.
        lost: list[HeldTask] = []
        for report in reports:
            lost += self._write_alone(report)
        return lost

    def _commit(self, reports: Sequence[Report]) -> list[HeldTask]:
        """Write them in one transaction. After a failure we can't be sure that nothing was: the answer to a commit
        may have been lost with the connection. What is written again then, under our guard, is the very same.
        """

        def work() -> list[HeldTask]:
            lost = self._write(reports)
            self._is_unsure = True
            return lost

        lost = in_transaction(self.using, work)
        self._is_unsure = False
        return lost

    def _write_alone(self, report: Report) -> list[HeldTask]:
        try:
            return self._commit([report])
        except DatabaseError as error:
            if database(self.using).is_transient(error):
                raise
            logger.exception("report could not be stored task_id=%s", report.task.held.uuid)
            report.entries = []
            if report.ended is not None:
                what = {
                    "type": "NotStorable",
                    "message": f"The database refused the outcome: {error}",
                    "traceback": None,
                }
                report.ended = Ended(*report.task.key, "failed", error=what, ended=report.ended.ended)
            return self._commit([report])

    # -- one transaction ------------------------------------------------------------------------------------------

    def _write(self, reports: Sequence[Report]) -> list[HeldTask]:
        now = database(self.using).now(connections[self.using])
        rows = {report.task.key: self._entries(report) for report in reports}
        done: list[Report] = []
        others: list[Report] = []
        for report in reports:
            (done if report.ended is not None and report.ended.kind == "done" else others).append(report)
        hit = self._progress([r for r in reports if r.progress is not None], now)
        hit |= self._done(done, now) | self._counts([r for r in others if r.entries], now)
        self._insert([entry for report in reports if report.task.held.id in hit for entry in rows[report.task.key]])
        lost = [r.task for r in reports if r.task.held.id not in hit and (r.ended is None or r.ended.kind == "done")]
        for report in others:
            if report.ended is not None and not self._end(report.task, report.ended, now):
                lost.append(report.task)
        self._tell([r for r in reports if r.task.held.id in hit], rows)
        return lost

    def _entries(self, report: Report) -> list[TaskLog]:
        """The report's entries, numbered after those the task has."""
        entries = report.entries
        if report.ended is not None and report.ended.logs_dropped:
            text = f"{report.ended.logs_dropped:,} more log entries were dropped: the task's cap was reached."
            entries = [*entries, Entry(report.ended.ended, logging.WARNING, "django_tasker", text)]
            # Kept with the report, once: the transaction may be run again after a conflict.
            report.entries, report.ended.logs_dropped = entries, 0
        if not entries:
            return []
        task = report.task
        return [
            TaskLog(
                task_id=task.held.id,
                seq=task.log_count + index,
                attempt=task.held.attempt,
                level=entry.level,
                logger=entry.logger[:200],
                message=entry.message,
                traceback=entry.traceback,
                extra=entry.extra,
                created_at=datetime.fromtimestamp(entry.created, UTC),
            )
            for index, entry in enumerate(entries, 1)
        ]

    def _done(self, reports: Sequence[Report], now: datetime) -> set[int]:
        if not reports:
            return set()
        done = [
            lifecycle.DoneRow(r.task.held, r.ended.result if r.ended else None, *counters(r.task, r.entries))
            for r in reports
        ]
        return lifecycle.done(done, worker_id=self.worker_id, now=now, using=self.using)

    def _counts(self, reports: Sequence[Report], now: datetime) -> set[int]:
        if not reports:
            return set()
        stamp = connections[self.using].ops.adapt_datetimefield_value(now)
        values = [(r.task.held.id, r.task.held.attempt, *counters(r.task, r.entries)) for r in reports]
        return self._update(_COUNT_COLUMNS, values, [("updated_at", stamp)])

    def _progress(self, reports: Sequence[Report], now: datetime) -> set[int]:
        if not reports:
            return set()
        stamp = connections[self.using].ops.adapt_datetimefield_value(now)
        values = [(r.task.held.id, r.task.held.attempt, json.dumps(r.progress, ensure_ascii=False)) for r in reports]
        return self._update([("progress", "jsonb")], values, [("updated_at", stamp)])

    def _update(
        self, columns: list[tuple[str, str]], values: list[tuple[Any, ...]], constants: list[tuple[str, Any]]
    ) -> set[int]:
        return database(self.using).guarded_update(
            connections[self.using], Task._meta.db_table, self.worker_id, columns, values, constants
        )

    def _insert(self, entries: list[TaskLog]) -> None:
        if entries:
            rows = TaskLog.objects.using(self.using)
            rows.bulk_create(entries, batch_size=500, ignore_conflicts=self._is_unsure)

    def _end(self, task: HeldTask, ended: Ended, now: datetime) -> bool:
        """Write an end other than done; False when the task is not this worker's any more."""
        held, using = task.held, self.using
        if task.is_aborting or ended.kind == "aborted":
            return self._end_aborted(task, ended, now)
        if ended.kind == "failed":
            return lifecycle.failed(held, ended.error or {}, now=now, using=using)
        if ended.kind == "retry":
            error = ended.error or {"type": "Retry", "message": ended.reason, "traceback": None}
            if held.attempt >= held.max_attempts or ended.delay is None:
                return lifecycle.failed(held, error, now=now, using=using)
            return lifecycle.retry(held, error, ended.delay, now=now, using=using)
        if ended.kind == "postpone":
            return lifecycle.postponed(held, _run_at(ended, now), Outcome.POSTPONED, now=now, using=using)
        why = (ended.error or {}).get("message") or "The run died."
        return lifecycle.lost(held, why, max_losses=self._max_losses, now=now, using=using)

    def _end_aborted(self, task: HeldTask, ended: Ended, now: datetime) -> bool:
        if task.is_stopping:
            if task.held.on_stop == "postpone":
                return lifecycle.postponed(task.held, None, Outcome.STOPPED, now=now, using=self.using)
            return lifecycle.aborted(task.held, task.abort_reason or "the worker stopped", now=now, using=self.using)
        reason = task.abort_reason if task.abort_reason is not None else ended.reason
        return lifecycle.aborted(task.held, reason, error=ended.error, now=now, using=self.using)

    def _tell(self, reports: Sequence[Report], rows: dict[Key, list[TaskLog]]) -> None:
        def happenings() -> Iterator[Happening]:
            for report in reports:
                for entry in rows[report.task.key]:
                    yield Happening("task.log", report.task.held.uuid, {"log": _log_dict(entry)})
                if report.progress is not None:
                    yield Happening("task.progress", report.task.held.uuid, {"progress": report.progress})

        telling = [r for r in reports if r.entries or r.progress is not None]
        if telling:
            topics = [f"task:{r.task.held.uuid}" for r in telling]
            emit(happenings, topics=topics, using=self.using, names=("task.log", "task.progress"))


def settle(report: Report) -> None:
    """After the commit: count what was written, so that the next entries are numbered after it."""
    task = report.task
    task.log_count, task.warning_count, task.error_count, task.log_bytes = counters(task, report.entries)


def counters(task: HeldTask, entries: Sequence[Entry]) -> tuple[int, int, int, int]:
    """The task's counts of entries, warnings, errors and bytes once `entries` are added."""
    if not entries:
        return task.log_count, task.warning_count, task.error_count, task.log_bytes
    return (
        task.log_count + len(entries),
        task.warning_count + sum(logging.WARNING <= entry.level < logging.ERROR for entry in entries),
        task.error_count + sum(entry.level >= logging.ERROR for entry in entries),
        task.log_bytes + sum(entry.size for entry in entries),
    )


def _run_at(ended: Ended, now: datetime) -> datetime | None:
    if ended.until is not None:
        return datetime.fromtimestamp(ended.until, UTC)
    return None if ended.delay is None else now + timedelta(seconds=ended.delay)


def _log_dict(entry: TaskLog) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "attempt": entry.attempt,
        "level": entry.level,
        "logger": entry.logger,
        "message": entry.message,
        "traceback": entry.traceback,
        "extra": entry.extra,
        "created_at": entry.created_at.isoformat(),
    }
