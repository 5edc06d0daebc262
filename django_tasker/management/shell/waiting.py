"""`tasker wait`, and the wait of `tasker add --wait`: exit codes that scripts can use."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any
from uuid import UUID

from django_tasker import tasker

from ...errors import TaskAborted, TaskFailed, WaitTimeout
from ...models import Task
from .output import Output, progress_text, to_json

DONE, FAILED, ABORTED, TIMED_OUT = range(4)
_REDRAW_SECONDS = 0.25


def wait(out: Output, options: Namespace) -> int:
    """Wait for every task named; the exit code is the highest of theirs."""
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    return max(wait_for(out, uuid, deadline) for uuid in options.uuids)


def wait_for(out: Output, uuid: UUID, deadline: float | None) -> int:
    """Wait for one task until `deadline` (monotonic; None: for ever), print how it ended, return the exit code."""
    try:
        result = _wait_with_bar(out, uuid, deadline) if out.is_terminal else _wait(uuid, _left(deadline))
    except TaskFailed as error:
        return _tell(out, uuid, "failed", {"error": error.error}, str(error), FAILED)
    except TaskAborted as error:
        return _tell(out, uuid, "aborted", {"reason": error.reason}, str(error), ABORTED)
    except WaitTimeout:
        status = tasker.get_task(uuid).status
        text = f"Task {uuid} has not ended in time; it is {status}."
        return _tell(out, uuid, status, {"timed_out": True}, text, TIMED_OUT)
    return _tell(out, uuid, "done", {"result": result}, to_json(result), DONE)


def _wait(uuid: UUID, timeout: float | None) -> Any:
    return tasker.wait_for_task_output_data(uuid, timeout=timeout)


def _wait_with_bar(out: Output, uuid: UUID, deadline: float | None) -> Any:
    """Wait in short steps and draw the progress between them."""
    try:
        while True:
            left = _left(deadline)
            try:
                return _wait(uuid, _REDRAW_SECONDS if left is None else min(left, _REDRAW_SECONDS))
            except WaitTimeout:
                if left is not None and left <= _REDRAW_SECONDS:
                    raise
            out.transient(_bar(out, tasker.get_task(uuid)))
    finally:
        out.transient("")


def _bar(out: Output, task: Task) -> str:
    return f"{task.operation} {out.status(task.status)} {progress_text(task.progress)}"


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _tell(out: Output, uuid: UUID, status: str, details: dict[str, Any], text: str, code: int) -> int:
    out.either({"uuid": str(uuid), "status": status, **details}, text)
    return code
