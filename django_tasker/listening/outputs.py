"""Waiting for a task's end."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.db import connections

from ..databases import alias
from ..errors import TaskAborted, TaskFailed, WaitTimeout
from ..models import Task
from ..notify import notifier
from ..statuses import ENDED, Status
from .reading import Looker, not_found


def wait_for_output(uuid: UUID, timeout: float | None = None, *, using: str | None = None) -> Any:
    """Wait until a task has ended; return its result.

    Holds no transaction. Inside one of the caller's, a task added in it can't start before it commits, and on
    SQLite no other task can end: wait outside, or give a timeout.

    Args:
        timeout: seconds; None: as long as it takes.

    Raises:
        TaskFailed, TaskAborted: it ended otherwise; `error`, or `reason`, says how.
        TaskNotFound: no task has this uuid, or it was deleted meanwhile.
        WaitTimeout: it has not ended in time.
    """
    wait = _Wait(uuid, timeout, using or alias())
    if wait.has_ended():
        return wait.output()
    with notifier(wait.using).subscribe(f"task:{uuid}") as subscription:
        while not wait.look(wait.has_ended, False):
            subscription.wait(wait.pause())
    return wait.output()


async def await_for_output(uuid: UUID, timeout: float | None = None, *, using: str | None = None) -> Any:
    """The same for coroutines; waiting holds no thread."""
    wait = _Wait(uuid, timeout, using or alias())
    with notifier(wait.using).subscribe(f"task:{uuid}") as subscription:
        while not await wait.alook(wait.has_ended, False):
            await subscription.await_(wait.pause())
    return wait.output()


class _Wait(Looker):
    """One caller's wait for one task."""

    def __init__(self, uuid: UUID, timeout: float | None, using: str) -> None:
        super().__init__(using)
        self._uuid = uuid
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._is_inside = False
        self._row: tuple[str, Any, Any, str | None] | None = None

    def has_ended(self) -> bool:
        self._is_inside = connections[self.using].in_atomic_block
        rows = Task.objects.using(self.using).filter(uuid=self._uuid)
        self._row = rows.values_list("status", "result", "error", "abort_reason").first()
        if self._row is None:
            raise not_found(self._uuid)
        return self._row[0] in ENDED

    def pause(self) -> float:
        """Seconds until the next look, if no wake-up comes before."""
        pause = notifier(self.using).poll_interval
        if self._deadline is None:
            return pause
        left = self._deadline - time.monotonic()
        if left <= 0:
            status = "unknown" if self._row is None else self._row[0]
            hint = "; the wait is inside a transaction, which may be what it waits for" if self._is_inside else ""
            raise WaitTimeout(f"Task {self._uuid} has not ended within {self._timeout:g} s, it is {status}{hint}.")
        return min(pause, left)

    def output(self) -> Any:
        assert self._row is not None
        status, result, error, reason = self._row
        if status == Status.FAILED:
            what = error.get("message") if isinstance(error, dict) else error
            raise TaskFailed(f"Task {self._uuid} failed: {what}", error=error)
        if status == Status.ABORTED:
            raise TaskAborted(f"Task {self._uuid} was aborted: {reason}", reason=reason)
        return result
