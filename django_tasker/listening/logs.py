"""Following a task's log: every entry once, in order, until the task has ended.

The worker that holds a task numbers its entries, so `seq` is the place to go on from; nothing else is remembered.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import OuterRef, Subquery

from ..abort import AbortSignal
from ..databases import alias
from ..errors import InvalidQuery
from ..models import Task, TaskLog
from ..notify import notifier
from ..statuses import ENDED
from .reading import Looker, interrupting, is_aborted, not_found

PAGE = 500
"""Entries read at a time: a listener holds no more in memory, however long the log is."""


def level_number(max_level: str | int) -> int:
    """The least severe level, as in `logging`, that "at most as verbose as `max_level`" includes.

    Raises:
        InvalidQuery: it is no level.
    """
    if isinstance(max_level, int) and not isinstance(max_level, bool):
        return max_level
    number = logging.getLevelNamesMapping().get(max_level.upper()) if isinstance(max_level, str) else None
    if number is None:
        raise InvalidQuery(
            f"max_level is {max_level!r}; it must be debug, info, warning, error, critical or a number.",
            path="max_level",
        )
    return number


@dataclass(frozen=True, slots=True)
class Page:
    """What one look at a log found."""

    entries: Sequence[TaskLog]
    is_full: bool  # more may be there already
    status: str | None  # of the task, before the entries were read; None: it does not exist
    is_last: bool  # the task has ended, or was deleted, and all its entries have been read


NOTHING = Page((), is_full=False, status="", is_last=False)


class LogReader(Looker):
    """Reads one task's log from a place on, a page at a time."""

    def __init__(self, uuid: UUID, last: int | None, max_level: str | int, using: str) -> None:
        """
        Args:
            last: `seq` of the last entry that is known; None: that of the last there is when `begin` is called.
        """
        super().__init__(using)
        self.uuid = uuid
        self._last = last
        self._least = level_number(max_level)

    @property
    def last(self) -> int:
        """`seq` of the last entry that was read, or passed over for its level."""
        return self._last or 0

    def begin(self) -> None:
        """Fix the place to read from. Raises TaskNotFound."""
        found = self._task()
        if found is None:
            raise not_found(self.uuid)
        if self._last is None:
            self._last = found[2]

    def read(self) -> Page:
        """The next page, and whether it is the last of all."""
        found = self._task()
        if found is None:
            return Page((), is_full=False, status=None, is_last=True)
        pk, status, top = found
        entries = self._entries(pk, top) if top > self.last else []
        is_full = len(entries) == PAGE
        # Entries left out for their level count as read, or each look would go through them again.
        self._last = entries[-1].seq if is_full else max(top, self.last)
        return Page(entries, is_full, status, is_last=status in ENDED and not is_full)

    def _task(self) -> tuple[int, str, int] | None:
        """Key, status and highest `seq`, in one statement: an ended task's last entries are there already."""
        newest = TaskLog.objects.filter(task=OuterRef("pk")).order_by("-seq").values("seq")[:1]
        rows = Task.objects.using(self.using).filter(uuid=self.uuid)
        row = rows.values_list("pk", "status", Subquery(newest)).first()
        return None if row is None else (row[0], row[1], row[2] or 0)

    def _entries(self, pk: int, top: int) -> list[TaskLog]:
        rows = TaskLog.objects.using(self.using).filter(task_id=pk, seq__gt=self.last, seq__lte=top)
        if self._least > logging.NOTSET:
            rows = rows.filter(level__gte=self._least)
        return list(rows.order_by("seq")[:PAGE])


def listen_task_logs(
    uuid: UUID,
    *,
    from_beginning: bool = False,
    after: int | None = None,
    abort_signal: AbortSignal | None = None,
    max_level: str | int = "debug",
    using: str | None = None,
) -> Iterator[TaskLog]:
    """Follow a task's log, from any process, until the task has ended, was deleted, or `abort_signal` is given.

    A task that is tried again has not ended. The place is fixed by the call, not by the first `next()`.

    Args:
        from_beginning: False starts after the last entry there is.
        after: `seq` of the last entry that the caller has; in place of `from_beginning`.
        max_level: the most verbose level that is included: a name or a number of `logging`.

    Raises:
        TaskNotFound: no task has this uuid.
        InvalidQuery: `max_level` is no level.
    """
    reader = LogReader(uuid, 0 if from_beginning and after is None else after, max_level, using or alias())
    reader.begin()
    return _follow(reader, abort_signal)


def _follow(reader: LogReader, abort_signal: AbortSignal | None) -> Iterator[TaskLog]:
    with (
        notifier(reader.using).subscribe(f"task:{reader.uuid}") as subscription,
        interrupting(abort_signal, subscription),
    ):
        while not is_aborted(abort_signal):
            page = reader.look(reader.read, NOTHING)
            for entry in page.entries:
                if is_aborted(abort_signal):
                    return
                yield entry
            if page.is_last:
                return
            if page.entries:
                subscription.found()
            if not page.is_full:
                subscription.wait(notifier(reader.using).poll_interval)


async def alisten_task_logs(
    uuid: UUID,
    *,
    from_beginning: bool = False,
    after: int | None = None,
    abort_signal: AbortSignal | None = None,
    max_level: str | int = "debug",
    using: str | None = None,
) -> AsyncIterator[TaskLog]:
    """The same for coroutines; waiting holds no thread. The place is fixed by the first step of the iteration."""
    reader = LogReader(uuid, 0 if from_beginning and after is None else after, max_level, using or alias())
    with (
        notifier(reader.using).subscribe(f"task:{uuid}") as subscription,
        interrupting(abort_signal, subscription),
    ):
        await reader.alook(reader.begin, None)
        while not is_aborted(abort_signal):
            page = await reader.alook(reader.read, NOTHING)
            for entry in page.entries:
                if is_aborted(abort_signal):
                    return
                yield entry
            if page.is_last:
                return
            if page.entries:
                subscription.found()
            if not page.is_full:
                await subscription.await_(notifier(reader.using).poll_interval)
