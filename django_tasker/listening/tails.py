"""One tail of a task's log for many viewers in an event loop, as websockets need it.

However many watch a task, one `LogTail` reads the database and keeps the newest entries in a buffer of fixed size.
Viewers pull: each remembers the `seq` it has reached and takes the next entries from the buffer or, when it comes
back late or is slow, from the database. Nobody is waited for and no queue grows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from ..databases import alias
from ..models import TaskLog
from ..notify import notifier
from .logs import NOTHING, LogReader, Page, level_number
from .sharing import Shared, SharedReader

BUFFER = 1000
"""Entries that a tail keeps for viewers who are nearly up to date."""


class LogTail(SharedReader):
    """The shared tail of one task's log; get it with `async with log_tail(uuid) as tail`."""

    def __init__(self, uuid: UUID, using: str) -> None:
        super().__init__()
        self.uuid = uuid
        self.using = using
        self.status: str | None = ""
        """Of the task, as of the last look: "" before the first one, None when the task does not exist."""
        self._reader = LogReader(uuid, None, 0, using)
        self._buffer: deque[TaskLog] = deque(maxlen=BUFFER)
        self._base = 0  # entries up to this one are not in the buffer

    async def read(self, *, after: int = 0, max_level: str | int = "debug") -> AsyncIterator[Sequence[TaskLog]]:
        """Entries after `seq` `after`, in batches, until the task has ended; `status` then says how.

        Raises:
            TaskNotFound: no task has this uuid.
        """
        least = level_number(max_level)
        last = after
        while True:
            news, is_over = self._news, self.is_over
            if self._error is not None:
                raise self._error
            if is_behind := last < self._base:
                batch, last = await self._catch_up(last, least)
            else:
                fresh = [entry for entry in self._buffer if entry.seq > last]
                last = fresh[-1].seq if fresh else last
                batch = [entry for entry in fresh if entry.level >= least]
            if batch:
                yield batch
            elif is_over and not is_behind:
                return
            elif not is_behind:
                await news.wait()

    async def _catch_up(self, last: int, least: int) -> tuple[list[TaskLog], int]:
        """A page from the database, and the place after it."""
        reader = LogReader(self.uuid, last, least, self.using)
        page = await reader.alook(reader.read, NOTHING)
        if page is NOTHING:  # an outage
            await asyncio.sleep(notifier(self.using).poll_interval)
        return list(page.entries), max(reader.last, self._base) if page.status is None else reader.last

    async def _run(self) -> None:
        with notifier(self.using).subscribe(f"task:{self.uuid}") as subscription:
            await self._reader.alook(self._reader.begin, None)
            self._base = self._reader.last
            self._tell()
            while not self.is_over:
                page = await self._reader.alook(self._reader.read, NOTHING)
                self._publish(page)
                if page.entries:
                    subscription.found()
                if not page.is_full and not self.is_over:
                    await subscription.await_(notifier(self.using).poll_interval)

    def _publish(self, page: Page) -> None:
        if page is NOTHING:
            return
        for entry in page.entries:
            if len(self._buffer) == BUFFER:
                self._base = self._buffer[0].seq
            self._buffer.append(entry)
        is_news = bool(page.entries) or page.status != self.status or page.is_last
        self.status, self.is_over = page.status, page.is_last
        if is_news:
            self._tell()


_tails = Shared(LogTail)


def log_tail(uuid: UUID, *, using: str | None = None) -> AbstractAsyncContextManager[LogTail]:
    """`async with log_tail(uuid) as tail`: the tail that all viewers of a task in this event loop share.

    It begins with the first viewer and ends with the last.
    """
    return _tails.get(uuid, using or alias())
