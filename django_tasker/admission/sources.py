"""One stream during a pass, read in queue order."""

from __future__ import annotations

from ..conditions import Condition
from . import rows
from .rows import Row

PAGES = (64, 256, 1024, 4096)
"""Rows read at once; each page of a stream is longer than the one before."""


class Source:
    """One stream during a pass: its rows in queue order, read page by page."""

    def __init__(self, using: str, hold: int, condition: Condition | None, first: list[Row] | None, size: int) -> None:
        self.hold = hold
        self.condition = condition
        self.closed = False
        self.exhausted = False
        self.kept = 0  # rows read and not started
        self._using = using
        self._page = first if first is not None else rows.page(using, hold, None, size)
        self._size = size
        self._next = 0

    def pop(self) -> Row | None:
        if self._next >= len(self._page):
            if len(self._page) < self._size:
                self.exhausted = True
                return None
            last = self._page[-1].place
            self._size = next((size for size in PAGES if size > self._size), PAGES[-1])
            self._page, self._next = rows.page(self._using, self.hold, last, self._size), 0
            if not self._page:
                self.exhausted = True
                return None
        self._next += 1
        return self._page[self._next - 1]

    def upcoming(self, count: int) -> list[Row]:
        """The next rows of the page in hand, the one just popped included."""
        return self._page[self._next - 1 : self._next - 1 + count]
