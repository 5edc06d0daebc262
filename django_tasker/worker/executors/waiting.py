"""The assignments that an executor was given and has not begun, in order."""

from __future__ import annotations

from collections import OrderedDict

from ..messages import Assignment


class Waiting:
    """A queue from whose middle one can be taken. Not thread safe: its executor holds a lock."""

    def __init__(self) -> None:
        # Not a dict: one that is emptied from its front is slower with every item that was there.
        self._assignments: OrderedDict[tuple[int, int], Assignment] = OrderedDict()

    def __len__(self) -> int:
        return len(self._assignments)

    def add(self, assignment: Assignment) -> None:
        self._assignments[assignment.key] = assignment

    def put_back(self, assignment: Assignment) -> None:
        """Make it the first one."""
        self.add(assignment)
        self._assignments.move_to_end(assignment.key, last=False)

    def take(self) -> Assignment | None:
        """The first one; None: there is none."""
        return self._assignments.popitem(last=False)[1] if self._assignments else None

    def remove(self, key: tuple[int, int]) -> Assignment | None:
        return self._assignments.pop(key, None)

    def clear(self) -> list[Assignment]:
        """Take all, in order."""
        assignments = list(self._assignments.values())
        self._assignments.clear()
        return assignments
