"""One run of one task: what the runner is given, and what becomes of what it returns or raises.

The same for every executor. Only the call itself is theirs: `runner(task)` or `await runner(task)`, somewhere.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import math
import threading
import time
from datetime import datetime
from typing import Any
from uuid import UUID

from .. import json_values, logs
from ..abort import AbortController, AbortSignal
from ..conf import Options
from ..errors import InvalidTask, Postpone, Retry, RunAborted
from ..json_values import storable_text
from ..registry import Registry, Runner, reference_to
from ..registry import registry as project_registry
from ..tracebacks import MAX_MESSAGE_CHARACTERS, error_of
from .messages import Assignment, Ended, Entry, Sink
from .progress import ProgressReports

_ABORTED = (RunAborted, asyncio.CancelledError)


class RunningTask:
    """What a runner is called with: the task as it is while it runs."""

    __slots__ = ("_assignment", "_progress", "abort_signal")

    def __init__(self, assignment: Assignment, abort_signal: AbortSignal, progress: ProgressReports) -> None:
        self._assignment = assignment
        self._progress = progress
        self.abort_signal = abort_signal

    @property
    def uuid(self) -> UUID:
        return self._assignment.uuid

    @property
    def operation(self) -> str:
        return self._assignment.operation

    @property
    def queue(self) -> str:
        return self._assignment.queue

    @property
    def data(self) -> Any:
        """The task's data: JSON as it was added."""
        return self._assignment.data

    @property
    def priority(self) -> float:
        return self._assignment.priority

    @property
    def attempt(self) -> int:
        """1 for the first run of the task, 2 for the second, and so on."""
        return self._assignment.attempt

    @property
    def max_attempts(self) -> int:
        return self._assignment.max_attempts

    @property
    def logger(self) -> logging.Logger:
        """Logs into the task, whatever levels the project has set."""
        return logs.task_logger(self._assignment.operation)

    def progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Show how far the run is. Call it as often as you like: about ten values a second go out, and the last.

        Raises:
            InvalidTask: a number is none, or not finite.
        """
        self._progress.report(current, total, message)

    def __repr__(self) -> str:
        return f"<RunningTask {self.uuid} {self.operation!r} attempt {self.attempt}>"


class Run:
    """One attempt, from its call to its `Ended`.

    An executor calls the runner that `resolve` finds with `task`, while `capture` takes what it logs, makes an
    outcome by `returned()` or `raised()` and reports it by `finish()`. Whoever gives a run up instead calls
    `finish()` with an outcome of his own: the first one counts, and nothing is reported of the run after it.

    `lock` is held while the sink is called with entries and progress: an executor that raises exceptions in a
    runner's thread takes it too, so as not to hit the sink.
    """

    __slots__ = ("_is_finished", "_progress", "_sink", "assignment", "capture", "controller", "key", "lock", "task")

    def __init__(self, assignment: Assignment, sink: Sink) -> None:
        self.assignment = assignment
        self.key = key = assignment.key
        self.controller = AbortController()
        self.lock = threading.RLock()
        self._sink = sink
        self._is_finished = False
        self._progress = ProgressReports(functools.partial(sink.progress, key), self.lock)
        self.capture = logs.Capture(
            assignment.log_level,
            assignment.log_entries_left,
            assignment.log_bytes_left,
            functools.partial(_deliver, sink, key),
            self.lock,
        )
        self.task = RunningTask(assignment, self.controller.signal, self._progress)

    @property
    def is_finished(self) -> bool:
        return self._is_finished

    # -- how it ended -------------------------------------------------------------------------------------------

    def returned(self, result: Any, options: Options) -> Ended:
        """The outcome of a runner that returned."""
        if result is None:
            return self._ended("done")
        try:
            text = json_values.dumps(result, path="result", max_bytes=options.max_result_bytes)
        except InvalidTask as error:
            message = storable_text(str(error), MAX_MESSAGE_CHARACTERS)
            return self._ended("failed", error={"type": "InvalidResult", "message": message, "traceback": None})
        except Exception as error:  # out of memory; an odd subclass of dict
            return self._ended("failed", error=error_of(error))
        return self._ended("done", result=text)

    def raised(self, error: BaseException) -> Ended:
        """The outcome of a runner that raised."""
        if isinstance(error, Retry | Postpone):
            return self._asked(error)
        if self.controller.signal.aborted and _is_giving_way(error):
            return self.aborted()
        return self._ended("failed", error=error_of(error))

    def aborted(self) -> Ended:
        return self._ended("aborted", reason=self.controller.signal.reason)

    def died(self, message: str, *, kind: str = "RunnerDied") -> Ended:
        """The outcome of a run that was lost or given up; `reason` is that of its abort, if there was one."""
        error = {"type": kind, "message": message, "traceback": None}
        return self._ended("died", error=error, reason=self.controller.signal.reason)

    def _asked(self, asked: Retry | Postpone) -> Ended:
        """The outcome that the runner chose by raising Retry or Postpone."""
        try:
            delay = _seconds(asked.delay)
            until = _timestamp(asked.until) if isinstance(asked, Postpone) else None
        except ValueError as wrong:
            wrong.__context__ = asked
            return self._ended("failed", error=error_of(wrong))
        reason = storable_text(str(asked.reason), MAX_MESSAGE_CHARACTERS) or None
        if isinstance(asked, Postpone):
            return self._ended("postpone", reason=reason, delay=delay, until=until)
        return self._ended("retry", reason=reason, delay=delay, error=error_of(asked))

    def _ended(self, kind: str, **values: Any) -> Ended:
        return Ended(*self.key, kind, ended=time.time(), **values)

    def finish(self, ended: Ended) -> bool:
        """Report the end; False, and nothing is reported, if that was done already."""
        with self.lock:
            if self._is_finished:
                return False
            self._is_finished = True
            self._progress.close()
            self.capture.close()
            ended.logs_dropped = self.capture.dropped
            self._sink.ended(ended)
        return True


def _deliver(sink: Sink, key: tuple[int, int], entry: Entry) -> None:
    sink.log(key, [entry])


def resolve(operation: str, registry: Registry = project_registry, reference: str | None = None) -> Runner:
    """The runner of an operation.

    Args:
        reference: what `registry.reference_to` says of the runner that is meant, for processes that have not
            imported all that the assigning process has: it is imported if the registry has not this one.

    Raises:
        UnknownOperation: there is none.
    """
    assigned = registry.get(operation)
    if assigned is not None and (reference is None or reference == reference_to(assigned.runner)):
        return assigned.runner
    found = _import(reference) if reference else None
    if found is not None:
        return found
    raise UnknownOperation(
        f"No runner is assigned to the operation {operation!r} here. "
        "Assign it in the `runners` module of an installed app, where every worker finds it."
    )


class UnknownOperation(LookupError):
    """The process that was to run a task knows no runner for it."""


def _import(reference: str) -> Runner | None:
    module, _, name = reference.partition(":")
    try:
        found = importlib.import_module(module)
        return functools.reduce(getattr, name.split("."), found)  # type: ignore[return-value]
    except (ImportError, AttributeError, ValueError):
        return None


def _is_giving_way(error: BaseException) -> bool:
    """Whether a runner that raised this did so because its abort signal was given."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(_ABORTED)[1] is None
    return isinstance(error, _ABORTED)


def _seconds(delay: object) -> float | None:
    if delay is None:
        return None
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not math.isfinite(delay) or delay < 0:
        raise ValueError(f"delay must be a number of seconds, 0 or more, not {delay!r:.200}.")
    return float(delay)


def _timestamp(until: object) -> float | None:
    if until is None:
        return None
    if not isinstance(until, datetime) or until.tzinfo is None:
        raise ValueError(f"until must be an aware datetime, not {until!r:.200}.")
    return until.timestamp()
