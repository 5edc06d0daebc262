"""A sink that keeps what executors report, and assignments to give them."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from typing import Any
from uuid import uuid4

from django_tasker.worker.messages import Assignment, Ended, Entry
from tests.waiting import wait_until

Key = tuple[int, int]

_ids = itertools.count(1)


class RecordingSink:
    """Keeps every report, by the key of its attempt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reports: dict[Key, list[tuple[str, Any]]] = defaultdict(list)

    def started(self, key: Key) -> None:
        self._keep(key, "started", None)

    def log(self, key: Key, entries: list[Entry]) -> None:
        for entry in entries:
            self._keep(key, "log", entry)

    def progress(self, key: Key, progress: dict[str, Any]) -> None:
        self._keep(key, "progress", progress)

    def ended(self, ended: Ended) -> None:
        self._keep((ended.id, ended.attempt), "ended", ended)

    def _keep(self, key: Key, kind: str, value: Any) -> None:
        with self._lock:
            self.reports[key].append((kind, value))

    # -- what tests ask ---------------------------------------------------------------------------------------

    def of(self, key: Key, kind: str) -> list[Any]:
        with self._lock:
            return [value for found, value in self.reports[key] if found == kind]

    def kinds(self, key: Key) -> list[str]:
        with self._lock:
            return [kind for kind, _ in self.reports[key]]

    def entries(self, key: Key) -> list[Entry]:
        return self.of(key, "log")

    def messages(self, key: Key) -> list[str]:
        return [entry.message for entry in self.entries(key)]

    def wait(self, key: Key, timeout: float = 20) -> Ended:
        """The end of an attempt, which is reported once, as the last thing."""
        ended = wait_until(lambda: self.of(key, "ended"), timeout)
        assert len(ended) == 1 and self.kinds(key)[-1] == "ended"
        return ended[0]


def assignment(operation: str, data: Any = None, **values: Any) -> Assignment:
    """One with an id of its own, and caps that nothing reaches."""
    return Assignment(
        **{
            "id": next(_ids),
            "uuid": uuid4(),
            "operation": operation,
            "queue": "default",
            "data": data,
            "priority": 0.0,
            "attempt": 1,
            "max_attempts": 1,
            "log_level": 10,
            "log_entries_left": 10_000,
            "log_bytes_left": 10_000_000,
            **values,
        }
    )
