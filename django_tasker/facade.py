"""`Tasker`: everything a project does with tasks, as the contract names it. `tasker` is the project's own.

Methods take a uuid (object or text) or a `Task`. Those that touch the database have an async twin with Django's `a`
prefix, which runs the same code in the thread that Django keeps for synchronous work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from . import conf, lifecycle, query, specs
from .abort import AbortSignal
from .admission.explain import Explanation, explain
from .assertions import Assertions
from .assertions import assertions as project_assertions
from .databases import alias
from .errors import DuplicateTask, InvalidTask, InvalidTaskState, TaskNotFound
from .events import emit
from .listening import events as event_listening
from .listening import logs as log_listening
from .listening import outputs
from .models import Pause, Task, TaskLog, Worker
from .registry import Registry, Runner, autodiscover
from .registry import registry as project_registry
from .statuses import ENDED, Status
from .subscriptions import subscriptions

if TYPE_CHECKING:
    from .worker.settings import WorkerSettings

TaskRef = UUID | str | Task
Query = Mapping[str, Any] | Q | None
Args = ParamSpec("Args")
Result = TypeVar("Result")
RunnerType = TypeVar("RunnerType", bound=Callable[..., Any])

UPDATABLE = tuple(name for name in specs.CHECKS if name not in ("unique_key", "added_by"))
"""Options of `add_task` that `update_task` may change too."""


def _twin(
    method: Callable[Concatenate[Tasker, Args], Result],
) -> Callable[Concatenate[Tasker, Args], Coroutine[Any, Any, Result]]:
    """The async twin of a method."""

    @wraps(method)
    async def twin(self: Tasker, /, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        return await sync_to_async(method)(self, *args, **kwargs)

    return cast("Callable[Concatenate[Tasker, Args], Coroutine[Any, Any, Result]]", twin)


class Tasker:
    """Adds, finds, steers and follows tasks, and runs them in this process.

    Args:
        registry: runners by operation; the project's by default. An own one is filled by `assign_runner` alone.
        assertions: functions by name for `{"assert": name}`.
    """

    def __init__(self, registry: Registry | None = None, assertions: Assertions | None = None) -> None:
        self._registry = registry or Registry()
        self._assertions = assertions or Assertions()
        self._lock = threading.Lock()
        self._worker: Any = None

    # -- runners --------------------------------------------------------------------------------------------------

    def assign_runner(self, operation: str, runner: Runner, *, executor: str | None = None, **defaults: Any) -> None:
        """Give `operation` the function that runs its tasks, and defaults for the options of `add_task`.

        Args:
            executor: "process" or "thread"; None: TASKER["EXECUTOR"]. A coroutine function runs as a coroutine.
            defaults: options that its tasks get unless the caller says otherwise; `concurrency` is a template that
                every task extends. Also `abort_grace` (seconds) and `log_level`.

        Raises:
            RunnerAlreadyAssigned: the operation has another runner.
            InvalidTask: an option is unknown or wrong.
        """
        values = {name: value for name, value in defaults.items() if name not in ("abort_grace", "log_level")}
        specs.check_options({name: value for name, value in values.items() if name in specs.CHECKS})
        self._registry.assign(operation, runner, executor=executor, **defaults)

    def runner(
        self, operation: str, *, executor: str | None = None, **defaults: Any
    ) -> Callable[[RunnerType], RunnerType]:
        """`assign_runner` as a decorator; the function itself stays as it is."""

        def assign(function: RunnerType) -> RunnerType:
            self.assign_runner(operation, function, executor=executor, **defaults)
            return function

        return assign

    def assign_assertion(self, name: str, function: Callable[[], object]) -> None:
        """Give the condition `{"assert": name}` its function: called without arguments, true lets tasks start."""
        self._assertions.assign(name, function)

    def operations(self) -> list[str]:
        """The operations that have a runner in this process, in the order they were assigned."""
        self._discover()
        return list(self._registry.operations())

    def _discover(self) -> None:
        if self._registry is project_registry:
            autodiscover()

    def _defaults(self, operation: Any) -> Mapping[str, Any]:
        self._discover()
        assigned = self._registry.get(operation) if isinstance(operation, str) else None
        return assigned.defaults if assigned else {}

    # -- adding ---------------------------------------------------------------------------------------------------

    def add_task(
        self,
        operation: str,
        data: Any = None,
        *,
        priority: float | str | None = None,
        queue: str | None = None,
        run_at: datetime | str | None = None,
        concurrency: Sequence[Mapping[str, Any]] | None = None,
        run_timeout: float | timedelta | None = None,
        run_until: str | None = None,
        queue_timeout: Mapping[str, Any] | None = None,
        max_attempts: int | None = None,
        retry_delay: float | timedelta | None = None,
        unique_key: str | None = None,
        on_conflict: Literal["raise", "return", "replace"] = "raise",
        on_stop: str | None = None,
        keep_for: float | timedelta | None = None,
        added_by: str | None = None,
        abort_signal: AbortSignal | None = None,
    ) -> Task:
        """Add a task in the caller's transaction: rolled back with it, seen by workers at its commit.

        Args:
            data: JSON.
            priority: a float from -inf to inf, 0 by default; the smallest runs first.
            run_at: not before this time (aware).
            concurrency: conditions, all of which must hold when it starts; they extend the operation's.
            run_timeout: seconds a run may take.
            run_until: a cron expression: a run must have ended by the next such time.
            queue_timeout: `{"after": 60, "then": "abort"}` or `{"after": 60, "then": "prioritize", "priority": -10}`.
            max_attempts: how often it is tried, 1 by default; retry_delay: seconds before the second attempt.
            unique_key: at most one new or running task carries it.
            on_stop: "postpone" or "abort", when its worker stops or is lost.
            keep_for: seconds it is kept after its end.
            on_conflict: what to do when a new or running task carries the `unique_key`: raise, return that task,
                or replace it when it is new.
            abort_signal: aborts the task when it is given, as long as this process lives.

        None stands for the operation's default, or the project's.

        Raises:
            InvalidTask: a value is refused; the error's `path` names it.
            DuplicateTask: a new or running task carries the `unique_key`; it is the error's `task`.
        """
        options = {
            "priority": priority,
            "queue": queue,
            "run_at": run_at,
            "concurrency": concurrency,
            "run_timeout": run_timeout,
            "run_until": run_until,
            "queue_timeout": queue_timeout,
            "max_attempts": max_attempts,
            "retry_delay": retry_delay,
            "unique_key": unique_key,
            "on_stop": on_stop,
            "keep_for": keep_for,
            "added_by": added_by,
        }
        if on_conflict not in specs.ON_CONFLICT:
            raise InvalidTask(f"on_conflict must be raise, return or replace, not {on_conflict!r}.", path="on_conflict")
        task = specs.build(operation, data, options, self._defaults(operation))
        using = alias()
        if task.unique_key is not None:
            task = lifecycle.add_unique(task, on_conflict, using=using)
        else:
            with transaction.atomic(using=using, savepoint=False):
                lifecycle.add([task], using=using)
        if abort_signal is not None:
            self._abort_with(task, abort_signal, using)
        return task

    def _abort_with(self, task: Task, abort_signal: AbortSignal, using: str) -> None:
        uuid = task.uuid

        def abort(*_: Any) -> None:
            try:
                self.abort_task(uuid, abort_signal.reason)
            except (InvalidTaskState, TaskNotFound):
                pass  # it has ended, or was rolled back

        transaction.on_commit(partial(abort_signal.add_listener, abort), using=using)

    def add_tasks(self, tasks: Iterable[Mapping[str, Any]]) -> list[Task]:
        """Add many tasks, given as dicts of `add_task`'s arguments, in one transaction and in their order.

        Raises:
            InvalidTask: one is refused; the error's `path` begins with its index, and none is added.
        """
        built: list[Task] = []
        conflicts: list[str] = []
        for index, values in enumerate(tasks):
            built.append(self._build_one(index, values))
            conflicts.append(values.get("on_conflict", "raise"))
        using = alias()
        with transaction.atomic(using=using):
            if not any(task.unique_key for task in built):
                lifecycle.add(built, using=using)
                return built
            return [self._add_either(task, conflict, using) for task, conflict in zip(built, conflicts, strict=True)]

    def _build_one(self, index: int, values: Mapping[str, Any]) -> Task:
        try:
            if not isinstance(values, Mapping):
                raise InvalidTask(f"a task must be a dict, not {values!r:.100}.", path="task")
            given = dict(values)
            if "operation" not in given:
                raise InvalidTask("it has no operation.", path="operation")
            operation, data = given.pop("operation"), given.pop("data", None)
            if given.pop("on_conflict", "raise") not in specs.ON_CONFLICT:
                raise InvalidTask("on_conflict must be raise, return or replace.", path="on_conflict")
            return specs.build(operation, data, given, self._defaults(operation))
        except InvalidTask as error:
            raise InvalidTask(f"tasks[{index}]: {error}", path=f"tasks[{index}].{error.path}") from error

    def _add_either(self, task: Task, conflict: str, using: str) -> Task:
        if task.unique_key is not None:
            return lifecycle.add_unique(task, conflict, using=using)
        lifecycle.add([task], using=using)
        return task

    # -- finding --------------------------------------------------------------------------------------------------

    def get_task(self, uuid: TaskRef, *, with_logs: bool = False, logs_max_level: str | int = "info") -> Task:
        """The task as it is now; with its log entries in `task.logs` if asked for.

        Args:
            logs_max_level: the most verbose level that is included.

        Raises:
            TaskNotFound: no task has this uuid.
        """
        task = self._find(uuid)
        if with_logs:
            attach_logs([task], logs_max_level, using=alias())
        return task

    def _find(self, uuid: TaskRef) -> Task:
        wanted = specs.check_uuid(uuid)
        task = Task.objects.using(alias()).filter(uuid=wanted).first()
        if task is None:
            raise TaskNotFound(f"No task has the uuid {wanted}.")
        return task

    def has_task(self, query: Query) -> bool:
        """Is there a task that matches?"""
        return self._matching(query).exists()

    def count_tasks(self, query: Query = None) -> int:
        """How many tasks match."""
        return self._matching(query).count()

    def find_task(
        self,
        query: Query,
        *,
        sort: str | Sequence[str] | None = None,
        with_logs: bool = False,
        logs_max_level: str | int = "info",
    ) -> Task | None:
        """The first task that matches; None if there is none."""
        found = self.find_tasks(query, sort=sort, limit=1, with_logs=with_logs, logs_max_level=logs_max_level)
        return found[0] if found else None

    def find_tasks(
        self,
        query: Query = None,
        *,
        sort: str | Sequence[str] | None = None,
        limit: int | None = None,
        skip: int = 0,
        with_logs: bool = False,
        logs_max_level: str | int = "info",
    ) -> list[Task]:
        """The tasks that match.

        Args:
            query: a JSON query or a Q; None: all.
            sort: as in order_by, dotted paths into data allowed; first added first by default, and for ties.
            limit, skip: how many, and after how many.
            with_logs: put the log entries into each task's `logs`, in one question for all.

        Raises:
            InvalidQuery: the query, the sort, the limit or the level is refused.
        """
        first = specs.check_whole(skip, "skip", 0)
        end = None if limit is None else first + specs.check_whole(limit, "limit", 0)
        tasks = list(self._matching(query).order_by(*self._order(sort))[first:end])
        if with_logs:
            attach_logs(tasks, logs_max_level, using=alias())
        return tasks

    def _order(self, sort: str | Sequence[str] | None) -> list[Any]:
        return [*query.sort_keys(sort or ()), "id"]

    def _matching(self, condition: Query) -> QuerySet[Task]:
        if isinstance(condition, Q) or condition is None:
            return Task.objects.using(alias()).filter(condition or Q())
        return Task.objects.using(alias()).matching(dict(condition) if isinstance(condition, Mapping) else condition)

    # -- steering -------------------------------------------------------------------------------------------------

    def abort_task(self, uuid: TaskRef, reason: str | None = None) -> None:
        """Abort a new task at once; give a running one its abort signal (again is harmless, the first reason stands).

        Raises:
            InvalidTaskState: it has ended.
        """
        task = self._find(uuid)
        reason = None if reason is None else specs.check_text(reason, "reason", 10_000)
        if not lifecycle.request_abort(task, reason, using=alias()):
            raise self._wrong_state(task, "aborted")

    def prioritize_task(self, uuid: TaskRef, priority: float) -> None:
        """Give a new task another priority: the smallest runs first.

        Raises:
            InvalidTaskState: it is not new.
        """
        task = self._find(uuid)
        value = specs.check_priority(priority)
        if not lifecycle.prioritize(Task.objects.using(alias()).filter(pk=task.pk), value, using=alias()):
            raise self._wrong_state(task, "prioritized")

    def postpone_task(self, uuid: TaskRef, run_at: Any) -> None:
        """Let a new task wait until `run_at` (an aware datetime, or a timedelta or seconds from now; None: due now).

        Raises:
            InvalidTaskState: it is not new.
        """
        task = self._find(uuid)
        if isinstance(run_at, timedelta | int | float) and not isinstance(run_at, bool):
            run_at = timezone.now() + timedelta(seconds=specs.check_seconds(run_at, "run_at"))
        at = None if run_at is None else specs.check_time(run_at, "run_at")
        if not lifecycle.postpone_new(task, at, using=alias()):
            raise self._wrong_state(task, "postponed")

    def retry_task(self, uuid: TaskRef) -> None:
        """Put an ended task back to new; its logs and attempts are kept.

        Raises:
            InvalidTaskState: it has not ended.
            DuplicateTask: another new or running task carries its unique key.
        """
        task = self._find(uuid)
        if not lifecycle.revive(task, using=alias()):
            raise self._wrong_state(task, "retried")

    def update_task(self, /, uuid: TaskRef, **changes: Any) -> Task:
        """Change what a new task may still have changed, with effect at once; return it as it is then.

        Args:
            changes: data, and the options of `add_task` but for unique_key. `concurrency` replaces the task's own
                conditions; those of its operation's template are added again. None: the default.

        Raises:
            InvalidTaskState: it is not new.
            InvalidTask: an option is unknown, can't be changed, or its value is refused.
        """
        task = self._find(uuid)
        specs.refuse_unknown(changes, ("data", *UPDATABLE), "changes")
        new = specs.build(task.operation, changes.get("data", task.data), self._present(task, changes), {})
        if "concurrency" in changes:
            template = self._defaults(task.operation).get("concurrency") or []
            new.concurrency = [*specs.check_concurrency(template), *new.concurrency]
        new.uuid, new.unique_key = task.uuid, task.unique_key
        specs.set_lane(new, conf.options())
        fields = {name: getattr(new, name) for name in changes}
        if {"data", "concurrency", "queue"} & changes.keys():
            fields["lane"] = new.lane
        if "queue_timeout" in changes or "run_at" in changes:
            since = max(task.added_at, new.run_at or task.added_at)
            fields["queue_deadline_at"] = lifecycle.queue_deadline(new.queue_timeout, since)
        if not lifecycle.update_new(task, fields, using=alias()):
            raise self._wrong_state(task, "changed")
        return self._find(task)

    def _present(self, task: Task, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The options as they would be after the change."""
        present = {name: getattr(task, name) for name in UPDATABLE}
        return {**present, **{name: value for name, value in changes.items() if name in UPDATABLE}}

    def _wrong_state(self, task: Task, word: str) -> InvalidTaskState:
        status = Task.objects.using(alias()).filter(pk=task.pk).values_list("status", flat=True).first() or "gone"
        return InvalidTaskState(f"Task {task.uuid} is {status} and can't be {word} any more (or yet).")

    # -- steering in bulk -----------------------------------------------------------------------------------------

    def abort_tasks(self, query: Query, reason: str | None = None) -> int:
        """Abort the new and running tasks that match; return how many."""
        reason = None if reason is None else specs.check_text(reason, "reason", 10_000)
        active = self._matching(query).filter(status__in=[Status.NEW, Status.RUNNING], abort_requested_at=None)
        return sum(lifecycle.request_abort(task, reason, using=alias()) for task in _in_batches(active))

    def prioritize_tasks(self, query: Query, priority: float) -> int:
        """Give the new tasks that match another priority; return how many."""
        return lifecycle.prioritize(self._matching(query), specs.check_priority(priority), using=alias())

    def retry_tasks(self, query: Query) -> int:
        """Put the ended tasks that match back to new; return how many. One whose unique key is taken stays ended."""
        count = 0
        for task in _in_batches(self._matching(query).filter(status__in=ENDED)):
            try:
                count += lifecycle.revive(task, using=alias())
            except DuplicateTask:
                continue
        return count

    def delete_tasks(self, query: Query) -> int:
        """Delete the ended tasks that match, with their logs; return how many."""
        return lifecycle.delete_ended(self._matching(query), using=alias())

    def prune(self, older_than: timedelta | float | None = None, query: Query = None, *, dry_run: bool = False) -> int:
        """Delete ended tasks that are past their `keep_for`; or, with `older_than`, that ended so long ago.

        Args:
            older_than: seconds, or a timedelta.
            query: only those that match; None: all.
            dry_run: delete nothing.

        Returns: how many were, or would be, deleted.
        """
        tasks = self._matching(query).filter(status__in=ENDED)
        now = timezone.now()
        if older_than is None:
            tasks = tasks.filter(expires_at__lte=now)
        else:
            tasks = tasks.filter(ended_at__lte=now - timedelta(seconds=specs.check_seconds(older_than, "older_than")))
        return tasks.count() if dry_run else lifecycle.delete_ended(tasks, using=alias())

    # -- waiting and following ------------------------------------------------------------------------------------

    def wait_for_task_output_data(self, uuid: TaskRef, timeout: float | None = None) -> Any:
        """Wait until a task has ended; return its result.

        Raises:
            TaskFailed, TaskAborted: it ended otherwise.
            TaskNotFound: no task has this uuid.
            WaitTimeout: it has not ended within `timeout` seconds.
        """
        return outputs.wait_for_output(specs.check_uuid(uuid), timeout)

    async def await_for_task_output_data(self, uuid: TaskRef, timeout: float | None = None) -> Any:
        """The async twin; it occupies no thread while it waits."""
        return await outputs.await_for_output(specs.check_uuid(uuid), timeout)

    def listen_task_logs(
        self,
        uuid: TaskRef,
        *,
        from_beginning: bool = False,
        after: int | None = None,
        abort_signal: AbortSignal | None = None,
        max_level: str | int = "debug",
    ) -> Iterator[TaskLog]:
        """Follow a task's log from any process, each entry once and in order, until the task has ended."""
        return log_listening.listen_task_logs(
            specs.check_uuid(uuid),
            from_beginning=from_beginning,
            after=after,
            abort_signal=abort_signal,
            max_level=max_level,
        )

    def alisten_task_logs(
        self,
        uuid: TaskRef,
        *,
        from_beginning: bool = False,
        after: int | None = None,
        abort_signal: AbortSignal | None = None,
        max_level: str | int = "debug",
    ) -> Any:
        """The same as an async iterator."""
        return log_listening.alisten_task_logs(
            specs.check_uuid(uuid),
            from_beginning=from_beginning,
            after=after,
            abort_signal=abort_signal,
            max_level=max_level,
        )

    def on(self, event: str, callback: Callable[..., Any]) -> Callable[[], None]:
        """Call `callback` after each such event of this process; returns what takes it off.

        Args:
            event: `task.done`, called with (uuid, result); or `task.<uuid>.done`, called with (result).
        """
        return subscriptions.on(event, callback)

    def once(self, event: str, callback: Callable[..., Any]) -> Callable[[], None]:
        """The same for the next such event only."""
        return subscriptions.once(event, callback)

    def off(self, event: str, callback: Callable[..., Any] | None = None) -> None:
        """Take a callback off, or all of an event."""
        subscriptions.off(event, callback)

    def listen_events(self, pattern: str, abort_signal: AbortSignal | None = None) -> event_listening.EventListener:
        """Iterate over the events of all processes whose name matches, like `task.*`."""
        return event_listening.listen_events(pattern, abort_signal)

    def alisten_events(
        self, pattern: str, abort_signal: AbortSignal | None = None
    ) -> event_listening.AsyncEventListener:
        """The same as an async iterator."""
        return event_listening.alisten_events(pattern, abort_signal)

    # -- why, pause, numbers --------------------------------------------------------------------------------------

    def explain_task(self, uuid: TaskRef) -> Explanation:
        """Why a task is not running: every reason with its numbers and the tasks in the way, and its place."""
        return explain(self._find(uuid), using=alias(), options=conf.options(), assertions=self._assertions)

    def pause(self, operation: str | None = None, queue: str | None = None, *, by: str | None = None) -> None:
        """Let no worker start tasks of an operation or a queue, from the next pass on; running ones go on."""
        kind, name = _one_of(operation, queue)
        defaults = {"paused_at": timezone.now(), "paused_by": by}
        Pause.objects.using(alias()).get_or_create(kind=kind, name=name, defaults=defaults)
        emit([], topics=["queue"], using=alias())

    def resume(self, operation: str | None = None, queue: str | None = None) -> None:
        """Undo `pause`; harmless when nothing is paused."""
        kind, name = _one_of(operation, queue)
        with transaction.atomic(using=alias()):
            Pause.objects.using(alias()).filter(kind=kind, name=name).delete()
            emit([], topics=["queue"], using=alias())

    def stats(self) -> dict[str, Any]:
        """Numbers for dashboards: tasks by operation and status, those that wait by queue and since when, workers,
        what is paused."""
        waiting = Task.objects.using(alias()).waiting()
        paused = Pause.objects.using(alias())
        return {
            "tasks": count_by_operation(using=alias()),
            "queues": dict(waiting.order_by("queue").values_list("queue").annotate(count=Count("id"))),
            "oldest_waiting_at": oldest_waiting_at(using=alias()),
            "workers": [_worker_dict(worker) for worker in Worker.objects.using(alias()).order_by("id")],
            "paused": {
                "operations": sorted(paused.filter(kind=Pause.Kind.OPERATION).values_list("name", flat=True)),
                "queues": sorted(paused.filter(kind=Pause.Kind.QUEUE).values_list("name", flat=True)),
            },
        }

    # -- running tasks in this process ----------------------------------------------------------------------------

    def start(self, /, abort_signal: AbortSignal | None = None, **settings: Any) -> None:
        """Run tasks in this process, in threads of their own, until `stop` or `abort_signal`; harmless when it runs.

        Args:
            settings: as the flags of `tasker_worker`: concurrency, executor, queues, operations, exclude, burst,
                max_tasks, grace, name.
        """
        from .worker.worker import TaskWorker

        with self._lock:
            if self._worker is not None and self._worker.is_running:
                return
            self._worker = TaskWorker(worker_settings(self, **settings))
            self._worker.start(abort_signal)

    def stop(self, grace: float | None = None) -> None:
        """Stop what `start` began: claim no more, give running tasks `grace` seconds, end the rest; harmless twice."""
        worker = self._worker
        if worker is not None:
            worker.stop(grace)

    # -- async twins ----------------------------------------------------------------------------------------------

    aadd_task = _twin(add_task)
    aadd_tasks = _twin(add_tasks)
    aget_task = _twin(get_task)
    ahas_task = _twin(has_task)
    acount_tasks = _twin(count_tasks)
    afind_task = _twin(find_task)
    afind_tasks = _twin(find_tasks)
    aabort_task = _twin(abort_task)
    aprioritize_task = _twin(prioritize_task)
    apostpone_task = _twin(postpone_task)
    aretry_task = _twin(retry_task)
    aupdate_task = _twin(update_task)
    aabort_tasks = _twin(abort_tasks)
    aprioritize_tasks = _twin(prioritize_tasks)
    aretry_tasks = _twin(retry_tasks)
    adelete_tasks = _twin(delete_tasks)
    aprune = _twin(prune)
    aexplain_task = _twin(explain_task)
    apause = _twin(pause)
    aresume = _twin(resume)
    astats = _twin(stats)
    astart = _twin(start)
    astop = _twin(stop)


