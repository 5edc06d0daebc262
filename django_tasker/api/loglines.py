"""Log entries: beside tasks, and page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from ..databases import alias
from ..errors import InvalidQuery, TaskNotFound
from ..models import Task, TaskLog
from . import parameters
from .serializers import LogSerializer

ENTRIES_OF_EACH = 200
"""Newest entries that come with a task of a list."""
ENTRIES_OF_ONE = 1_000
"""Newest entries that come with a single task."""
PAGE = 500
MAX_PAGE = 1_000
MAX_SEARCH = 200


def attach_newest_logs(tasks: Sequence[Task], least: int, most: int = ENTRIES_OF_EACH) -> None:
    """Put the newest `most` entries of level `least` and above into each task's `logs`, in one question for all."""
    by_id: dict[int, list[TaskLog]] = {task.pk: [] for task in tasks}
    place = Window(RowNumber(), partition_by=F("task_id"), order_by=F("seq").desc())
    entries = TaskLog.objects.using(alias()).filter(task_id__in=by_id, level__gte=least)
    for entry in entries.annotate(place=place).filter(place__lte=most).order_by("task_id", "seq") if by_id else ():
        by_id[entry.task_id].append(entry)
    for task in tasks:
        task.logs = by_id[task.pk]


def log_page(uuid: UUID, given: Mapping[str, str]) -> dict[str, Any]:
    """Entries after a number, in order; the status is read first, so that an ended task's last page is the last."""
    after = parameters.whole(given, "after", 0, 0, 2**31 - 1)
    limit = parameters.whole(given, "limit", PAGE, 1, MAX_PAGE)
    least = parameters.level(given, "max_level", "debug")
    task = Task.objects.using(alias()).filter(uuid=uuid).only("id", "status").first()
    if task is None:
        raise TaskNotFound(f"No task has the uuid {uuid}.")
    entries = TaskLog.objects.using(alias()).filter(task_id=task.pk, seq__gt=after, level__gte=least)
    if search := _text(given.get("search", "")):
        entries = entries.filter(message__icontains=search)
    found = list(entries.order_by("seq")[: limit + 1])
    page = found[:limit]
    return {
        "results": LogSerializer(page, many=True).data,
        "last_seq": page[-1].seq if page else after,
        "more": len(found) > limit,
        "status": task.status,
    }


def _text(text: str) -> str:
    if len(text) > MAX_SEARCH or "\x00" in text:
        raise InvalidQuery(f"search must be a text of at most {MAX_SEARCH} characters.", path="search")
    return text
