"""Every error that django_tasker raises, in one tree, grouped by who can act on it.

`Retry` and `Postpone` are raised by runners on purpose and `RunAborted` stops one: they are no errors
and stand outside the tree.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from .models import Task


class TaskerError(Exception):
    """Root of all errors of django_tasker."""

    code = "error"
    """Stable, machine-readable name of the kind of error; doors pass it on."""


# The caller can act: what was passed is wrong.


class InvalidQuery(TaskerError, ValueError):
    """A query has an unknown field or operator, a wrong type, or is too large; `path` names the place."""

    code = "invalid_query"

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, {"path": self.path})


class InvalidTask(TaskerError, ValueError):
    """A value that a task was to be given is refused before anything is written; `path` names the place."""

    code = "invalid_task"

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, {"path": self.path})


class InvalidTaskState(TaskerError):
    """The task's status does not allow this any more (or not yet)."""

    code = "invalid_task_state"


class UnknownEvent(TaskerError, ValueError):
    """`on`, `once` or `off` was given a name that no event has."""

    code = "unknown_event"


class DuplicateTask(TaskerError):
    """A new or running task carries the same `unique_key`; it is the attribute `task`."""

    code = "duplicate_task"

    def __init__(self, message: str, *, task: Task) -> None:
        super().__init__(message)
        self.task = task


class RunnerAlreadyAssigned(TaskerError):
    """An operation was given a second runner."""

    code = "runner_already_assigned"


# The operator can act: the project is set up wrongly.


class ConfigurationError(TaskerError, ImproperlyConfigured):
    """The TASKER setting, or what a worker was asked to do, does not fit together."""

    code = "configuration"


# The moment: what was asked for is not there, or ended otherwise than hoped.


class TaskNotFound(TaskerError, LookupError):
    """No task has this uuid."""

    code = "task_not_found"


class TaskFailed(TaskerError):
    """The awaited task failed; `error` is what the runner's last attempt left."""

    code = "task_failed"

    def __init__(self, message: str, *, error: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.error = error


class TaskAborted(TaskerError):
    """The awaited task was aborted; `reason` says why."""

    code = "task_aborted"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class WaitTimeout(TaskerError, TimeoutError):
    """The task did not end within the time given to wait for it."""

    code = "wait_timeout"


def _rebuild(cls: type[Exception], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception:
    return cls(*args, **kwargs)


# Raised on purpose by, or inside, a runner.


class Retry(Exception):
    """Raise in a runner to end this attempt and try again, while attempts are left.

    Args:
        delay: seconds until the next attempt; None takes the task's own `retry_delay` and backoff.
        reason: kept with the attempt.
    """

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay.total_seconds() if isinstance(delay, timedelta) else delay


class Postpone(Exception):
    """Raise in a runner to put the task back until later; it does not count as an attempt.

    Args:
        until: an aware datetime; or
        delay: seconds (or a timedelta) from now. With neither, the task is due at once.
    """

    def __init__(
        self, reason: str = "", *, until: datetime | None = None, delay: float | timedelta | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until
        self.delay = delay.total_seconds() if isinstance(delay, timedelta) else delay


class RunAborted(BaseException):
    """Ends a runner whose abort signal was given; raised by `raise_if_aborted()` and in threads."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
