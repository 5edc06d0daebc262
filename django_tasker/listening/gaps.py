"""Ids that were passed by and may still appear."""

from __future__ import annotations

from dataclasses import dataclass

KEEP_SECONDS = 300.0
"""How long a passed id is asked for again: longer than any sensible transaction."""
MAX_RANGES = 100
MAX_IDS = 10_000


@dataclass(slots=True)
class _Range:
    first: int
    last: int
    until: float


class Gaps:
    """Ranges of missing ids, bounded in number, size and time: of too many, the oldest are given up.

    PostgreSQL and MySQL give out ids before the commit, so id 7 may become visible after id 8; a rolled back
    transaction leaves its ids missing for ever.
    """

    def __init__(self) -> None:
        self._ranges: list[_Range] = []

    def ranges(self, now: float) -> list[tuple[int, int]]:
        """What to ask for, (first, last) each, in order."""
        self._ranges = [each for each in self._ranges if each.until > now][-MAX_RANGES:]
        return [(each.first, each.last) for each in self._ranges]

    def note(self, first: int, last: int, now: float) -> None:
        """Remember that `first` to `last` are missing; they are above all that was noted before."""
        if first <= last:
            self._ranges.append(_Range(max(first, last - MAX_IDS + 1), last, now + KEEP_SECONDS))

    def fill(self, found: int) -> None:
        """`found` has appeared."""
        for index, each in enumerate(self._ranges):
            if each.first <= found <= each.last:
                halves = (_Range(each.first, found - 1, each.until), _Range(found + 1, each.last, each.until))
                self._ranges[index : index + 1] = [half for half in halves if half.first <= half.last]
                return
