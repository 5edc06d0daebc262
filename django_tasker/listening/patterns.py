"""Patterns of events as untrusted callers give them."""

from __future__ import annotations

from uuid import uuid4

from ..errors import UnknownEvent
from ..events import Happening
from ..events.patterns import matcher, uuid_of
from ..signals import SIGNALS
from .events import MAX_PATTERN

UNHEARD = "task.add"
"""Its argument is an object of the process that adds: no other process hears it."""


def check_pattern(pattern: str) -> str:
    """`pattern`, if there is an event that it matches.

    Raises:
        UnknownEvent: it is too long, or matches no event at all.
    """
    if not pattern or len(pattern) > MAX_PATTERN or not pattern.isprintable():
        raise UnknownEvent(f"A pattern is a text of 1 to {MAX_PATTERN} printable characters, not {pattern[:50]!r}.")
    matches = matcher.__wrapped__((pattern,))  # not kept: strangers choose it
    uuid = uuid_of(pattern) or uuid4()
    if not any(matches(Happening(name, uuid, {})) for name in SIGNALS if name != UNHEARD):
        names = ", ".join(name for name in SIGNALS if name != UNHEARD)
        raise UnknownEvent(f"No event matches {pattern!r}. There are {names}; * stands for any text.")
    return pattern


__all__ = ["check_pattern", "uuid_of"]
