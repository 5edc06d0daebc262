"""One listener to events for many viewers in an event loop: what `tails` is for logs.

However many watch a pattern, one hub holds the lease, reads the database and keeps the newest events in a buffer of
fixed size. Viewers pull. One that is slower than the buffer is long is told so; events can't be read again.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from ..databases import alias
from .events import AsyncEventListener, EventMessage, alisten_events

BUFFER = 1000
"""Events that a hub keeps for viewers who are nearly up to date."""


class FellBehind(Exception):
    """This viewer was so slow that events it had not read are gone."""


class EventHub:
    """The shared listener to one pattern; get it with `async with event_hub(pattern) as hub`."""

    def __init__(self, pattern: str, using: str) -> None:
        self.pattern = pattern
        self.viewers = 0
        self.is_over = False
        self._listener: AsyncEventListener = alisten_events(pattern, using=using)
        self._buffer: deque[EventMessage] = deque(maxlen=BUFFER)
        self._count = 0  # events heard so far
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._is_open = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def opened(self) -> None:
        """Wait until events are heard. Raises what keeps it from hearing."""
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

    def start(self) -> None:
        # In a context of its own: the first viewer's may belong to a request, which ends before the others do.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            async with self._listener as events:
                self._is_open.set()
                async for event in events:
                    self._buffer.append(event)
                    self._count += 1
                    self._tell()
        except Exception as error:
            self._error = error
            self.is_over = True
            self._is_open.set()
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], EventHub]] = WeakKeyDictionary()
_guard = threading.Lock()


@asynccontextmanager
async def event_hub(pattern: str, *, using: str | None = None) -> AsyncIterator[EventHub]:
    """`async with event_hub("task.*") as hub`: the hub that all viewers of a pattern in this event loop share.

    It hears events from the moment the block is entered, and ends with its last viewer.
    """
    with _guard:
        hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    key = (using or alias(), pattern)
    hub = hubs.get(key)
    if hub is None or hub.is_over:
        hub = hubs[key] = EventHub(pattern, key[0])
        hub.start()
    hub.viewers += 1
    try:
        await hub.opened()
        yield hub
    finally:
        hub.viewers -= 1
        if not hub.viewers:
            if hubs.get(key) is hub:
                del hubs[key]
            await hub.stop()
