"""The log of one task for the viewer: pages by number, an index of them, search, and the whole as a file."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponseBase, JsonResponse, QueryDict, StreamingHttpResponse

from ..models import Task, TaskLog
from ..statuses import ENDED

PAGE = 200
"""Entries of a page, which the viewer holds as one piece."""
MAX_MESSAGE = 5_000
"""Characters of a message that a page carries; the rest is asked for."""
MAX_FOUND = 10_000
"""Places of a search that are told; `count` is exact all the same."""
MAX_LOGGERS = 100


@dataclass(frozen=True)
class LogFilter:
    """What the viewer shows of a log; see `read`."""

    level: int = 0
    logger: str = ""
    attempt: int = 0

    @classmethod
    def read(cls, given: QueryDict) -> LogFilter:
        """From `level` (a number of `logging`), `logger` (it and those below it) and `attempt`."""
        return cls(number(given, "level"), given.get("logger", "").replace("\0", ""), number(given, "attempt"))

    @property
    def is_empty(self) -> bool:
        return self == LogFilter()

    def apply(self, entries: QuerySet[TaskLog]) -> QuerySet[TaskLog]:
        if self.level > logging.NOTSET:
            entries = entries.filter(level__gte=self.level)
        if self.logger:
            entries = entries.filter(Q(logger=self.logger) | Q(logger__startswith=f"{self.logger}."))
        return entries.filter(attempt=self.attempt) if self.attempt else entries


def number(given: QueryDict, name: str, otherwise: int = 0) -> int:
    """A whole number of the query string; `otherwise` where there is none that can be read."""
    text = given.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def page(task: Task, given: QueryDict) -> JsonResponse:
    """The entries after a number: `after`, `limit`, the filter; `full=1` leaves long messages whole.

    `last` is the number to go on from: every entry up to it was looked at. `ended` is true once nothing can follow.
    """
    status, top = _state(task)
    after, limit = number(given, "after"), min(number(given, "limit", PAGE) or PAGE, PAGE)
    entries = LogFilter.read(given).apply(_entries(task)).filter(seq__gt=after, seq__lte=top).order_by("seq")
    found = list(entries[:limit]) if top > after else []
    is_full = len(found) == limit
    return JsonResponse(
        {
            "entries": [_entry(entry, is_whole="full" in given) for entry in found],
            "last": found[-1].seq if is_full else max(top, after),
            "more": is_full,
            "status": status,
            "ended": status in ENDED and not is_full,
        }
    )


def index(task: Task, given: QueryDict) -> JsonResponse:
    """The pages of the filtered log (first number and size of each), and what there is to filter by."""
    status, top = _state(task)
    chosen = LogFilter.read(given)
    every = _entries(task).filter(seq__lte=top)
    numbers = _numbers(every, chosen, top)
    loggers = every.values_list("logger").annotate(count=Count("id")).order_by("logger")[:MAX_LOGGERS]
    attempts = every.values_list("attempt", flat=True).distinct().order_by("attempt")
    return JsonResponse(
        {
            "pages": [[numbers[start], len(numbers[start : start + PAGE])] for start in range(0, len(numbers), PAGE)],
            "count": len(numbers),
            "last": top,
            "loggers": [list(pair) for pair in loggers],
            "attempts": list(attempts[:MAX_LOGGERS]),
            "status": status,
            "ended": status in ENDED,
        }
    )


def _numbers(every: QuerySet[TaskLog], chosen: LogFilter, top: int) -> range | list[int]:
    # Unfiltered they need no reading, unless somebody has deleted some.
    if chosen.is_empty and every.count() == top:
        return range(1, top + 1)
    return list(chosen.apply(every).order_by("seq").values_list("seq", flat=True))


def search(task: Task, given: QueryDict) -> JsonResponse:
    """The numbers of the entries whose message or traceback holds `q`, whatever its case."""
    text = given.get("q", "").replace("\0", "")
    if not text:
        return JsonResponse({"count": 0, "found": []})
    entries = LogFilter.read(given).apply(_entries(task))
    entries = entries.filter(Q(message__icontains=text) | Q(traceback__icontains=text))
    found = list(entries.order_by("seq").values_list("seq", flat=True)[: MAX_FOUND + 1])
    count = entries.count() if len(found) > MAX_FOUND else len(found)
    return JsonResponse({"count": count, "found": found[:MAX_FOUND]})


def download(request: HttpRequest, task: Task) -> HttpResponseBase:
    """The whole log as text, a page at a time."""
    pages = _text_pages(task)
    body: Any = _asynchronous(pages) if isinstance(request, ASGIRequest) else pages
    response = StreamingHttpResponse(body, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="task-{task.uuid}.log"'
    return response


def _text_pages(task: Task) -> Iterator[str]:
    last = 0
    while entries := list(_entries(task).filter(seq__gt=last).order_by("seq")[:1000]):
        yield "".join(_text_line(entry) for entry in entries)
        last = entries[-1].seq


async def _asynchronous(pages: Iterator[str]) -> AsyncIterator[str]:
    while (text := await sync_to_async(lambda: next(pages, None))()) is not None:
        yield text


def _text_line(entry: TaskLog) -> str:
    head = f"{entry.seq} {entry.created_at.isoformat(timespec='milliseconds')} {level_name(entry.level)}"
    tail = f"\n{entry.traceback.rstrip()}" if entry.traceback else ""
    return f"{head} {entry.logger}: {entry.message}{tail}\n"


def level_name(level: int) -> str:
    names = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
    return names[max((known for known in names if known <= level), default=10)]


def _state(task: Task) -> tuple[str, int]:
    """Status and highest number in one statement: the last entries of an ended task are there already."""
    newest = TaskLog.objects.filter(task=OuterRef("pk")).order_by("-seq").values("seq")[:1]
    row = Task.objects.filter(pk=task.pk).values_list("status", Subquery(newest)).first()
    return (task.status, 0) if row is None else (str(row[0]), int(row[1] or 0))


def _entries(task: Task) -> QuerySet[TaskLog]:
    return TaskLog.objects.filter(task_id=task.pk)


def _entry(entry: TaskLog, *, is_whole: bool) -> dict[str, Any]:
    is_cut = len(entry.message) > MAX_MESSAGE and not is_whole
    return {
        "seq": entry.seq,
        "attempt": entry.attempt,
        "level": entry.level,
        "logger": entry.logger,
        "message": entry.message[:MAX_MESSAGE] if is_cut else entry.message,
        "cut": len(entry.message) if is_cut else 0,
        "traceback": entry.traceback,
        "extra": entry.extra,
        "created_at": entry.created_at.isoformat(),
    }
