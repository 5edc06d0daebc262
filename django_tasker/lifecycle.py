"""The only writer of `Task.status`: one function per move, each guarded by what it expects to find.

A guard is (status, worker, attempt): a late worker, or one presumed dead, changes nothing. Every function runs in
the caller's transaction or makes one, and speaks through `events` so that the world hears after commit.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connections, transaction
from django.db.models import BigIntegerField, Case, QuerySet, When
from django.utils import timezone

from .conditions import FRONT, LATER, NOT_WAITING
from .conf import Options, options
from .databases import database, listed
from .errors import DuplicateTask
from .events import Happening, emit
from .models import Attempt, Task, TaskLog
from .statuses import ENDED, Ahead, OnStop, Outcome, Status

CHUNK = 500
"""Rows that a bulk move reads and writes at a time."""


def active_key_of(unique_key: str | None) -> str | None:
    """What stands in `active_key` for a unique key: a digest, so that no collation or length gets in the way."""
    return None if unique_key is None else blake2b(unique_key.encode(), digest_size=32).hexdigest()


# -- new ----------------------------------------------------------------------------------------------------------


def add(tasks: Sequence[Task], *, using: str) -> None:
    """Insert new tasks, in order, in the caller's transaction.

    Raises:
        IntegrityError: one carries the unique key of a new or running task; use `add_unique` for such.
    """
    now = timezone.now()
    for task in tasks:
        _make_new(task, now)
    if len(tasks) == 1:
        tasks[0].save(using=using, force_insert=True)
    else:
        Task.objects.using(using).bulk_create(tasks, batch_size=1000)
        if tasks and tasks[-1].pk is None:  # MySQL gives no ids back
            ids = dict(
                Task.objects.using(using).filter(uuid__in=[task.uuid for task in tasks]).values_list("uuid", "pk")
            )
            for task in tasks:
                task.pk = ids[task.uuid]
    emit(
        lambda: (h for t in tasks for h in (_say("task.add", t.uuid, task=t), _say("task.added", t.uuid))),
        topics=["queue"],
        using=using,
        names=("task.add", "task.added"),
    )


def _make_new(task: Task, now: datetime) -> None:
    task.status = Status.NEW
    task.added_at = task.updated_at = now
    task.hold = LATER if task.run_at is not None and task.run_at > now else FRONT
    task.active_key = active_key_of(task.unique_key)
    task.queue_deadline_at = queue_deadline(task.queue_timeout, max(now, task.run_at or now))


def queue_deadline(queue_timeout: dict[str, Any] | None, since: datetime) -> datetime | None:
    return None if queue_timeout is None else since + timedelta(seconds=queue_timeout["after"])


def add_unique(task: Task, on_conflict: str, *, using: str) -> Task:
    """Insert a task with a unique key, or do what `on_conflict` says; return the task that carries the key now.

    Raises:
        DuplicateTask: with "raise"; and with "replace" when the one there is runs already.
    """
    for _ in range(10):  # the one there is may end between our insert and our look at it
        try:
            with transaction.atomic(using=using):
                add([task], using=using)
            return task
        except IntegrityError:
            key = active_key_of(task.unique_key)
            other = Task.objects.using(using).filter(active_key=key).first()
            if other is None:
                if Task.objects.using(using).filter(uuid=task.uuid).exists():
                    raise
                continue
        task.pk = None
        if on_conflict == "return":
            return other
        if on_conflict == "replace" and abort_new(other, f"replaced by task {task.uuid}", using=using):
            continue
        if on_conflict == "raise" or not Task.objects.using(using).filter(pk=other.pk, status=Status.NEW).exists():
            raise DuplicateTask(
                f"Task {other.uuid} is {other.status} and carries unique_key {task.unique_key!r} already.", task=other
            )
    raise DuplicateTask(f"unique_key {task.unique_key!r} stays taken.", task=other or task)


# -- new → running ------------------------------------------------------------------------------------------------


def claim(
    tasks: Sequence[tuple[int, UUID]],
    *,
    worker_id: int,
    worker_name: str,
    ahead: Collection[int] = (),
    now: datetime,
    using: str,
) -> int:
    """Give new tasks (id, uuid), whose rows the caller has locked, to a worker; return how many.

    Args:
        ahead: ids of those that will wait in the worker for a slot.
    """
    emit(lambda: (_say("task.run", uuid) for _, uuid in tasks), using=using, names=("task.run",))
    connection = connections[using]
    stamp = connection.ops.adapt_datetimefield_value(now)
    # Not by the ORM: its parameters for hundreds of ids cost as much as the rest of the claim.
    marks = f"CASE WHEN id IN ({listed(ahead)}) THEN {Ahead.CLAIMED:d} ELSE {Ahead.NO:d} END" if ahead else "0"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {Task._meta.db_table} SET status = 'running', hold = {NOT_WAITING}, ahead = {marks}, "
            "worker_id = %s, worker_name = %s, attempt = attempt + 1, started_at = %s, updated_at = %s, "
            "error = NULL, progress = NULL "
            f"WHERE status = 'new' AND id IN ({listed(pk for pk, _ in tasks)})",
            [worker_id, worker_name, stamp, stamp],
        )
        return int(cursor.rowcount)


# -- running → ended, or back to new ------------------------------------------------------------------------------


@dataclass(slots=True)
class Held:
    """What a worker knows of a task it holds: enough to end it without reading the row again."""

    id: int
    uuid: UUID
    operation: str
    attempt: int
    worker_id: int
    max_attempts: int
    retry_delay: float | None
    keep_for: float | None
    on_stop: str
    losses: int
    started_at: datetime
    was_ahead: bool = False  # claimed ahead, and perhaps never begun


_DONE_COLUMNS = [
    ("result", "jsonb"),
    ("log_count", "int"),
    ("warning_count", "int"),
    ("error_count", "int"),
    ("log_bytes", "bigint"),
    ("expires_at", "timestamptz"),
]


@dataclass(slots=True)
class DoneRow:
    """One task that is done: its result as JSON text (None: SQL NULL) and its log counters."""

    held: Held
    result: str | None
    log_count: int
    warning_count: int
    error_count: int
    log_bytes: int = 0


def done(rows: Sequence[DoneRow], *, worker_id: int, now: datetime, using: str) -> set[int]:
    """End many tasks of one worker as done, in one statement where the database can; return the ids that were."""
    connection = connections[using]
    stamp = connection.ops.adapt_datetimefield_value(now)
    expires = {keep_for: expires_at(keep_for, now) for keep_for in {row.held.keep_for for row in rows}}
    hit = database(using).guarded_update(
        connection,
        Task._meta.db_table,
        worker_id,
        _DONE_COLUMNS,
        [
            (
                row.held.id,
                row.held.attempt,
                row.result,
                row.log_count,
                row.warning_count,
                row.error_count,
                row.log_bytes,
                expires[row.held.keep_for],
            )
            for row in rows
        ],
        [("status", "done"), ("active_key", None), ("ended_at", stamp), ("updated_at", stamp)],
    )
    emit(
        lambda: _done_happenings(row for row in rows if row.held.id in hit),
        topics=["ended", *(f"task:{row.held.uuid}" for row in rows if row.held.id in hit)],
        using=using,
        names=("task.done", "task.ended"),
    )
    return hit


def _done_happenings(rows: Iterable[DoneRow]) -> Iterator[Happening]:
    for row in rows:
        result = None if row.result is None else json.loads(row.result)
        yield _say("task.done", row.held.uuid, result=result)
        yield _say("task.ended", row.held.uuid, status="done", result=result)


def failed(held: Held, error: dict[str, Any], *, now: datetime, using: str) -> bool:
    """End an attempt that failed: another one if attempts are left, else the task has failed."""
    if held.attempt < held.max_attempts:
        return retry(held, error, retry_delay(held, options()), now=now, using=using)
    return _end(held, Status.FAILED, now, using, error=error)


def retry(held: Held, error: dict[str, Any], delay: float, *, now: datetime, using: str) -> bool:
    """Put a task whose attempt failed back to new, due after `delay` seconds."""
    run_at = now + timedelta(seconds=delay)
    if not _back_to_new(held, Outcome.RETRIED, now, using, error=error, run_at=run_at):
        return False
    _emit_task("task.retried", held.uuid, using, error=error)
    return True


def retry_delay(held: Held, options: Options) -> float:
    """Seconds before the next attempt: exponential, capped, and spread so that failures do not return together."""
    first = options.retry_delay if held.retry_delay is None else held.retry_delay
    delay = min(first * options.retry_backoff ** min(held.attempt - 1, 64), options.retry_max_delay)
    return delay * (1 + random.uniform(-options.retry_jitter, options.retry_jitter))


def postponed(held: Held, run_at: datetime | None, outcome: Outcome, *, now: datetime, using: str) -> bool:
    """Put a running task back to new without counting the attempt (Postpone, or a worker that stops)."""
    if not _back_to_new(held, outcome, now, using, run_at=run_at, attempt=held.attempt - 1):
        return False
    _emit_task("task.postponed", held.uuid, using, run_at=run_at)
    return True


def aborted(held: Held, reason: str | None, *, now: datetime, using: str, error: dict[str, Any] | None = None) -> bool:
    """End a running task that gave way to its abort signal, or was ended by force."""
    return _end(held, Status.ABORTED, now, using, abort_reason=reason, error=error)


def aborted_by_request(held: Held, *, now: datetime, using: str) -> bool:
    """End a running task that was told to stop and whose worker is gone; the reason asked with stands."""
    reason = _held(held, using).values_list("abort_reason", flat=True).first()
    return aborted(held, reason, now=now, using=using)


def lost(held: Held, why: str, *, max_losses: int, now: datetime, using: str) -> bool:
    """Deal with a task that killed, or lost, what ran it: its `on_stop`, or failed after `max_losses` times."""
    error = {"type": "WorkerLost", "message": why, "traceback": None}
    losses = held.losses + (not held.was_ahead)
    if losses >= max_losses:
        message = f"{why} This was the {losses}. time; at most {max_losses} are allowed."
        return _end(held, Status.FAILED, now, using, error={**error, "message": message}, losses=losses)
    if held.on_stop == OnStop.ABORT:
        return _end(held, Status.ABORTED, now, using, abort_reason=why, losses=losses)
    back = _back_to_new(
        held,
        Outcome.LOST,
        now,
        using,
        error=error,
        run_at=None,
        attempt=held.attempt - 1,
        losses=losses,
        ahead=Ahead.LOST if held.was_ahead else Ahead.NO,
    )
    if back:
        _emit_task("task.postponed", held.uuid, using, run_at=None)
    return back


def _held(held: Held, using: str) -> QuerySet[Task]:
    return Task.objects.using(using).filter(
        id=held.id, status=Status.RUNNING, worker_id=held.worker_id, attempt=held.attempt
    )


def _end(held: Held, status: Status, now: datetime, using: str, **changes: Any) -> bool:
    with transaction.atomic(using=using):
        hit = _held(held, using).update(
            status=status,
            active_key=None,
            ended_at=now,
            updated_at=now,
            expires_at=expires_at(held.keep_for, now),
            **changes,
        )
        if hit:
            _emit_ended(held.uuid, status, changes, using)
    return bool(hit)


def _emit_ended(uuid: UUID, status: Status, changes: dict[str, Any], using: str) -> None:
    key, column = ("error", "error") if status == Status.FAILED else ("reason", "abort_reason")
    what = {key: changes.get(column)}
    emit(
        [_say(f"task.{status.value}", uuid, **what), _say("task.ended", uuid, status=status.value, **what)],
        topics=["ended", f"task:{uuid}"],
        using=using,
    )


def _back_to_new(
    held: Held,
    outcome: Outcome,
    now: datetime,
    using: str,
    *,
    run_at: datetime | None,
    error: dict[str, Any] | None = None,
    ahead: Ahead = Ahead.NO,
    **changes: Any,
) -> bool:
    later = run_at is not None and run_at > now
    with transaction.atomic(using=using):
        hit = _held(held, using).update(
            status=Status.NEW,
            hold=LATER if later else FRONT,
            run_at=run_at if later else None,
            ahead=ahead,
            worker_id=None,
            abort_requested_at=None,
            error=error,
            progress=None,
            updated_at=now,
            queue_deadline_at=None,
            **changes,
        )
        if hit:
            Attempt.objects.using(using).create(
                task_id=held.id,
                number=held.attempt,
                outcome=outcome,
                worker_name=Task.objects.using(using).values_list("worker_name", flat=True).get(pk=held.id),
                started_at=held.started_at,
                ended_at=now,
                error=error,
            )
    return bool(hit)


def expires_at(keep_for: float | None, now: datetime) -> datetime | None:
    """When an ended task may be pruned; None: never by itself."""
    seconds = options().keep_for if keep_for is None else keep_for
    return None if seconds is None else now + timedelta(seconds=seconds)


# -- by request ---------------------------------------------------------------------------------------------------


def request_abort(task: Task, reason: str | None, *, using: str) -> bool:
    """Abort a new task at once; give a running one its abort signal. False when it has ended."""
    return abort_new(task, reason, using=using) or _signal_abort(task, reason, using=using)


def abort_new(task: Task, reason: str | None, *, using: str) -> bool:
    """Abort a task that has not started; False when it has."""
    now = timezone.now()
    with transaction.atomic(using=using):
        hit = (
            Task.objects.using(using)
            .filter(pk=task.pk, status=Status.NEW)
            .update(
                status=Status.ABORTED,
                hold=NOT_WAITING,
                active_key=None,
                abort_reason=reason,
                ended_at=now,
                updated_at=now,
                expires_at=expires_at(task.keep_for, now),
            )
        )
        if hit:
            _emit_ended(task.uuid, Status.ABORTED, {"abort_reason": reason}, using)
    return bool(hit)


def _signal_abort(task: Task, reason: str | None, *, using: str) -> bool:
    now = timezone.now()
    with transaction.atomic(using=using):
        running = Task.objects.using(using).filter(pk=task.pk, status=Status.RUNNING)
        hit = running.filter(abort_requested_at__isnull=True).update(
            abort_requested_at=now, abort_reason=reason, updated_at=now
        )
        if hit:
            emit([], topics=["control", f"task:{task.uuid}"], using=using)
    return bool(hit) or running.exists()  # asked before: the first reason stands


def note_abort(held: Held, reason: str, *, using: str) -> bool:
    """Show a running task as aborting: its worker has given it the signal by itself (a timeout)."""
    now = timezone.now()
    hit = _held(held, using).filter(abort_requested_at__isnull=True)
    return bool(hit.update(abort_requested_at=now, abort_reason=reason, updated_at=now))


def prioritize(tasks: QuerySet[Task], priority: float, *, using: str) -> int:
    """Give new tasks another priority; return how many."""

    def change(chunk: QuerySet[Task]) -> int:
        # To the front, if it waits in a stream: the place it is found by there is no longer its own.
        hold = Case(When(hold__gt=LATER, then=FRONT), default="hold", output_field=BigIntegerField())
        return chunk.filter(status=Status.NEW).update(priority=priority, hold=hold, updated_at=timezone.now())

    return _in_chunks(
        tasks.filter(status=Status.NEW),
        change,
        lambda uuid: [_say("task.prioritized", uuid, priority=priority)],
        topics=["queue"],
        using=using,
    )


def postpone_new(task: Task, run_at: datetime | None, *, using: str) -> bool:
    """Let a new task wait until `run_at` (None: it is due at once)."""
    now = timezone.now()
    later = run_at is not None and run_at > now
    with transaction.atomic(using=using):
        hit = (
            Task.objects.using(using)
            .filter(pk=task.pk, status=Status.NEW)
            .update(
                run_at=run_at,
                hold=LATER if later else FRONT,
                updated_at=now,
                queue_deadline_at=queue_deadline(task.queue_timeout, run_at if later and run_at else now),
            )
        )
        if hit:
            emit([_say("task.postponed", task.uuid, run_at=run_at)], topics=["queue"], using=using)
    return bool(hit)


def update_new(task: Task, changes: dict[str, Any], *, using: str) -> bool:
    """Write checked changes to a task that has not started; it is judged anew at the next pass."""
    now = timezone.now()
    run_at = changes.get("run_at", task.run_at)
    changes = {**changes, "updated_at": now, "hold": LATER if run_at is not None and run_at > now else FRONT}
    with transaction.atomic(using=using):
        # update() does not run the fields' save hooks, which none of ours has.
        hit = Task.objects.using(using).filter(pk=task.pk, status=Status.NEW).update(**changes)
        if hit:
            said = [_say("task.prioritized", task.uuid, priority=changes["priority"])] if "priority" in changes else []
            emit(said, topics=["queue"], using=using)
    return bool(hit)


def revive(task: Task, *, using: str) -> bool:
    """Put an ended task back to new by hand; its attempts go on being counted. False when it has not ended.

    Raises:
        DuplicateTask: another new or running task carries its unique key by now.
    """
    now = timezone.now()
    key = active_key_of(task.unique_key)
    try:
        with transaction.atomic(using=using):
            row = Task.objects.using(using).select_for_update().filter(pk=task.pk, status__in=ENDED).first()
            if row is None:
                return False
            Attempt.objects.using(using).create(
                task=row,
                number=row.attempt,
                outcome=row.status,
                worker_name=row.worker_name,
                started_at=row.started_at,
                ended_at=row.ended_at or now,
                error=row.error,
            )
            Task.objects.using(using).filter(pk=row.pk).update(
                status=Status.NEW,
                hold=FRONT,
                run_at=None,
                active_key=key,
                losses=0,
                ahead=Ahead.NO,
                worker_id=None,
                abort_requested_at=None,
                abort_reason=None,
                result=None,
                progress=None,
                started_at=None,
                ended_at=None,
                expires_at=None,
                updated_at=now,
                queue_deadline_at=queue_deadline(row.queue_timeout, now),
            )
            emit([_say("task.retried", row.uuid, error=row.error)], topics=["queue", f"task:{row.uuid}"], using=using)
    except IntegrityError:
        other = Task.objects.using(using).filter(active_key=key).first()
        if other is None:
            raise
        raise DuplicateTask(
            f"Task {other.uuid} is {other.status} and carries unique_key {task.unique_key!r} already.", task=other
        ) from None
    return True


def delete_ended(tasks: QuerySet[Task], *, using: str) -> int:
    """Delete those of `tasks` that have ended, with their logs and attempts; return how many."""
    return sum(deleting_ended(tasks, using=using))


def deleting_ended(tasks: QuerySet[Task], *, using: str) -> Iterator[int]:
    """Delete them a chunk and a transaction at a time, saying how many each time."""
    while True:
        with transaction.atomic(using=using):
            ids = list(tasks.filter(status__in=ENDED).order_by("id").values_list("id", flat=True)[:CHUNK])
            if not ids:
                return
            # A task may be retried between our look and our touch; its row is locked before its logs go.
            uuids = dict(
                Task.objects.using(using)
                .filter(id__in=ids, status__in=ENDED)
                .select_for_update()
                .values_list("id", "uuid")
            )
            ids = list(uuids)
            emit([], topics=[f"task:{uuid}" for uuid in uuids.values()], using=using)
            TaskLog.objects.using(using).filter(task_id__in=ids)._raw_delete(using)
            Attempt.objects.using(using).filter(task_id__in=ids)._raw_delete(using)
            deleted = Task.objects.using(using).filter(id__in=ids)._raw_delete(using)
        yield deleted


def expire_queue(*, now: datetime, using: str) -> int:
    """Apply `queue_timeout` to the new tasks whose time in the queue is over; return how many (one chunk)."""
    waiting = Task.objects.using(using).filter(status=Status.NEW, queue_deadline_at__lte=now)
    count = 0
    for task in waiting.only("id", "uuid", "queue_timeout", "keep_for")[:CHUNK]:
        timeout = task.queue_timeout or {}
        if timeout.get("then") == "prioritize":
            row = Task.objects.using(using).filter(pk=task.pk, queue_deadline_at__lte=now)
            count += prioritize(row, float(timeout["priority"]), using=using)  # float("Infinity") is fine
            row.update(queue_deadline_at=None)
        else:
            reason = f"queue_timeout: not started within {timeout.get('after')} s"
            count += abort_new(task, reason, using=using)
    return count


def _in_chunks(
    tasks: QuerySet[Task],
    change: Callable[[QuerySet[Task]], int],
    happenings: Callable[[UUID], list[Happening]],
    *,
    topics: list[str],
    using: str,
) -> int:
    """Apply `change` to the tasks of now, a chunk and a transaction at a time; return how many it hit."""
    pairs = list(tasks.values_list("id", "uuid"))
    count = 0
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        with transaction.atomic(using=using):
            count += change(Task.objects.using(using).filter(id__in=[pk for pk, _ in chunk]))
            emit([h for _, uuid in chunk for h in happenings(uuid)], topics=topics, using=using)
    return count


def _emit_task(name: str, uuid: UUID, using: str, **args: Any) -> None:
    emit([_say(name, uuid, **args)], topics=["queue", f"task:{uuid}"], using=using)


def _say(name: str, uuid: UUID, **args: Any) -> Happening:
    return Happening(name, uuid, args)
