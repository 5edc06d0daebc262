"""The numbers of the dashboard, each from a query whose cost is bounded or shared.

What has to count all tasks is kept for as long as twenty times its own cost, so that however many look at the
dashboard of a large table, counting takes no more than a twentieth of one database connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.core.cache import cache
from django.db.models import Count, Value
from django.utils import timezone

from ..conf import options
from ..databases import alias
from ..facade import count_by_operation, oldest_waiting_at
from ..models import Pause, Task, Worker
from ..statuses import ENDED, Status

RUNNING_SHOWN = 20
OPERATIONS_SHOWN = 50
WORKERS_SHOWN = 50
WARNINGS_SHOWN = 3
SHARE = 20
HEIGHT = 100

Result = TypeVar("Result")


@dataclass
class OperationRow:
    """One operation: its tasks by status, whether it is paused, and whether a live worker runs it."""

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    is_paused: bool = False
    is_served: bool = False

    @property
    def cells(self) -> list[tuple[str, int]]:
        return [(str(status.value), self.counts.get(status, 0)) for status in Status]


@dataclass
class WorkerRow:
    worker: Worker
    is_lost: bool

    @property
    def slots(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.worker.slots.items())


@dataclass(frozen=True)
class Bar:
    """One piece of a column of the chart, in a drawing 100 high."""

    x: int
    y: float
    height: float
    status: str
    title: str


@dataclass
class Chart:
    """Ended tasks by time."""

    bars: list[Bar]
    totals: dict[str, int]
    columns: int
    first: datetime
    highest: int

    @property
    def total(self) -> int:
        return sum(self.totals.values())


def dashboard() -> dict[str, Any]:
    """The context of `dashboard.html`."""
    now = timezone.now()
    paused = list(Pause.objects.order_by("kind", "name"))
    workers = [WorkerRow(w, _is_lost(w, now)) for w in Worker.objects.order_by("name")[:WORKERS_SHOWN]]
    counts, oldest = _shared("counts", _count)
    operations = _operations(counts, paused, workers)
    unserved = [row for row in operations if row.counts.get(Status.NEW) and not row.is_served]
    return {
        "totals": {status.value: sum(row.counts.get(status, 0) for row in operations) for status in Status},
        "operations": operations[:OPERATIONS_SHOWN],
        "hidden_operations": max(len(operations) - OPERATIONS_SHOWN, 0),
        "unserved": unserved[:WARNINGS_SHOWN],
        "more_unserved": max(len(unserved) - WARNINGS_SHOWN, 0),
        "oldest_waiting_at": oldest,
        "paused": paused,
        "workers": workers,
        "running": list(
            Task.objects.running().order_by("started_at").defer("data", "result", "error")[: RUNNING_SHOWN + 1]
        ),
        "hour": _shared("hour", lambda: chart(now, minutes=60, step=2)),
        "day": _shared("day", lambda: chart(now, minutes=24 * 60, step=60)),
        "statuses": list(Status),
    }


def _is_lost(worker: Worker, now: datetime) -> bool:
    return (now - worker.heartbeat_at).total_seconds() > options().lease


def _count() -> tuple[dict[str, dict[str, int]], datetime | None]:
    return count_by_operation(using=alias()), oldest_waiting_at(using=alias())


def _operations(counts: dict[str, dict[str, int]], paused: list[Pause], workers: list[WorkerRow]) -> list[OperationRow]:
    stopped = {pause.name for pause in paused if pause.kind == Pause.Kind.OPERATION}
    served = {name for row in workers if not row.is_lost for name in row.worker.operations}
    names = sorted(counts.keys() | stopped)
    rows = [OperationRow(name, counts.get(name, {}), name in stopped, name in served) for name in names]
    return sorted(rows, key=lambda row: (-row.counts.get(Status.NEW, 0) - row.counts.get(Status.RUNNING, 0), row.name))


def chart(now: datetime, *, minutes: int, step: int) -> Chart:
    """Columns of `step` minutes over the last `minutes`, from one query over the index of `ended_at`."""
    columns = minutes // step
    last = now.astimezone(UTC).replace(second=0, microsecond=0)
    last -= timedelta(minutes=(last.hour * 60 + last.minute) % step)
    first = last - timedelta(minutes=step * (columns - 1))
    found: dict[int, dict[str, int]] = {}
    for status, count, column in _ended_by_column(first, timedelta(minutes=step), columns):
        found.setdefault(column, {})[status] = count
    highest = max((sum(here.values()) for here in found.values()), default=0)
    bars = [bar for column, here in sorted(found.items()) for bar in _column(column, here, highest, first, step)]
    totals = {str(status): sum(here.get(status, 0) for here in found.values()) for status in ENDED}
    return Chart(bars, totals, columns, first, highest)


def _ended_by_column(first: datetime, step: timedelta, columns: int) -> Any:
    """(status, count, column) in one statement of short walks along the index; truncating times would read them all
    through a function, which takes SQLite ten times as long."""
    parts = [
        Task.objects.filter(ended_at__gte=first + step * column, ended_at__lt=first + step * (column + 1))
        .order_by()
        .values("status")
        .annotate(count=Count("id"), column=Value(column))
        .values_list("status", "count", "column")
        for column in range(columns)
    ]
    return parts[0].union(*parts[1:], all=True)


def _column(column: int, here: dict[str, int], highest: int, first: datetime, step: int) -> list[Bar]:
    bars, top = [], float(HEIGHT)
    at = timezone.localtime(first + timedelta(minutes=column * step)).strftime("%H:%M")
    for status in ENDED:
        count = here.get(status, 0)
        if count:
            height = max(HEIGHT * count / highest, 1.5)
            top -= height
            bars.append(
                Bar(column, round(top, 2), round(height, 2), str(status.value), f"{at} {status.label}: {count}")
            )
    return bars


def _shared(name: str, ask: Callable[[], Result]) -> Result:
    key = f"django_tasker.dashboard.{alias()}.{name}"
    kept: tuple[Result] | None = cache.get(key)
    if kept is not None:
        return kept[0]
    started = time.monotonic()
    value = ask()
    seconds = int((time.monotonic() - started) * SHARE)
    if seconds >= 1:  # what is quick is asked anew
        cache.set(key, (value,), seconds)
    return value
