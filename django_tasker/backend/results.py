"""Rows of tasks as the `Task` and `TaskResult` of Django."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any
from uuid import UUID

from django.tasks import Task, TaskResult, TaskResultStatus, task_backends
from django.tasks.base import TASK_MAX_PRIORITY, TASK_MIN_PRIORITY, TaskError
from django.tasks.exceptions import InvalidTask, TaskException
from django.tasks.signals import task_finished
from django.utils.module_loading import import_string

from ..databases import alias
from ..models import Attempt
from ..models import Task as Row
from ..registry import registry
from ..statuses import Outcome, Status
from . import TaskerBackend
from .running import arun_task, run_task

STATUSES = {
    Status.NEW: TaskResultStatus.READY,
    Status.RUNNING: TaskResultStatus.RUNNING,
    Status.DONE: TaskResultStatus.SUCCESSFUL,
    Status.FAILED: TaskResultStatus.FAILED,
    Status.ABORTED: TaskResultStatus.FAILED,
}
FAILURES = (Outcome.RETRIED, Outcome.FAILED, Outcome.LOST)


def find_row(result_id: str, using: str | None = None) -> Row | None:
    """The task with this id if a backend has enqueued it, or its operation is a task function; else None."""
    try:
        uuid = UUID(result_id)
    except (TypeError, ValueError, AttributeError):
        return None
    row = Row.objects.using(using or alias()).filter(uuid=uuid).first()
    return row if row is not None and _is_ours(row) else None


def _is_ours(row: Row) -> bool:
    """Whether the row's operation is the path of a task function: known here, or written by a backend."""
    assigned = registry.get(row.operation)
    if assigned is not None:
        return assigned.runner in (run_task, arun_task)
    return isinstance(row.data, dict) and isinstance(row.data.get("backend"), str)


def find_task(path: str) -> Task[..., Any]:
    """The `Task` that stands at a module path.

    Raises:
        InvalidTask: there is nothing, or something else.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise InvalidTask(f"There is no task at {path!r}: {error}.") from error
    if not isinstance(found, Task):
        raise InvalidTask(f"{path!r} is a {type(found).__name__}; a worker needs to find the task itself there.")
    return found


def arguments_of(data: Any) -> tuple[list[Any], dict[str, Any]]:
    """What the function is called with.

    Raises:
        InvalidTask: the data, which can be changed while a task is new, has another shape.
    """
    given = {} if data is None else data
    if isinstance(given, dict):
        args, kwargs = given.get("args", []), given.get("kwargs", {})
        if isinstance(args, list) and isinstance(kwargs, dict):
            return args, kwargs
    raise InvalidTask('The data of a task function must be an object with a list "args" and an object "kwargs".')


def task_of(row: Row) -> Task[..., Any]:
    """The `Task` of a row, with the backend, priority, queue and time that the row has now.

    Raises:
        InvalidTask: its function is gone, or its backend is no `TaskerBackend` any more.
    """
    task = find_task(row.operation)
    name = row.data.get("backend") if isinstance(row.data, dict) else None
    name = name if name in task_backends.settings else task.backend
    backend = task_backends[name]
    if not isinstance(backend, TaskerBackend):
        raise InvalidTask(f"{row.operation!r} is a task of TASKS[{name!r}], which is no TaskerBackend.")
    # Whoever steers a task may give it any number, and any queue: Django's are narrower.
    priority = round(max(TASK_MIN_PRIORITY, min(TASK_MAX_PRIORITY, -row.priority)))
    queue = row.queue if not backend.queues or row.queue in backend.queues else None
    return task.using(backend=name, priority=priority, queue_name=queue, run_after=row.run_at)


def result_of(row: Row) -> TaskResult[..., Any]:
    """The row as a `TaskResult`; asks the database for earlier attempts.

    Raises:
        InvalidTask: its function is gone, or its data is none for a task function.
    """
    task = task_of(row)
    args, kwargs = arguments_of(row.data)
    earlier = list(row.earlier_attempts.order_by("id"))
    runs = _runs(row, earlier)
    result = TaskResult(
        task=task,
        id=str(row.uuid),
        status=STATUSES[Status(row.status)],
        enqueued_at=row.added_at,
        started_at=min(runs, default=None),
        finished_at=row.ended_at,
        last_attempted_at=max(runs, default=None),
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=list(_errors(row, earlier)),
        worker_ids=list(runs.values()),
    )
    object.__setattr__(result, "_return_value", row.result)
    return result


def _runs(row: Row, earlier: list[Attempt]) -> dict[datetime, str]:
    """When each attempt started, and on which worker.

    A row keeps the start of its latest attempt while it waits for the next one: that attempt is found twice.
    """
    runs = {attempt.started_at: attempt.worker_name or "" for attempt in earlier if attempt.started_at}
    if row.started_at:
        runs.setdefault(row.started_at, row.worker_name or "")
    return runs


def _errors(row: Row, earlier: list[Attempt]) -> list[TaskError]:
    errors = [_error(attempt.error) for attempt in earlier if attempt.error and attempt.outcome in FAILURES]
    if row.status == Status.FAILED:
        errors.append(_error(row.error or {}))
    elif row.status == Status.ABORTED:
        path = "django_tasker.errors.TaskAborted"
        errors.append(TaskError(exception_class_path=path, traceback=f"{path}: {row.abort_reason or 'aborted'}"))
    return errors


def _error(error: dict[str, Any]) -> TaskError:
    name, message = error.get("type") or "TaskFailed", error.get("message") or ""
    path = name if "." in name else f"builtins.{name}"
    if not was_raised(error):  # a name of ours, like ProcessDied, for what no exception has told
        path = "django_tasker.errors.TaskFailed"
    return TaskError(exception_class_path=path, traceback=error.get("traceback") or f"{name}: {message}")


def was_raised(error: dict[str, Any]) -> bool:
    """Whether an exception is the cause of an error, and not the end of a process or the like."""
    name = error.get("type") or ""
    return "." in name or hasattr(builtins, name)


def tell_end(uuid: UUID, using: str, error: dict[str, Any] | None) -> None:
    """Send `task_finished` of a task of ours that was aborted (`error` None) or failed by no exception."""
    if error is not None and was_raised(error):
        return  # told where it was raised
    row = find_row(str(uuid), using)
    if row is None:
        return
    try:
        result = result_of(row)
    except TaskException:
        return  # its function is gone: there is no result to tell of
    task_finished.send_robust(type(result.task.get_backend()), task_result=result)
