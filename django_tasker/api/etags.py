"""ETags of tasks: equal exactly while nothing about a task has changed."""

from __future__ import annotations

import hashlib

from django.utils.dateparse import parse_datetime
from django.utils.http import parse_etags
from rest_framework.request import Request

from ..errors import InvalidTask
from ..models import Task
from .problems import PreconditionFailed


def etag_of(task: Task) -> str:
    state = (
        *(task.updated_at, task.status, task.attempt, task.priority, task.run_at, task.abort_requested_at),
        *(task.log_count, task.progress),
    )
    return f'"{hashlib.sha256(repr(state).encode()).hexdigest()[:32]}"'


def is_known(request: Request, etag: str) -> bool:
    """Does the caller hold this state already (`If-None-Match`)?"""
    known = [each.removeprefix("W/") for each in parse_etags(request.headers.get("If-None-Match", ""))]
    return etag in known or "*" in known


def check_unchanged(request: Request, task: Task, updated_at: object) -> None:
    """Hold the state that the caller believes in (`If-Match`, or `updated_at` in the body) against the task's.

    Raises:
        PreconditionFailed: it is another.
    """
    wanted = parse_etags(request.headers.get("If-Match", ""))
    if "If-Match" in request.headers and "*" not in wanted and etag_of(task) not in wanted:
        raise PreconditionFailed
    if updated_at is None:
        return
    try:
        believed = parse_datetime(updated_at) if isinstance(updated_at, str) else None
    except ValueError:
        believed = None
    if believed is None or believed.tzinfo is None:
        raise InvalidTask("updated_at must be the task's updated_at, as you read it.", path="updated_at")
    if believed != task.updated_at:
        raise PreconditionFailed
