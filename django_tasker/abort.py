"""AbortController and AbortSignal: ask something that runs to stop, from any thread or event loop.

The shape is that of the web platform's classes of the same names. One signal is made per run, so a signal that
nobody waits for holds a lock and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from .errors import RunAborted

logger = logging.getLogger(__name__)

Listener = Callable[[], object]


class AbortSignal:
    """Says whether, and why, to stop. Every method may be called from any thread; `wait_async` from any loop."""

    __slots__ = ("__weakref__", "_event", "_is_aborted", "_listeners", "_lock", "_reason")

    def __init__(self) -> None:
        self._is_aborted = False
        self._reason: str | None = None
        # Reentrant: a finalizer that runs while we hold the lock may look at the same signal.
        self._lock = threading.RLock()
        self._event: threading.Event | None = None
        self._listeners: dict[object, Listener] | None = None

    @property
    def aborted(self) -> bool:
        return self._is_aborted

    @property
    def reason(self) -> str | None:
        """What `abort()` was given; None before, and when no reason was given."""
        return self._reason

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the signal is given, at most `timeout` seconds (None: for ever); return whether it was.

        A runner that has to wait does it with this instead of `time.sleep`.
        """
        if self._is_aborted:
            return True
        with self._lock:
            if self._event is None:
                self._event = threading.Event()
            if self._is_aborted:
                self._event.set()
            event = self._event
        return event.wait(timeout)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """Like `wait`, for coroutines."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def give() -> None:
            if not future.done():
                future.set_result(None)

        remove = self.add_listener(lambda: _call_in(loop, give))
        try:
            await asyncio.wait_for(future, timeout)
        except TimeoutError:
            pass
        finally:
            remove()
        return self._is_aborted

    def raise_if_aborted(self) -> None:
        """Raise `RunAborted`, which ends a runner as aborted, if the signal was given."""
        if self._is_aborted:
            raise RunAborted(self._reason)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call `listener()` once, when the signal is given; at once if it was. Return a function that removes it.

        It is called in the thread that gives the signal (for a coroutine's run: in its loop). What it raises is
        logged and goes no further.
        """
        token = object()
        with self._lock:
            if not self._is_aborted:
                if self._listeners is None:
                    self._listeners = {}
                self._listeners[token] = listener
                return lambda: self._remove(token)
        call_listeners([listener])
        return lambda: None

    def _remove(self, token: object) -> None:
        with self._lock:
            if self._listeners is not None:
                self._listeners.pop(token, None)

    def _give(self, reason: str | None) -> list[Listener]:
        """Give the signal; return the listeners that are to be called. The first reason stands."""
        with self._lock:
            if self._is_aborted:
                return []
            self._reason = reason
            self._is_aborted = True
            if self._event is not None:
                self._event.set()
            listeners, self._listeners = self._listeners, None
        return list(listeners.values()) if listeners else []

    @classmethod
    def any(cls, *signals: AbortSignal) -> AbortSignal:
        """A signal that is given, with the same reason, as soon as one of `signals` is."""
        controller = AbortController()
        for signal in signals:
            signal.add_listener(lambda signal=signal: controller.abort(signal.reason))  # type: ignore[misc]
        return controller.signal

    @classmethod
    def timeout(cls, seconds: float) -> AbortSignal:
        """A signal that is given `seconds` from now."""
        controller = AbortController()
        timer = threading.Timer(seconds, controller.abort, [f"timeout: {seconds:g} s are over"])
        timer.daemon = True
        timer.start()
        return controller.signal


class AbortController:
    """Gives its `signal`."""

    __slots__ = ("signal",)

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self, reason: str | None = None) -> None:
        """Give the signal and call its listeners. Safe to call again: the first reason stands."""
        call_listeners(self.signal._give(reason))

    def mark(self, reason: str | None = None) -> list[Listener]:
        """Give the signal but leave the calling of its listeners to the caller (see `call_listeners`).

        For executors: what users listen with may be slow, or belong into an event loop.
        """
        return self.signal._give(reason)


def call_listeners(listeners: list[Listener]) -> None:
    """Call each; what one raises is logged and keeps none of the others from being called."""
    for listener in listeners:
        try:
            listener()
        except Exception:
            logger.exception("abort listener raised listener=%r", listener)


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        pass  # the loop was closed: nobody waits there any more
