"""A backend for `django.tasks`, so that functions under Django's own `@task` run as tasks of this app.

    TASKS = {"default": {"BACKEND": "django_tasker.backend.TaskerBackend"}}

Every task function is an operation, named by its module path like `shop.tasks.send_invoice`: it shows so in the
admin, is paused, limited, queried and explained like any other. A task's data is `{"args", "kwargs", "backend"}`.

A worker runs the functions that its process has seen decorated. It imports `tasks` (beside `runners`) of every
installed app to see them; what lives elsewhere has to be imported from there, or by something that is. A function
that no worker has seen waits, and `explain_task` says so. Nothing is imported just because a row names it.

Priorities point the other way: Django runs the highest of -100 to 100 first, django_tasker the smallest float. They
are negated on the way in and out, so 5 in `using(priority=5)` is -5 in the admin and in queries.

`task_enqueued` is sent after the commit, in the process that enqueued; `task_started` and `task_finished` around the
function, in the process, thread or loop that runs it. A task that ends otherwise (aborted, or its process died) is
told of by the process that wrote its end. A failed attempt that will be repeated is not finished.

Before it calls the function, a run reads the task's row and its earlier attempts, for the `TaskResult` that signals
and contexts carry: two short queries by key, which a runner of django_tasker does without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

import django
from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import autodiscover_modules

try:
    from django.tasks import Task, TaskResult, TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
    from django.tasks.signals import task_enqueued
    from django.utils.json import normalize_json
except ImportError as error:
    raise ImproperlyConfigured(
        f"django_tasker.backend is a backend of django.tasks, which came with Django 6.0; this is {django.__version__}."
    ) from error

from .. import errors, signals
from ..registry import describe, is_async, registry
from .running import TaskerContext, arun_task, run_task

__all__ = ["TaskerBackend", "TaskerContext", "discover"]

Params = ParamSpec("Params")
Value = TypeVar("Value")

# What touches models is imported when it is needed: `@task` may stand in a module that models import.


class TaskerBackend(BaseTaskBackend):
    """Enqueues functions under `@task` as tasks of django_tasker; `tasker_worker` runs them.

    `OPTIONS` of its entry in TASKS:

    - `executor`: "process" or "thread", for plain functions decorated with this backend; a coroutine function runs as
      a coroutine. Default: TASKER["EXECUTOR"].
    - options of `add_task` that every task enqueued by it gets: `max_attempts`, `retry_delay`, `run_timeout`,
      `run_until`, `queue_timeout`, `concurrency`, `on_stop`, `keep_for`.

    `QUEUES` lists the queues that tasks may name, `["default"]` if it is left out and any if it is empty.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._task_options = {name: value for name, value in self.options.items() if name != "executor"}
        # There is one of us per thread: the uids keep the receiver from being connected twice.
        for signal in (signals.task_aborted, signals.task_failed):
            signal.connect(_tell_end, dispatch_uid="django_tasker.backend")

    def validate_task(self, task: Task[..., Any]) -> None:
        """Refuse what can't be run, and assign the function to its operation: Django asks at every `@task`.

        Raises:
            InvalidTask: Django's.
        """
        super().validate_task(task)
        runner = arun_task if is_async(task.func) else run_task
        operation = task.module_path
        assigned = registry.get(operation)
        if assigned is not None:
            if assigned.runner not in (run_task, arun_task):
                raise InvalidTask(f"The operation {operation!r} has a runner already: {describe(assigned.runner)}.")
            return
        try:
            registry.assign(operation, runner, executor=self.options.get("executor"))
        except errors.InvalidTask as error:
            raise InvalidTask(f"{operation} can't be a task: {error}") from error

    def enqueue(
        self, task: Task[Params, Value], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult[Params, Value]:
        """Add the task in the caller's transaction: rolled back with it, seen by workers at its commit.

        Raises:
            InvalidTask: Django's: the task, an argument or an option is refused.
            TypeError: an argument has a type that JSON has no word for.
        """
        from ..databases import alias
        from ..facade import tasker
        from .results import find_task

        self.validate_task(task)
        if find_task(task.module_path).func is not task.func:
            raise InvalidTask(f"{task.module_path!r} is another task than the one enqueued: a worker would run that.")
        data: dict[str, Any] = {"args": normalize_json(args), "kwargs": normalize_json(kwargs), "backend": self.alias}
        run_at = task.run_after
        if run_at is not None and timezone.is_naive(run_at):
            run_at = timezone.make_aware(run_at)
        options = {**self._task_options, "priority": -task.priority, "queue": task.queue_name, "run_at": run_at}
        try:
            row = tasker.add_task(task.module_path, data, **options)
        except errors.InvalidTask as error:
            raise InvalidTask(f"{task.module_path} can't be enqueued: {error}") from error
        result = TaskResult(
            task=task,
            id=str(row.uuid),
            status=TaskResultStatus.READY,
            enqueued_at=row.added_at,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=data["args"],
            kwargs=data["kwargs"],
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        transaction.on_commit(partial(task_enqueued.send_robust, type(self), task_result=result), using=alias())
        return result

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """The result as it is now, of any task that a backend of this kind has enqueued.

        Raises:
            TaskResultDoesNotExist: no such task has this id.
            TaskResultMismatch: its function can't be imported any more.
        """
        from .results import find_row, result_of

        row = find_row(result_id)
        if row is None:
            raise TaskResultDoesNotExist(result_id)
        try:
            return result_of(row)
        except InvalidTask as error:
            raise TaskResultMismatch(f"The result {result_id} can't be shown: {error}") from error

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """System checks of this entry of TASKS: its OPTIONS, and that the app is installed."""
        where = f"TASKS[{self.alias!r}]"
        if not apps.is_installed("django_tasker"):
            text = f"{where} uses django_tasker, which is not installed."
            return [Error(text, hint='Add "django_tasker" to INSTALLED_APPS.', id="django_tasker.E004")]
        from .options import problems

        hint = "See django_tasker.backend.TaskerBackend for the options there are."
        return [
            Error(f"{where}['OPTIONS']: {text}", hint=hint, id="django_tasker.E003") for text in problems(self.options)
        ]


def discover() -> None:
    """Import `tasks` of every installed app, if TASKS has a backend of this kind: each `@task` assigns its function."""
    if any(isinstance(backend, TaskerBackend) for backend in task_backends.all()):
        autodiscover_modules("tasks")


def _tell_end(uuid: Any, using: str, **arguments: Any) -> None:
    """Send `task_finished` of a task that did not end by its function: that was told where it ran."""
    from .results import tell_end

    tell_end(uuid, using, arguments.get("error"))
