"""The law of admission in plain Python: what may start, and in which order. The real thing must start the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django_tasker import query
from django_tasker.conditions import resolve
from django_tasker.models import Task


def admit(tasks: Sequence[Task], now: datetime, free: Mapping[str, int], limit: int, paused: set[str]) -> list[int]:
    """The ids of the tasks that one pass starts, in order. `tasks` are all rows; `free` counts slots by operation."""
    due = [t for t in tasks if t.status == "new" and (t.run_at is None or t.run_at <= now)]
    due.sort(key=lambda task: (task.priority, task.pk))
    running = [t for t in tasks if t.status == "running"]
    left = dict(free)
    started: list[int] = []
    for place, task in enumerate(due):
        if len(started) == limit:
            break
        ahead = [t for t in due[:place] if t.status == "new"]
        if not left.get(task.operation) or task.operation in paused:
            continue
        if all(_holds(condition, running, ahead) for condition in resolve(task.concurrency, task)):
            task.status, task.attempt, task.worker_name = "running", task.attempt + 1, "worker"
            running.append(task)
            left[task.operation] -= 1
            started.append(task.pk)
    return started


def _holds(condition: Any, running: list[Task], ahead: list[Task]) -> bool:
    scope = {"running": running, "queued_before": ahead, "active": [*running, *ahead]}[condition.scope]
    matches = query.to_predicate(query.parse(condition.query))
    return sum(map(matches, scope)) <= condition.limit
