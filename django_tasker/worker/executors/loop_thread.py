"""An event loop in a thread of its own that can be told to be blocked, and by whom."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from .interrupt import clear_raised

logger = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""What tasks get to end when their loop stops."""

owner: ContextVar[object] = ContextVar("django_tasker_owner", default=None)
"""Whose code runs: set in the context of each run, and so inherited by its asyncio tasks and callbacks."""

_HANDLE_RUN = asyncio.Handle._run.__code__


class LoopThread:
    """Runs an event loop until `stop()`, whatever is raised in it."""

    def __init__(self) -> None:
        # Not new_event_loop(): who blocks the loop is found by looking into asyncio's own handles.
        self.loop = asyncio.SelectorEventLoop()
        self.is_asked = False  # a ping is under way
        self._is_stopping = False
        self._thread = threading.Thread(target=self._main, name="tasker-loop", daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int:
        return self._thread.ident or 0

    def call(self, function: Callable[..., Any], *args: Any, context: Context | None = None) -> None:
        """Call in the loop, from any thread; nothing happens once the loop is closed."""
        try:
            if threading.get_ident() == self._thread.ident:  # no need to wake it, which takes two system calls
                self.loop.call_soon(function, *args, context=context)
            else:
                self.loop.call_soon_threadsafe(function, *args, context=context)
        except RuntimeError:
            pass

    def ping(self) -> None:
        """Ask for a sign of life: `is_asked` stays true until the loop gives it."""
        if not self.is_asked:
            self.is_asked = True
            self.call(self._pong)

    def _pong(self) -> None:
        self.is_asked = False

    def current_owner(self) -> object:
        """Whose code the loop's thread is in at this moment; None: nobody's, or the loop is waiting for events.

        Seen from another thread: the innermost asyncio handle on the thread's stack knows its context.
        """
        frame = sys._current_frames().get(self.ident)
        while frame is not None:
            if frame.f_code is _HANDLE_RUN:
                context: Context | None = getattr(frame.f_locals.get("self"), "_context", None)
                return context.get(owner) if context is not None else None
            frame = frame.f_back
        return None

    def stop(self, *, wait_seconds: float = 0.0) -> None:
        """Cancel what runs in the loop and end its thread, as soon as it is not blocked; safe to call twice."""
        self._is_stopping = True
        self.call(self.loop.stop)
        if wait_seconds and threading.current_thread() is not self._thread:
            self._thread.join(wait_seconds)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_stopping:
            try:
                self.loop.run_forever()
            except BaseException:
                # SystemExit of a task that a runner started, or an interrupt that came too late.
                clear_raised(self.ident)
                logger.warning("event loop interrupted, it goes on", exc_info=True)
        self._close()

    def _close(self) -> None:
        try:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                _, pending = self.loop.run_until_complete(asyncio.wait(tasks, timeout=STOP_SECONDS))
                for task in pending:
                    # It was reported as abandoned; asyncio would say so again, into whatever run is going on then.
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        except BaseException:
            logger.warning("event loop could not be ended in order", exc_info=True)
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