def worker_settings(tasker: Tasker, **settings: Any) -> WorkerSettings:
    """What a worker of `tasker` is told; `settings` as for `Tasker.start`."""
    from .worker.settings import WorkerSettings

    for name in ("queues", "operations", "exclude"):
        if settings.get(name) is not None:
            settings[name] = tuple(settings[name])
    tasker._discover()
    return WorkerSettings(using=alias(), registry=tasker._registry, assertions=tasker._assertions, **settings)


def count_by_operation(*, using: str) -> dict[str, dict[str, int]]:
    """How many tasks an operation has in each status; looks at all tasks."""
    counts: dict[str, dict[str, int]] = {}
    grouped = Task.objects.using(using).order_by().values_list("operation", "status").annotate(count=Count("id"))
    for operation, status, count in grouped:
        counts.setdefault(operation, {})[status] = count
    return counts


def oldest_waiting_at(*, using: str) -> datetime | None:
    """When the new task that waits longest was added."""
    oldest: datetime | None = Task.objects.using(using).waiting().aggregate(oldest=Min("added_at"))["oldest"]
    return oldest


def attach_logs(tasks: Sequence[Task], max_level: str | int, *, using: str) -> None:
    """Put the log entries up to a level into each task's `logs`, in one question for all."""
    least = log_listening.level_number(max_level)
    by_id: dict[int, list[TaskLog]] = {task.pk: [] for task in tasks}
    entries = TaskLog.objects.using(using).filter(task_id__in=by_id, level__gte=least)
    for entry in entries.order_by("task_id", "seq"):
        by_id[entry.task_id].append(entry)
    for task in tasks:
        task.logs = by_id[task.pk]


def _in_batches(tasks: QuerySet[Task]) -> Iterator[Task]:
    """The tasks of now, read a batch at a time, without a cursor that would outlive a transaction."""
    ids = list(tasks.order_by("id").values_list("id", flat=True))
    for start in range(0, len(ids), 500):
        yield from Task.objects.using(tasks.db).filter(id__in=ids[start : start + 500]).order_by("id")


def _one_of(operation: str | None, queue: str | None) -> tuple[str, str]:
    if (operation is None) == (queue is None):
        raise InvalidTask("Name either an operation or a queue.", path="operation")
    if operation is not None:
        return Pause.Kind.OPERATION.value, specs.check_name(operation, "operation", 200)
    return Pause.Kind.QUEUE.value, specs.check_name(queue, "queue", 100)


def _worker_dict(worker: Worker) -> dict[str, Any]:
    return {
        "name": worker.name,
        "hostname": worker.hostname,
        "pid": worker.pid,
        "queues": worker.queues,
        "operations": worker.operations,
        "slots": worker.slots,
        "running": worker.running,
        "started_at": worker.started_at,
        "heartbeat_at": worker.heartbeat_at,
    }


tasker = Tasker(project_registry, project_assertions)
"""The project's tasker."""
