"""What the page of one task shows: its life, its attempts, its JSON, what it waits for and what waits for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..admission.explain import Reason
from ..conditions import LATER, from_reason
from ..errors import TaskerError
from ..facade import tasker
from ..models import Attempt, Stream, Task
from ..statuses import Outcome, Status
from . import failures
from .columns import duration_text
from .json_tree import JsonTree

MAX_ATTEMPTS = 50
MAX_STREAMS = 200
MAX_BLOCKED = 20


@dataclass
class Moment:
    """One line of the timeline."""

    at: datetime
    kind: str
    text: str
    detail: str = ""


@dataclass
class AttemptShown:
    """One attempt, earlier or the latest."""

    number: int
    outcome: str
    label: str
    worker: str | None
    started_at: datetime | None
    ended_at: datetime | None
    error: dict[str, Any] | None
    traceback: failures.Traceback | None = None

    @property
    def duration(self) -> str:
        if self.started_at is None or self.ended_at is None:
            return ""
        return duration_text((self.ended_at - self.started_at).total_seconds())


@dataclass
class JsonShown:
    """One JSON field of a task."""

    name: str
    label: str
    html: str
    is_cut: bool


@dataclass
class ReasonShown:
    """Why a task waits, with the tasks in the way."""

    text: str
    condition: str = ""
    tasks: list[Task] = field(default_factory=list)
    more: int = 0


def attempts(task: Task) -> list[AttemptShown]:
    """The attempts, the latest first; it stands on the task's own row once it has started."""
    shown = [_earlier(attempt) for attempt in task.earlier_attempts.order_by("-id")[:MAX_ATTEMPTS]]
    if task.status != Status.NEW and task.started_at is not None:
        label = _("running") if task.status == Status.RUNNING else str(Outcome(task.status).label)
        error = task.error if task.status != Status.DONE else None
        shown.insert(0, _shown(task, task.attempt, task.status, label, error))
    return shown


def _earlier(attempt: Attempt) -> AttemptShown:
    return _shown(attempt, attempt.number, attempt.outcome, str(Outcome(attempt.outcome).label), attempt.error)


def _shown(row: Task | Attempt, number: int, outcome: str, label: str, error: Any) -> AttemptShown:
    error = error if isinstance(error, dict) else None
    traceback = failures.split(error.get("traceback")) if error else None
    return AttemptShown(number, outcome, label, row.worker_name, row.started_at, row.ended_at, error, traceback)


def timeline(task: Task, shown: list[AttemptShown]) -> list[Moment]:
    """What happened to the task, in the order of time."""
    return sorted(_moments(task, shown), key=lambda moment: moment.at)


def _moments(task: Task, shown: list[AttemptShown]) -> Iterator[Moment]:
    by = _("by %(user)s") % {"user": task.added_by} if task.added_by else ""
    yield Moment(task.added_at, "added", _("added"), by)
    for attempt in shown:
        what = _("attempt %(number)d") % {"number": attempt.number}
        if attempt.started_at:
            on = _("on %(worker)s") % {"worker": attempt.worker} if attempt.worker else ""
            yield Moment(attempt.started_at, "started", _("started"), f"{what} {on}".strip())
        if attempt.ended_at:
            yield Moment(attempt.ended_at, attempt.outcome, attempt.label, _ended_detail(task, attempt, what))
    if task.abort_requested_at:
        yield Moment(task.abort_requested_at, "aborting", _("told to abort"), task.abort_reason or "")
    if task.is_ended and task.started_at is None and task.ended_at:
        yield Moment(task.ended_at, task.status, str(Status(task.status).label), task.abort_reason or _message(task))
    if task.status == Status.NEW and task.run_at:
        yield Moment(task.run_at, "due", _("due"))


def _ended_detail(task: Task, attempt: AttemptShown, what: str) -> str:
    if attempt.outcome == Status.ABORTED and attempt.number == task.attempt and task.abort_reason:
        return f"{what}: {task.abort_reason}"
    message = str((attempt.error or {}).get("message") or (attempt.error or {}).get("type") or "")
    return f"{what}: {message[:300]}" if message else what


def _message(task: Task) -> str:
    return str(task.error.get("message", ""))[:300] if isinstance(task.error, dict) else ""


def json_fields(task: Task) -> list[JsonShown]:
    """Data, result, error and conditions; those that hold nothing are left out."""
    labels = {"data": _("Data"), "result": _("Result"), "concurrency": _("Concurrency conditions")}
    found = []
    for name, label in labels.items():
        value = getattr(task, name)
        if value is None or (name == "concurrency" and not value):
            continue
        tree = JsonTree(value)
        found.append(JsonShown(name, label, tree.render(), tree.is_cut))
    return found


# -- what it waits for ----------------------------------------------------------------------------------------------


def explanation(task: Task) -> dict[str, Any] | None:
    """Why a new task is not running; None for others."""
    if task.status != Status.NEW:
        return None
    try:
        found = tasker.explain_task(task)
    except TaskerError as error:  # it was changed, or its conditions can't be read any more
        return {"reasons": [ReasonShown(str(error))], "place": None, "warnings": []}
    uuids = [uuid for reason in found.reasons for uuid in reason.tasks]
    known = {str(t.uuid): t for t in Task.objects.filter(uuid__in=uuids).only("uuid", "operation", "status")}
    reasons = [_reason(task, reason, known) for reason in found.reasons]
    return {"reasons": reasons, "place": found.place, "warnings": found.warnings}


def _reason(task: Task, reason: Reason, known: dict[str, Task]) -> ReasonShown:
    condition = "" if reason.condition is None else _json(reason.condition)
    tasks = [known[uuid] for uuid in reason.tasks if uuid in known]
    more = (reason.count or 0) - len(tasks) if tasks else 0
    return ReasonShown(_reason_text(task, reason), condition, tasks, more)


def _reason_text(task: Task, reason: Reason) -> str:
    names = {"operation": task.operation, "queue": task.queue, "count": reason.count, "limit": reason.limit}
    texts = {
        "not_due": _("It is not due yet."),
        "paused_operation": _("The operation %(operation)s is paused."),
        "paused_queue": _("The queue %(queue)s is paused."),
        "no_worker": _("No live worker runs the operation %(operation)s of the queue %(queue)s."),
        "condition": ngettext(
            "%(count)s other task matches its condition; at most %(limit)s may.",
            "%(count)s other tasks match its condition; at most %(limit)s may.",
            reason.count or 0,
        ),
        "busy": _("It may start; tasks ahead of it in the queue: %(count)s."),
    }
    text = texts.get(reason.kind)
    return text % names if text else reason.message


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def blocked(task: Task) -> dict[str, Any] | None:
    """The tasks that wait for a condition which this one helps to fill; None when there are none."""
    if task.is_ended:
        return None
    streams = [stream.pk for stream in Stream.objects.order_by("-created_at")[:MAX_STREAMS] if _fills(task, stream)]
    if not streams:
        return None
    waiting = Task.objects.filter(status=Status.NEW, hold__in=streams, hold__gt=LATER).exclude(pk=task.pk)
    shown = list(waiting.order_by("priority", "id").only("uuid", "operation", "status")[: MAX_BLOCKED + 1])
    return {"tasks": shown[:MAX_BLOCKED], "is_more": len(shown) > MAX_BLOCKED} if shown else None


def _fills(task: Task, stream: Stream) -> bool:
    if "scope" not in stream.reason:
        return False
    condition = from_reason(stream.reason)
    if condition.scope == "running" and task.status != Status.RUNNING:
        return False
    if condition.scope == "queued_before" and task.status != Status.NEW:
        return False
    return condition.predicate(task)
