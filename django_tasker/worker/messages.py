"""What the dispatcher and the executors tell each other: plain, picklable values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID


@dataclass(slots=True)
class Assignment:
    """One attempt that an executor is to run."""

    id: int
    uuid: UUID
    operation: str
    queue: str
    data: Any
    priority: float
    attempt: int
    max_attempts: int
    log_level: int  # least severe level to capture
    log_entries_left: int  # entries this attempt may store
    log_bytes_left: int
    run_timeout: float | None = None  # seconds from the start of the runner; the dispatcher enforces it
    run_deadline: float | None = None  # unix time; the dispatcher enforces it

    @property
    def key(self) -> tuple[int, int]:
        return self.id, self.attempt


@dataclass(slots=True)
class Entry:
    """A captured log entry, not yet numbered."""

    created: float  # unix time
    level: int
    logger: str
    message: str
    traceback: str | None = None
    extra: dict[str, Any] | None = None
    size: int = 0  # bytes that count for the cap


@dataclass(slots=True)
class Ended:
    """How an attempt ended, as its executor saw it.

    `kind` is one of: done, failed, aborted (the runner gave way to its abort signal), retry, postpone (it raised
    Retry or Postpone), died (its process ended without a word, was killed, or can't be stopped).
    """

    id: int
    attempt: int
    kind: str
    result: str | None = None  # JSON text, with kind done; None: no result
    error: dict[str, Any] | None = None  # {"type", "message", "traceback"}, with failed, retry, died
    reason: str | None = None
    delay: float | None = None  # seconds, with retry and postpone
    until: float | None = None  # unix time, with postpone
    logs_dropped: int = 0
    ended: float = field(default=0.0)  # unix time


class Sink(Protocol):
    """Where executors report. Called from their threads: returns at once, never blocks, never raises."""

    def started(self, key: tuple[int, int]) -> None:
        """The runner is being called now: its run_timeout begins."""

    def log(self, key: tuple[int, int], entries: list[Entry]) -> None: ...

    def progress(self, key: tuple[int, int], progress: dict[str, Any]) -> None:
        """`progress` is {"current", "total", "message"}."""

    def ended(self, ended: Ended) -> None:
        """The attempt is over and its slot free; always the last report of an attempt, exactly once."""
