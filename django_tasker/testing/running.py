"""Runs tasks in the thread of the test: claims as a worker does, records as a worker does, one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.utils import timezone

from .. import lifecycle
from ..admission import Admission, Claimant
from ..admission.passes import ClaimedRow
from ..databases import database, in_transaction, told_time
from ..errors import ConfigurationError, InvalidTask, InvalidTaskState, TaskerError, TaskFailed
from ..facade import Tasker, TaskRef, attach_logs, worker_settings
from ..facade import tasker as project_tasker
from ..models import Task
from ..statuses import Status
from ..worker.held import HeldTask, hold
from ..worker.messages import Ended
from ..worker.recorder import Inbox, Recorder, Report, settle
from ..worker.settings import WorkerSettings
from .inline import KIND, InlineExecutor

WORKER_ID = 0
"""No worker has it."""
WORKER_NAME = "test"


class EndlessDrain(TaskerError, AssertionError):
    """`drain` has run as many tasks as it may, and there is another one."""

    code = "endless_drain"


def run_task(task: TaskRef, *, reraise: bool = False, tasker: Tasker = project_tasker) -> Task:
    """Run a new task once, now, in this thread and in the test's transaction; return it as it is then.

    It is claimed, run and recorded as by a worker: logs, progress, result, errors, Retry and Postpone. Its place in
    the queue, its conditions, pauses and `run_at` are passed over: `drain` respects them. Its `logs` are those of all
    levels. A `Task` that is passed is refreshed, and returned. Timeouts are not enforced.

    Args:
        reraise: raise what the runner raised, once it is recorded, unless the runner asked for it (Retry, Postpone,
            an abort); and TaskFailed for a result that is no JSON.

    Raises:
        InvalidTaskState: it is not new.
        ConfigurationError: its operation has no runner.
    """
    found = tasker.get_task(task)
    worker = InlineWorker(worker_settings(tasker))
    if worker.settings.registry.get(found.operation) is None:
        raise ConfigurationError(
            f"No runner is assigned to {found.operation!r}; assigned are {_listed(tasker.operations())}."
        )
    with worker.started():
        row = worker.claim(found)
        if row is None:
            status = tasker.get_task(found).status
            raise InvalidTaskState(f"Task {found.uuid} is {status}; only a new one can be run. See retry_task.")
        worker.run(row, reraise=reraise)
    if isinstance(task, Task):
        task.refresh_from_db(using=worker.using)
    else:
        task = tasker.get_task(found)
    attach_logs([task], "debug", using=worker.using)
    return task


def drain(
    *,
    future: bool | timedelta | datetime = False,
    queues: Sequence[str] | None = None,
    operations: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    limit: int = 1000,
    reraise: bool = False,
    tasker: Tasker = project_tasker,
) -> list[Task]:
    """Run tasks in this thread and in the test's transaction, until no more may start; return those that were run.

    They are chosen as by a worker with one slot: due, in queue order, conditions, pauses and queue timeouts
    respected; those that are added meanwhile are run, too. Events of workers, like `idle`, are not told.

    Args:
        future: let time pass while there are tasks that are not due yet: True, until none is left; or for so long,
            or until then. So retries that wait for their delay are run as well.
        queues, operations, exclude: as the flags of `tasker_worker`.
        limit: runs after which another one is taken for a sign of an endless loop.
        reraise: as in `run_task`; stops at the first.

    Returns: the tasks as they are at the end, with their logs, each once, in the order of their first run.
    Raises:
        EndlessDrain: there were more than `limit` runs.
        ConfigurationError: an operation was named that has no runner.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidTask(f"limit must be a whole number, 1 or more, not {limit!r}.", path="limit")
    worker = InlineWorker(worker_settings(tasker, queues=queues, operations=operations, exclude=exclude))
    with worker.started():
        ids = worker.drain(until=_horizon(future), limit=limit, reraise=reraise)
        found = Task.objects.using(worker.using).in_bulk(ids)
        tasks = [found[pk] for pk in ids if pk in found]
        attach_logs(tasks, "debug", using=worker.using)
    return tasks


async def arun_task(task: TaskRef, *, reraise: bool = False, tasker: Tasker = project_tasker) -> Task:
    """The async twin of `run_task`; it runs in the thread where Django runs an async test's queries."""
    return await sync_to_async(run_task)(task, reraise=reraise, tasker=tasker)


async def adrain(**options: Any) -> list[Task]:
    """The async twin of `drain`; it runs in the thread where Django runs an async test's queries."""
    return await sync_to_async(drain)(**options)


