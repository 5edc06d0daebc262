"""The frames that a client gets, as JSON text."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from ..listening import EventMessage
from ..models import TaskLog

LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


def frame(kind: str, **values: Any) -> str:
    return json.dumps({"type": kind, **values}, ensure_ascii=False, separators=(",", ":"))


def log_frame(entry: TaskLog) -> str:
    """One log entry; made once, however many viewers share the entry."""
    made: str | None = entry.__dict__.get("_frame")
    if made is None:
        made = entry.__dict__["_frame"] = frame(
            "log",
            seq=entry.seq,
            attempt=entry.attempt,
            level=entry.level,
            level_name=level_name(entry.level),
            logger=entry.logger,
            message=entry.message,
            traceback=entry.traceback,
            extra=entry.extra,
            created_at=entry.created_at.isoformat(),
        )
    return made


def ended_frame(uuid: UUID, status: str, after: int) -> str:
    """The task has ended (or was "deleted"), and `after` is the number of the last entry that was looked at."""
    return frame("ended", uuid=str(uuid), status=status, after=after)


def event_frame(event: EventMessage) -> str:
    return frame("event", event=event.name, uuid=None if event.uuid is None else str(event.uuid), args=event.args)


def level_name(level: int) -> str:
    """The name of a level; one between two standard ones is called after the lower."""
    return LEVELS[max((known for known in LEVELS if known <= level), default=10)]
