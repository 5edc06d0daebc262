"""Django signals for what happens in this process, each sent after the commit of what it tells.

Every signal also carries `using`, the database alias; the sender is the model class `Task`, or `Worker` for what a
worker tells of itself. `django_tasker.events` sends them; a receiver that raises is logged and harms no other.
`uuid` is a `uuid.UUID`.
"""

from __future__ import annotations

from django.dispatch import Signal

tasker_started = Signal()
"""A worker began to run tasks in this process. No arguments."""

tasker_stopped = Signal()
"""The worker of this process has stopped. No arguments."""

task_add = Signal()
"""A task was added. Arguments: task (the `Task` instance that `add_task` returned)."""

task_added = Signal()
"""A task was added. Arguments: uuid."""

task_prioritized = Signal()
"""A new task has another priority. Arguments: uuid, priority (float)."""

task_run = Signal()
"""A worker has claimed a task: an attempt begins. Arguments: uuid."""

task_log = Signal()
"""A log entry was stored. Arguments: uuid, log (dict: seq, attempt, level, logger, message, created_at, …)."""

task_progress = Signal()
"""A runner told how far it is. Arguments: uuid, progress (dict: current, total, message)."""

task_retried = Signal()
"""An attempt failed and the task is new again, or `retry_task` put it back. Arguments: uuid, error (dict or None)."""

task_postponed = Signal()
"""A task was put off, by its runner, by hand, or with its worker. Arguments: uuid, run_at (datetime or None)."""

task_done = Signal()
"""A task is done. Arguments: uuid, result."""

task_aborted = Signal()
"""A task was aborted. Arguments: uuid, reason (str or None)."""

task_failed = Signal()
"""A task has failed, after its last attempt. Arguments: uuid, error (dict or None)."""

task_ended = Signal()
"""A task has ended; follows task_done, task_aborted or task_failed.

Arguments: uuid, status ("done", "aborted" or "failed"), and result, reason or error by that status.
"""

worker_idle = Signal()
"""A worker of this process has no running task any more. No arguments."""

queue_empty = Signal()
"""A worker of this process found no new task any more. No arguments."""

SIGNALS: dict[str, Signal] = {
    "started": tasker_started,
    "stopped": tasker_stopped,
    "task.add": task_add,
    "task.added": task_added,
    "task.prioritized": task_prioritized,
    "task.run": task_run,
    "task.log": task_log,
    "task.progress": task_progress,
    "task.retried": task_retried,
    "task.postponed": task_postponed,
    "task.done": task_done,
    "task.aborted": task_aborted,
    "task.failed": task_failed,
    "task.ended": task_ended,
    "idle": worker_idle,
    "empty-queue": queue_empty,
}
"""The signal of every event, by the event's name."""