class InlineWorker:
    """What a worker's dispatcher does, for one task after the other and without threads."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.using = settings.using
        self._kinds = dict.fromkeys(settings.kinds(), KIND)
        self._clock = Clock()
        self._inbox = Inbox(lambda: None)
        self._recorder = Recorder(self.using, WORKER_ID, max_losses=settings.options.max_losses)
        self._executor = InlineExecutor(self.using, settings.options, self._inbox, settings.registry)

    @contextmanager
    def started(self) -> Iterator[None]:
        """Logs are captured within the block, and Python's clock counts for the database as well."""
        self._executor.start()
        try:
            with told_time(self.using, self._clock.now):
                yield
        finally:
            self._executor.stop()

    # -- one ------------------------------------------------------------------------------------------------------

    def claim(self, task: Task) -> ClaimedRow | None:
        """Claim this very task; None: it is not new."""

        def work() -> ClaimedRow | None:
            new = Task.objects.using(self.using).filter(pk=task.pk, status=Status.NEW).select_for_update()
            values = new.values_list(*ClaimedRow._fields).first()
            if values is None:
                return None
            row = ClaimedRow(*values)
            lifecycle.claim(
                [(row.id, row.uuid)], worker_id=WORKER_ID, worker_name=WORKER_NAME, now=self._now(), using=self.using
            )
            return row._replace(attempt=row.attempt + 1)

        return in_transaction(self.using, work)

    def run(self, row: ClaimedRow, *, reraise: bool) -> None:
        """Run a claimed task and record what became of it."""
        task = self._hold(row)
        try:
            self._executor.submit(task.assignment)
        finally:
            ended = self._record(task)
        if reraise and ended is not None and self._executor.last is not None:
            _reraise(ended, self._executor.last.error)

    def _hold(self, row: ClaimedRow) -> HeldTask:
        options = self.settings.options
        assigned = self.settings.registry.get(row.operation)
        return hold(row, kind=KIND, worker_id=WORKER_ID, now=self._now(), options=options, assigned=assigned)

    def _record(self, task: HeldTask) -> Ended | None:
        """Write what the executor reported."""
        report = Report(task)
        for what, _, value in self._inbox.drain():
            if what == "log":
                report.entries += value
            elif what == "progress":
                report.progress = value
            elif what == "ended":
                report.ended = value
        if self._executor.last is not None:
            signal = self._executor.last.run.controller.signal
            task.is_aborting, task.abort_reason = signal.aborted, signal.reason
        self._recorder.write([report])
        settle(report)
        return report.ended

    def _now(self) -> datetime:
        return database(self.using).now(connections[self.using])

    # -- all ------------------------------------------------------------------------------------------------------

    def drain(self, *, until: datetime | None, limit: int, reraise: bool) -> list[int]:
        """Run what may start until nothing more does, time passing at most `until`; return the ids of what ran."""
        settings = self.settings
        claimant = Claimant(WORKER_ID, WORKER_NAME, self._kinds, settings.queues)
        admission = Admission(self.using, claimant, options=settings.options, assertions=settings.assertions)
        ran: Counter[int] = Counter()
        while True:
            lifecycle.expire_queue(now=self._now(), using=self.using)
            claim = self._claim_next if ran.total() < limit else self._refuse_next(ran)
            result = claim(admission)
            if result.claimed:
                [row] = result.claimed
                ran[row.id] += 1
                self.run(row, reraise=reraise)
            elif not result.unfinished and not self._let_time_pass(until):
                return list(ran)

    def _claim_next(self, admission: Admission) -> Any:
        return admission.run_pass({KIND: 1}, 1)

    def _refuse_next(self, ran: Counter[int]) -> Callable[[Admission], Any]:
        def claim(admission: Admission) -> Any:
            with transaction.atomic(using=self.using):  # so that what would be claimed stays new
                result = self._claim_next(admission)
                if result.claimed:
                    raise EndlessDrain(_endless(ran, result.claimed[0], self.using))
            return result

        return claim

    def _let_time_pass(self, until: datetime | None) -> bool:
        """Go on to the time when the next task is due; False when there is none."""
        now = self._now()
        later = Task.objects.using(self.using).waiting().filter(run_at__gt=now, operation__in=self._kinds)
        if self.settings.queues is not None:
            later = later.filter(queue__in=self.settings.queues)
        due = until and later.filter(run_at__lte=until).order_by("run_at").values_list("run_at", flat=True).first()
        if not due:
            return False
        self._clock.skip_to(due)
        return True


class Clock:
    """Python's time, which tests may have frozen, and what was skipped of it."""

    def __init__(self) -> None:
        self._skipped = timedelta()

    def now(self) -> datetime:
        return timezone.now() + self._skipped

    def skip_to(self, at: datetime) -> None:
        self._skipped = at - timezone.now()


def _horizon(future: object) -> datetime | None:
    """How far time may pass; None: not at all."""
    if isinstance(future, bool):
        # Not datetime.max: databases convert it to other time zones.
        return datetime(9000, 1, 1, tzinfo=timezone.get_default_timezone()) if future else None
    if isinstance(future, timedelta):
        return timezone.now() + future
    if isinstance(future, datetime) and timezone.is_aware(future):
        return future
    raise InvalidTask(f"future must be a bool, a timedelta or an aware datetime, not {future!r}.", path="future")


def _reraise(ended: Ended, raised: BaseException | None) -> None:
    """Raise what made an attempt fail."""
    if ended.kind != "failed":
        return
    if raised is not None:
        raise raised
    raise TaskFailed((ended.error or {}).get("message") or "The attempt failed.", error=ended.error)


def _endless(ran: Counter[int], following: ClaimedRow, using: str) -> str:
    operations = dict(Task.objects.using(using).filter(pk__in=ran).values_list("pk", "operation"))
    counts: Counter[str] = Counter()
    for pk, count in ran.items():
        counts[operations.get(pk, "(deleted)")] += count
    said = ", ".join(f"{operation!r} {count} times" for operation, count in counts.most_common(5))
    return (
        f"drain() has run {ran.total()} tasks ({said}), and {following.operation!r} {following.uuid} would be next. "
        "Does a runner add its own task again, or postpone it for ever? If it is right, pass a larger limit=."
    )


def _listed(operations: Sequence[str]) -> str:
    return ", ".join(map(repr, operations)) or "none"
