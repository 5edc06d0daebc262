"""Which events a pattern means: the one rule for all who listen, here and in other processes.

`*` stands for any text, nothing else is special. A pattern is compared with an event's name, like `task.done`. One
of three parts, whose middle is a whole uuid or `*`, is compared part by part with `task.<uuid>.done`. So no pattern
can hit a part of a uuid by accident: `task.d*` is `task.done`, whatever uuids begin with.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from . import Happening

_NOTHING = r"(?!)"


class Matcher:
    """Tells whether any of some patterns means an event."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._names = re.compile("|".join(_regex(each, ".*") for each in patterns) or _NOTHING, re.DOTALL).fullmatch
        longs = [regex for each in patterns if (regex := _long_regex(each))]
        self._long_names = re.compile("|".join(longs)).fullmatch if longs else None

    def __call__(self, event: Happening) -> bool:
        """Does the event's name match, or its name with the uuid, like `task.<uuid>.done`?"""
        if self._names(event.name):
            return True
        if self._long_names is None or event.uuid is None:
            return False
        return bool(self._long_names(_long_name(event.name, event.uuid)))


@lru_cache(maxsize=100)
def matcher(patterns: tuple[str, ...]) -> Matcher:
    return Matcher(patterns)


def uuid_of(pattern: str) -> UUID | None:
    """The only task that events of this pattern can be about; None when there may be others."""
    parts = pattern.split(".")
    return _uuid(parts[1]) if len(parts) == 3 else None


def _regex(pattern: str, star: str) -> str:
    return star.join(re.escape(part) for part in pattern.split("*"))


def _long_regex(pattern: str) -> str | None:
    parts = pattern.split(".")
    if len(parts) != 3:
        return None
    head, middle, tail = parts
    uuid = _uuid(middle)
    if uuid is None and middle != "*":
        return None
    return r"\.".join((_regex(head, "[^.]*"), "[^.]*" if uuid is None else str(uuid), _regex(tail, "[^.]*")))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _long_name(name: str, uuid: UUID) -> str:
    """`task.done` of a task as `task.<uuid>.done`."""
    head, _, tail = name.partition(".")
    return f"{head}.{uuid}.{tail}"
