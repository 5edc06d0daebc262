"""One listener to events for many viewers in an event loop: what `tails` is for logs.

However many watch a pattern, one hub holds the lease, reads the database and keeps the newest events in a buffer of
fixed size. Viewers pull. One that is slower than the buffer is long is told so; events can't be read again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from ..databases import alias
from .events import AsyncEventListener, EventMessage, alisten_events
from .sharing import Shared, SharedReader

BUFFER = 1000
"""Events that a hub keeps for viewers who are nearly up to date."""


class FellBehind(Exception):
    """This viewer was so slow that events it had not read are gone."""


class EventHub(SharedReader):
    """The shared listener to one pattern; get it with `async with event_hub(pattern) as hub`."""

    def __init__(self, pattern: str, using: str) -> None:
        super().__init__()
        self.pattern = pattern
        self._listener: AsyncEventListener = alisten_events(pattern, using=using)
        self._buffer: deque[EventMessage] = deque(maxlen=BUFFER)
        self._count = 0  # events heard so far
        self._is_open = asyncio.Event()

    async def opened(self) -> None:
        """Wait until events are heard."""
        await self._is_open.wait()
        if self._error is not None:
            raise self._error

    @property
    def place(self) -> int:
        """Where a viewer that begins now starts to read."""
        return self._count

    async def read(self, place: int) -> AsyncIterator[Sequence[EventMessage]]:
        """Events from `place` on, in batches, without end.

        Raises:
            FellBehind: some that were not read have left the buffer.
            OperationalError: the database has been away for long.
        """
        while True:
            batch, place = await self.take(place)
            yield batch

    async def take(self, place: int) -> tuple[Sequence[EventMessage], int]:
        """Wait for events from `place` on; they, and the place after them. It may be cancelled: nothing is lost."""
        while True:
            news = self._news
            if self._error is not None:
                raise self._error
            missing = self._count - place
            if missing > len(self._buffer):
                raise FellBehind
            if missing:
                return list(self._buffer)[-missing:], self._count
            await news.wait()

    async def _run(self) -> None:
        try:
            async with self._listener as events:
                self._is_open.set()
                async for event in events:
                    self._buffer.append(event)
                    self._count += 1
                    self._tell()
        finally:  # it failed before it was open: who waits for that finds the error
            self._is_open.set()


_hubs = Shared(EventHub)


def event_hub(pattern: str, *, using: str | None = None) -> AbstractAsyncContextManager[EventHub]:
    """`async with event_hub("task.*") as hub`: the hub that all viewers of a pattern in this event loop share.

    It hears events from the moment the block is entered, and ends with its last viewer.
    """
    return _hubs.get(pattern, using or alias())
