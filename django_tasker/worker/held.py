"""What a worker knows of the attempts it holds, from the claim to the end that it writes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from cronsim import CronSim
from django.utils import timezone

from ..admission.passes import ClaimedRow
from ..conf import Options
from ..lifecycle import Held
from ..registry import Assigned
from .messages import Assignment

Key = tuple[int, int]


@dataclass(slots=True)
class HeldTask:
    """One attempt in this worker."""

    held: Held
    assignment: Assignment
    kind: str  # of executor
    log_bytes: int
    log_count: int  # entries stored, the task's number of the last one
    warning_count: int
    error_count: int
    abort_grace: float
    started: float | None = None  # monotonic
    has_ended: bool = False  # its end is known here, and perhaps not written yet
    abort_reason: str | None = None
    is_aborting: bool = False
    is_stopping: bool = False  # told to end only because the worker stops

    @property
    def key(self) -> Key:
        return self.held.id, self.held.attempt

    def renew(self, again: HeldTask) -> None:
        """Go on under another claim of the same attempt by the same worker."""
        self.held = again.held
        self.log_bytes, self.log_count = again.log_bytes, again.log_count
        self.warning_count, self.error_count = again.warning_count, again.error_count


def hold(
    row: ClaimedRow, *, kind: str, worker_id: int, now: datetime, options: Options, assigned: Assigned | None
) -> HeldTask:
    """What is needed to run, watch and end a claimed task, by the settings and what its runner was assigned with."""
    defaults = assigned.defaults if assigned else {}
    held = Held(
        id=row.id,
        uuid=row.uuid,
        operation=row.operation,
        attempt=row.attempt,
        worker_id=worker_id,
        max_attempts=row.max_attempts,
        retry_delay=row.retry_delay,
        keep_for=row.keep_for,
        on_stop=row.on_stop,
        losses=row.losses,
        started_at=now,
    )
    assignment = Assignment(
        id=row.id,
        uuid=row.uuid,
        operation=row.operation,
        queue=row.queue,
        data=row.data,
        priority=row.priority,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        log_level=level_number(defaults.get("log_level"), options),
        log_entries_left=max(0, options.log_max_entries - row.log_count),
        log_bytes_left=max(0, options.log_max_bytes - row.log_bytes),
        run_timeout=row.run_timeout,
        run_deadline=None if row.run_until is None else next_time(row.run_until, now),
    )
    return HeldTask(
        held,
        assignment,
        kind,
        row.log_bytes,
        row.log_count,
        row.warning_count,
        row.error_count,
        defaults.get("abort_grace", options.abort_grace),
    )


def level_number(level: str | int | None, options: Options) -> int:
    """The least severe level to capture; None: the one of the settings."""
    if level is None:
        return options.log_level_number
    return logging.getLevelNamesMapping()[level.upper()] if isinstance(level, str) else level


def next_time(cron: str, after: datetime) -> float:
    """The next time, in unix seconds, that a cron expression names, by the clock of the project's time zone."""
    return float(next(CronSim(cron, timezone.localtime(after))).timestamp())
