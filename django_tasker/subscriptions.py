"""`on`, `once` and `off`: callbacks for what happens in this process, the short form of Django's signals."""

from __future__ import annotations

import difflib
import inspect
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync

from .errors import UnknownEvent
from .signals import SIGNALS

Callback = Callable[..., Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    callback: Callback
    once: bool


class Subscriptions:
    """Who wants to be called at which event. Thread safe.

    An event is `task.done`, called with the uuid and the event's arguments, or `task.<uuid>.done`, called with the
    arguments alone; positionally, in the order of the event's description in `signals`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, UUID | None], tuple[_Entry, ...]] = {}

    def on(self, event: str, callback: Callback) -> Callable[[], None]:
        """Call `callback` at every such event from now on, after the commit, in the thread that committed.

        A callback that raises is logged and harms no other. A coroutine function is run to its end.

        Returns: a function that ends it.
        Raises:
            UnknownEvent: no event has this name.
        """
        return self._put(event, _Entry(callback, once=False))

    def once(self, event: str, callback: Callback) -> Callable[[], None]:
        """The same, for the next such event only."""
        return self._put(event, _Entry(callback, once=True))

    def off(self, event: str, callback: Callback | None = None) -> None:
        """End what `on` and `once` began for this event: with this callback, or with all of them."""
        self._take(parse_event(event), lambda entry: callback is None or entry.callback == callback)

    def _put(self, event: str, entry: _Entry) -> Callable[[], None]:
        key = parse_event(event)
        with self._lock:
            self._entries[key] = (*self._entries.get(key, ()), entry)
            # One receiver a signal, connected while somebody wants it: emitting costs nothing otherwise.
            SIGNALS[key[0]].connect(self._receive, dispatch_uid=(id(self), key[0]), weak=False)

        def end() -> None:
            self._take(key, lambda other: other is entry)

        return end

    def _take(self, key: tuple[str, UUID | None], unwanted: Callable[[_Entry], bool]) -> bool:
        """Remove entries; were there any?"""
        with self._lock:
            before = self._entries.get(key, ())
            left = tuple(entry for entry in before if not unwanted(entry))
            if left:
                self._entries[key] = left
            else:
                self._entries.pop(key, None)
            if not any(name == key[0] for name, _ in self._entries):
                SIGNALS[key[0]].disconnect(dispatch_uid=(id(self), key[0]))
        return len(left) < len(before)

    def _receive(self, signal: Any, sender: Any, using: str, uuid: UUID | None = None, **args: Any) -> None:
        name = _NAMES[id(signal)]
        about = uuid if uuid is not None or "task" not in args else args["task"].uuid
        for key in ((name, None), (name, about)) if about is not None else ((name, None),):
            given = (uuid, *args.values()) if uuid is not None and key[1] is None else tuple(args.values())
            for entry in self._entries.get(key, ()):
                if not entry.once or self._take(key, lambda other, entry=entry: other is entry):  # type: ignore[misc]
                    _call(entry.callback, key, given)


def _call(callback: Callback, key: tuple[str, UUID | None], args: tuple[Any, ...]) -> None:
    try:
        if inspect.iscoroutinefunction(callback):
            async_to_sync(callback)(*args)
        else:
            callback(*args)
    except Exception:
        logger.exception("A callback failed event=%s uuid=%s callback=%r", key[0], key[1], callback)


_NAMES = {id(signal): name for name, signal in SIGNALS.items()}


def parse_event(event: str) -> tuple[str, UUID | None]:
    """`task.<uuid>.done` as ("task.done", uuid), any other name as (name, None).

    Raises:
        UnknownEvent: no event has this name.
    """
    if event in SIGNALS:
        return event, None
    head, _, rest = event.partition(".")
    middle, _, tail = rest.rpartition(".")
    name = f"{head}.{tail}" if middle else event
    try:
        uuid = UUID(middle) if middle else None
    except ValueError:
        uuid, name = None, event
    if uuid is not None and name in SIGNALS:
        return name, uuid
    near = difflib.get_close_matches(name, SIGNALS, n=1)
    raise UnknownEvent(f"Unknown event {event!r}" + (f"; did you mean {near[0]!r}?" if near else "."))


subscriptions = Subscriptions()
"""Those of the project's tasker."""
