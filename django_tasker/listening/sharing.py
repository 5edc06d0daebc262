"""One reader of the database for many viewers in an event loop: what `tails` and `hubs` have in common."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary


class SharedReader:
    """Reads for all its viewers, as long as it has any. Viewers wait for `_news`, which is replaced by each one."""

    def __init__(self) -> None:
        self.viewers = 0
        self.is_over = False
        """Has it read all there is, or failed? Who comes later gets another one."""
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        # In a context of its own: the first viewer's may belong to a request, which ends before the others do.
        self._task = asyncio.get_running_loop().create_task(self._run_to_the_end(), context=contextvars.Context())

    async def opened(self) -> None:
        """Wait until viewers may begin; raise what keeps them from it."""

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run_to_the_end(self) -> None:
        try:
            await self._run()
        except Exception as error:
            self._error, self.is_over = error, True
            self._tell()

    async def _run(self) -> None:
        """Read, and tell of it, until there is nothing more to come. What it raises, every viewer is told."""
        raise NotImplementedError

    def _tell(self) -> None:
        """Let every viewer look; whoever looks later waits for the next news."""
        self._news.set()
        self._news = asyncio.Event()


Reader = TypeVar("Reader", bound=SharedReader)


class Shared(Generic[Reader]):
    """The readers of one kind, by what they read, in every event loop."""

    def __init__(self, make: Callable[..., Reader]) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._readers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Reader]] = WeakKeyDictionary()

    @asynccontextmanager
    async def get(self, *what: Any) -> AsyncIterator[Reader]:
        """`async with shared.get(*what) as reader`: made for the first viewer, stopped with the last."""
        readers = self.here()
        reader = readers.get(what)
        if reader is None or reader.is_over:
            reader = readers[what] = self._make(*what)
            reader.start()
        reader.viewers += 1
        try:
            await reader.opened()
            yield reader
        finally:
            reader.viewers -= 1
            if not reader.viewers:
                if readers.get(what) is reader:
                    del readers[what]
                await reader.stop()

    def here(self) -> dict[Hashable, Reader]:
        """Those of the running event loop."""
        with self._guard:
            return self._readers.setdefault(asyncio.get_running_loop(), {})
