"""The columns of the list of tasks, as markup without inline style."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import Task
from ..statuses import Status


def status_badge(task: Task) -> SafeString:
    """The status as a coloured word; "aborting" for a running task that was told to stop."""
    status = "aborting" if task.is_aborting else task.status
    label = _("aborting") if task.is_aborting else Status(task.status).label
    return format_html('<span class="tasker-status" data-status="{}">{}</span>', status, label)


def time_ago(moment: datetime | None) -> SafeString:
    """A moment that the browser shows relative to now; the absolute time without scripts, and as a tooltip."""
    if moment is None:
        return SafeString("-")
    absolute = formats.date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    return format_html(
        '<time class="tasker-time" datetime="{}" title="{}">{}</time>', moment.isoformat(), absolute, absolute
    )


def duration_text(seconds: float) -> str:
    """A duration in at most two units: 0.3 s, 12 s, 3 min 4 s, 2 h 5 min, 3 d 4 h."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {part_unit}"
    return f"{whole} s"


def duration_of(task: Task) -> timedelta | None:
    """How long the latest attempt took, or has taken so far."""
    if task.started_at is None or task.status == Status.NEW:
        return None
    return (task.ended_at or timezone.now()) - task.started_at


def number_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")
    return str(value)


def progress_bar(task: Task, *, is_short: bool = False) -> SafeString:
    """What the runner last said of its progress; `is_short` leaves the message to the tooltip."""
    progress = task.progress if isinstance(task.progress, dict) else None
    if not progress:
        return SafeString("")
    current, total, message = progress.get("current"), progress.get("total"), progress.get("message") or ""
    numbers = number_text(current) if total is None else f"{number_text(current)} / {number_text(total)}"
    text = f"{numbers} {message}".strip()
    if isinstance(total, int | float) and total > 0 and isinstance(current, int | float):
        bar = format_html(
            '<progress value="{}" max="{}" aria-label="{}"></progress> ', min(current, total), total, text
        )
    elif task.status == Status.RUNNING:
        bar = format_html('<progress aria-label="{}"></progress> ', text)
    else:
        bar = SafeString("")
    shown = numbers if is_short else text
    return format_html('<span class="tasker-progress" title="{}">{}<bdi>{}</bdi></span>', text, bar, shown)


class TaskColumns:
    """The `list_display` of the task admin."""

    @admin.display(description=gettext_lazy("task"), ordering="operation")
    def task_name(self, task: Task) -> SafeString:
        return format_html(
            '<span class="tasker-operation">{}</span> <span class="tasker-uuid">{}</span>{}',
            task.operation,
            str(task.uuid)[:8],
            format_html(' <span class="tasker-queue">{}</span>', task.queue) if task.queue != "default" else "",
        )

    @admin.display(description=gettext_lazy("status"))
    def status_shown(self, task: Task) -> SafeString:
        return status_badge(task)

    @admin.display(description=gettext_lazy("priority"), ordering="priority")
    def priority_shown(self, task: Task) -> SafeString:
        return format_html('<bdi title="{}">{}</bdi>', _("The smallest runs first."), number_text(task.priority))

    @admin.display(description=gettext_lazy("progress"))
    def progress_shown(self, task: Task) -> SafeString:
        return progress_bar(task, is_short=True)

    @admin.display(description=gettext_lazy("attempts"))
    def attempts_shown(self, task: Task) -> str:
        return f"{task.attempt} / {task.max_attempts}" if task.max_attempts > 1 else str(task.attempt)

    @admin.display(description=gettext_lazy("log"))
    def log_shown(self, task: Task) -> SafeString:
        parts = []
        if task.error_count:
            parts.append(format_html('<b class="tasker-errors" title="{}">{}</b>', _("errors"), task.error_count))
        if task.warning_count:
            parts.append(format_html('<b class="tasker-warnings" title="{}">{}</b>', _("warnings"), task.warning_count))
        parts.append(format_html('<span title="{}">{}</span>', _("log entries"), task.log_count))
        return format_html_join(" ", "{}", ((part,) for part in parts))

    @admin.display(description=gettext_lazy("duration"))
    def duration_shown(self, task: Task) -> str:
        duration = duration_of(task)
        return "-" if duration is None else duration_text(duration.total_seconds())

    @admin.display(description=gettext_lazy("added"), ordering="id")
    def added_shown(self, task: Task) -> SafeString:
        return time_ago(task.added_at)

    @admin.display(description=gettext_lazy("ended"), ordering="ended_at")
    def ended_shown(self, task: Task) -> SafeString:
        return time_ago(task.ended_at)

    @admin.display(description=gettext_lazy("worker"), ordering="worker_name")
    def worker_shown(self, task: Task) -> str:
        return task.worker_name or "-"
