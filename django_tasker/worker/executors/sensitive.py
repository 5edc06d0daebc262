"""Threads for what coroutines run through `sync_to_async`: the ORM, above all.

Left alone, asgiref runs all of it in one thread of the process, and nothing ever closes that thread's connections.
Here a few threads are shared by all runs (a thread a run would need as many database connections), and tidied.
"""

from __future__ import annotations

import time
from concurrent.futures import Executor

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from ..connections import close_connections, tidy_connections

MAX_THREADS = 8
TIDY_SECONDS = 1.0
"""How long a thread that is never idle goes without being tidied."""


class SensitiveThread:
    """One of the threads; asgiref starts it when a run first needs it."""

    __slots__ = ("_context", "_runs", "_tidied_at")

    def __init__(self) -> None:
        self._context = ThreadSensitiveContext()
        self._runs = 0
        self._tidied_at = 0.0

    def enter(self) -> None:
        """Let the current context use this thread."""
        SyncToAsync.thread_sensitive_context.set(self._context)
        self._runs += 1

    def leave(self) -> None:
        """A run is over."""
        self._runs -= 1
        executor = self._executor()
        if executor is not None and (not self._runs or time.monotonic() - self._tidied_at > TIDY_SECONDS):
            self._tidied_at = time.monotonic()
            executor.submit(tidy_connections)

    def close(self) -> None:
        executor = self._executor()
        if executor is not None:
            executor.submit(close_connections)
            executor.shutdown(wait=False)

    def _executor(self) -> Executor | None:
        return SyncToAsync.context_to_thread_executor.get(self._context)


class SensitiveThreads:
    """Gives out the threads in turn."""

    def __init__(self, slots: int) -> None:
        self._threads = [SensitiveThread() for _ in range(min(slots, MAX_THREADS))]
        self._next = 0

    def next(self) -> SensitiveThread:
        self._next = (self._next + 1) % len(self._threads)
        return self._threads[self._next]

    def close(self) -> None:
        for thread in self._threads:
            thread.close()
