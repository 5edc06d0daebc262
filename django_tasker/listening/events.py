"""Listening to the events of all processes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import TracebackType
from typing import Any
from uuid import UUID

from django.db.models import Max, Q

from ..abort import AbortSignal
from ..databases import alias
from ..errors import UnknownEvent
from ..events import Happening
from ..events.patterns import matcher
from ..models import Event
from ..notify import Subscription, notifier
from .gaps import Gaps
from .leases import leases
from .reading import Looker, in_database_thread, is_aborted

PAGE = 200
MAX_PATTERN = 200
LOOK_BACK = 200
"""Ids before the last one at the beginning that may belong to transactions under way."""


@dataclass(frozen=True, slots=True)
class EventMessage:
    """An event as it is heard in any process.

    `args` are the event's arguments by name, as JSON values: times in ISO 8601, an infinite priority as
    "Infinity". Of very large ones the texts are cut, and a result is None: read the task.
    """

    name: str  # like "task.done"
    uuid: UUID | None
    args: dict[str, Any]


Read = tuple[list[EventMessage], bool]
NOTHING: Read = ([], False)


class EventReader(Looker):
    """Reads Event rows from now on: each once, those of a task in order."""

    def __init__(self, pattern: str, using: str) -> None:
        super().__init__(using)
        self._matches = matcher((pattern,))
        self._last = 0
        self._gaps = Gaps()

    def begin(self) -> None:
        """Start after what is visible now. What becomes visible later happened later, whatever its id."""
        events = Event.objects.using(self.using)
        self._last = events.aggregate(last=Max("id"))["last"] or 0
        first = self._last - LOOK_BACK
        seen = events.filter(id__gt=first, id__lte=self._last).order_by("id").values_list("id", flat=True)
        for pk in seen:
            self._gaps.note(first + 1, pk - 1, time.monotonic())
            first = pk

    def read(self) -> Read:
        """Those that match among the next page, and whether it was full.

        One statement asks for new and for missing ids: whatever led to an event is visible with it, and has a
        smaller id, so that no order is lost.
        """
        now = time.monotonic()
        wanted = [Q(id__range=each) for each in self._gaps.ranges(now)]
        rows = Event.objects.using(self.using).filter(reduce(or_, wanted, Q(id__gt=self._last))).order_by("id")
        page = list(rows.values_list("id", "name", "task_uuid", "payload")[:PAGE])
        found = []
        for pk, name, uuid, payload in page:
            self._pass(pk, now)
            event = Happening(name, uuid, payload or {})
            if self._matches(event):
                found.append(EventMessage(event.name, event.uuid, event.args))
        return found, len(page) == PAGE

    def _pass(self, pk: int, now: float) -> None:
        if pk <= self._last:
            self._gaps.fill(pk)
            return
        self._gaps.note(self._last + 1, pk - 1, now)
        self._last = pk


class _Listening:
    """What the iterator and its async twin share: a lease, a reader, a subscription, and events not yet taken."""

    def __init__(self, pattern: str, abort_signal: AbortSignal | None, using: str | None) -> None:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_PATTERN:
            raise UnknownEvent(f"A pattern of events is a text of 1 to {MAX_PATTERN} characters, not {pattern!r}.")
        self._pattern = pattern
        self._signal = abort_signal
        self._using = using or alias()
        self._reader = EventReader(pattern, self._using)
        self._buffer: deque[EventMessage] = deque()
        self._subscription: Subscription | None = None
        self._forget_signal: Callable[[], object] = lambda: None

    def _open(self) -> Subscription:
        leases(self._using).take(self._pattern)
        try:
            self._reader.begin()
            self._subscription = notifier(self._using).subscribe("events")
        except BaseException:
            leases(self._using).give_back(self._pattern)
            raise
        if self._signal is not None:
            self._forget_signal = self._signal.add_listener(self._subscription.interrupt)
        return self._subscription

    def _close(self) -> None:
        if self._leave() is not None:
            leases(self._using).give_back(self._pattern)

    def _leave(self) -> Subscription | None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._forget_signal()
            subscription.close()
        return subscription

    def _take_in(self, read: Read, subscription: Subscription) -> bool:
        """Keep what was read; is there reason to wait for more?"""
        events, is_full = read
        self._buffer.extend(events)
        if events:
            subscription.found()
        return not events and not is_full

    def __del__(self) -> None:
        if getattr(self, "_subscription", None) is not None and self._leave() is not None:
            leases(self._using).abandon(self._pattern)


class EventListener(_Listening, Iterator[EventMessage]):
    """Iterates over events; made by `listen_events`. Also a context manager that closes it."""

    def __init__(self, pattern: str, abort_signal: AbortSignal | None, using: str | None) -> None:
        super().__init__(pattern, abort_signal, using)
        self._open()

    def __next__(self) -> EventMessage:
        while True:
            subscription = self._subscription
            if subscription is None or is_aborted(self._signal):
                self.close()
                raise StopIteration
            if self._buffer:
                return self._buffer.popleft()
            if self._take_in(self._reader.look(self._reader.read, NOTHING), subscription):
                subscription.wait(notifier(self._using).poll_interval)

    def close(self) -> None:
        """Hear no more; from another thread it ends the iteration. Safe to call twice."""
        self._close()

    def __enter__(self) -> EventListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncEventListener(_Listening, AsyncIterator[EventMessage]):
    """The async twin; it listens from `async with`, or from the first step of the iteration, on."""

    _is_closed = False

    async def open(self) -> None:
        """Listen from now on."""
        if self._subscription is None and not self._is_closed:
            await in_database_thread(self._using, self._open)

    async def __anext__(self) -> EventMessage:
        await self.open()
        while True:
            subscription = self._subscription
            if subscription is None or is_aborted(self._signal):
                await self.aclose()
                raise StopAsyncIteration
            if self._buffer:
                return self._buffer.popleft()
            if self._take_in(await self._reader.alook(self._reader.read, NOTHING), subscription):
                await subscription.await_(notifier(self._using).poll_interval)

    async def aclose(self) -> None:
        """Hear no more. Safe to call twice."""
        self._is_closed = True
        if self._subscription is not None:
            await in_database_thread(self._using, self._close)

    async def __aenter__(self) -> AsyncEventListener:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def listen_events(pattern: str, abort_signal: AbortSignal | None = None, *, using: str | None = None) -> EventListener:
    """Iterate over the events of all processes, this one included, whose name matches `pattern`.

    It listens from this call on, until it is closed or `abort_signal` is given: nothing is lost that happens in
    transactions begun afterwards, provided it is read within `EVENT_KEEP_SECONDS`.

    Args:
        pattern: `task.done`, `task.*`, `task.<uuid>.*`, `task.*.done`, `*`; only `*` is special, it stands for any
            text but for a part of a uuid: see `events.patterns`.
    """
    return EventListener(pattern, abort_signal, using)


def alisten_events(
    pattern: str, abort_signal: AbortSignal | None = None, *, using: str | None = None
) -> AsyncEventListener:
    """The same for coroutines: `async with alisten_events("task.*") as events: async for event in events: …`."""
    return AsyncEventListener(pattern, abort_signal, using)
