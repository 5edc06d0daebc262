"""The two runners that all task functions share: they find the function by the operation, and call it.

Any process can import them by name, so that a child process needs to know nothing of the function beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.tasks import TaskContext, TaskResultStatus
from django.tasks.base import TaskError
from django.tasks.signals import task_finished, task_started
from django.utils import timezone
from django.utils.json import normalize_json

from .. import conf, json_values, tracebacks
from ..errors import Postpone

if TYPE_CHECKING:
    from ..worker.run import RunningTask


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskerContext(TaskContext):  # type: ignore[misc, type-arg] # frozen, where the stubs are not
    """What a function under `@task(takes_context=True)` gets: Django's context, and the running task.

    `running_task` has what every runner is given: `progress()`, `abort_signal`, `logger` and more.
    """

    running_task: RunningTask


def run_task(task: RunningTask) -> Any:
    """The runner of plain task functions."""
    run = _Run(task)
    task_started.send_robust(run.sender, task_result=run.result)
    try:
        value = run.returned(run.task.call(*run.args, **run.kwargs))
    except BaseException as error:
        if run.raised(error):
            task_finished.send_robust(run.sender, task_result=run.result)
        raise
    task_finished.send_robust(run.sender, task_result=run.result)
    return value


async def arun_task(task: RunningTask) -> Any:
    """The runner of coroutine functions: the same, step by step."""
    run = await sync_to_async(_Run)(task)
    await task_started.asend_robust(run.sender, task_result=run.result)
    try:
        value = run.returned(await run.task.acall(*run.args, **run.kwargs))
    except BaseException as error:
        if run.raised(error):
            await task_finished.asend_robust(run.sender, task_result=run.result)
        raise
    await task_finished.asend_robust(run.sender, task_result=run.result)
    return value


class _Run:
    """One attempt: the result as Django's signals show it, which goes along with what happens.

    Raises:
        InvalidTask: Django's: the function is gone, or the data is none for a function.
    """

    def __init__(self, running: RunningTask) -> None:
        from ..databases import alias
        from ..models import Task
        from .results import result_of

        self._running = running
        self.result = result_of(Task.objects.using(alias()).get(uuid=running.uuid))
        self.task = self.result.task
        self.sender = type(self.task.get_backend())
        self.args: list[Any] = self.result.args
        self.kwargs: dict[str, Any] = self.result.kwargs
        if self.task.takes_context:
            self.args = [TaskerContext(task_result=self.result, running_task=running), *self.args]

    def returned(self, value: Any) -> Any:
        """Note the success; the value as JSON has it.

        Raises:
            TypeError, InvalidTask: it can't be stored.
        """
        value = normalize_json(value)
        # Before anyone is told of a success that could not be stored.
        json_values.dumps(value, path="result", max_bytes=conf.options().max_result_bytes)
        self._finish(TaskResultStatus.SUCCESSFUL)
        object.__setattr__(self.result, "_return_value", value)
        return value

    def raised(self, error: BaseException) -> bool:
        """Note the failure, if it is the task's end; False when it is not, or not for the function to tell."""
        running = self._running
        if running.abort_signal.aborted or isinstance(error, Postpone) or running.attempt < running.max_attempts:
            return False
        path = f"{type(error).__module__}.{type(error).__qualname__}"
        text = tracebacks.traceback_of(error) or path
        self.result.errors.append(TaskError(exception_class_path=path, traceback=text))
        self._finish(TaskResultStatus.FAILED)
        return True

    def _finish(self, status: TaskResultStatus) -> None:
        object.__setattr__(self.result, "status", status)
        object.__setattr__(self.result, "finished_at", timezone.now())
