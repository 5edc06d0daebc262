"""The places a worker has for more tasks: free slots first, then some ahead of slots that will soon be free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..statuses import Ahead


class Claimable(Protocol):
    """What tells whether a task may be claimed ahead."""

    @property
    def id(self) -> int: ...
    @property
    def losses(self) -> int: ...
    @property
    def ahead(self) -> int: ...


class Places:
    """What is left of them during one pass, by kind of executor.

    Args:
        free: how many tasks may be claimed.
        slots: how many of those would begin at once; None: all.
    """

    def __init__(self, free: Mapping[str, int], slots: Mapping[str, int] | None = None) -> None:
        self._free = dict(free)
        self._slots = dict(free if slots is None else slots)
        self.ahead: set[int] = set()
        """Ids of the tasks that were given a place ahead."""

    def __bool__(self) -> bool:
        return any(self._free.values())

    def most(self) -> int:
        """The places of the kind that has most."""
        return max(self._free.values(), default=0)

    def open_kinds(self) -> set[str]:
        return {kind for kind, count in self._free.items() if count}

    def has(self, kind: str) -> bool:
        return bool(self._free.get(kind))

    def take(self, kind: str, task: Claimable) -> bool:
        """Give a task a place. One that may have killed its worker gets a slot, or none, and nor do those behind it."""
        if self._slots.get(kind, 0) > 0:
            self._slots[kind] -= 1
        elif task.losses or task.ahead == Ahead.LOST:
            self._free[kind] = 0
            return False
        else:
            self.ahead.add(task.id)
        self._free[kind] -= 1
        return True
