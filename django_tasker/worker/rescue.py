"""The tasks of workers that went silent: found by any worker, at its start and now and then."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Exists, OuterRef, QuerySet

from .. import lifecycle
from ..conf import Options
from ..databases import database, in_transaction
from ..lifecycle import Held
from ..models import Task, Worker
from ..statuses import Ahead, Outcome
from .settings import is_alive, machine_id

logger = logging.getLogger(__name__)


def rescue(using: str, options: Options) -> int:
    """Apply `on_stop` to the tasks of lost workers and forget those workers; return how many tasks.

    A worker is lost when its heartbeat is older than the lease, or when its process on this machine is gone. Safe
    to run in several workers at once: each task is moved by whoever comes first.
    """
    now = database(using).now(connections[using])
    lost = [worker.pk for worker in Worker.objects.using(using) if _is_lost(worker, now, options.lease)]
    moved = _release(Task.objects.using(using).running().filter(worker_id__in=lost), now, using, options)
    Worker.objects.using(using).filter(pk__in=lost).delete()
    # Running tasks whose worker has no row any more, taken for lost by somebody who then died himself.
    known = Worker.objects.filter(pk=OuterRef("worker_id"))
    orphans = Task.objects.using(using).running().filter(~Exists(known), started_at__lt=now - timedelta(seconds=5))
    return moved + _release(orphans, now, using, options)


def release_strays(using: str, worker_id: int, held: Container[tuple[int, int]]) -> int:
    """Put back the tasks that a worker has by its rows and not in its hands; return how many.

    So it is when the answer to its claim was lost with the connection. They have never run. To be called between two
    claims of that worker.
    """
    now = database(using).now(connections[using])
    rows = Task.objects.using(using).running().filter(worker_id=worker_id)
    strays = [pk for pk, attempt in rows.values_list("id", "attempt") if (pk, attempt) not in held]
    for stray, _, _ in _held(rows.filter(id__in=strays)) if strays else ():
        logger.warning("task was claimed unheard task_id=%s worker_id=%s", stray.uuid, worker_id)
        lifecycle.postponed(stray, None, Outcome.STOPPED, now=now, using=using)
    return len(strays)


def _is_lost(worker: Worker, now: datetime, lease: float) -> bool:
    if worker.heartbeat_at < now - timedelta(seconds=lease):
        return True
    return bool(worker.machine) and worker.machine == machine_id() and not is_alive(worker.pid)


def _release(tasks: QuerySet[Task], now: datetime, using: str, options: Options) -> int:
    return sum(_release_one(held, aborting, name, now, using, options) for held, aborting, name in _held(tasks))


def _release_one(held: Held, aborting: bool, name: str | None, now: datetime, using: str, options: Options) -> bool:
    why = f"Its worker {name} was lost."
    logger.warning("task lost its worker task_id=%s worker=%s", held.uuid, name)
    if aborting:
        return in_transaction(using, lambda: lifecycle.aborted_by_request(held, now=now, using=using))
    return in_transaction(using, lambda: lifecycle.lost(held, why, max_losses=options.max_losses, now=now, using=using))


def _held(tasks: QuerySet[Task]) -> Iterable[tuple[Held, bool, str | None]]:
    for task in tasks.order_by("id"):
        yield (
            Held(
                id=task.pk,
                uuid=task.uuid,
                operation=task.operation,
                attempt=task.attempt,
                worker_id=task.worker_id or 0,
                max_attempts=task.max_attempts,
                retry_delay=task.retry_delay,
                keep_for=task.keep_for,
                on_stop=task.on_stop,
                losses=task.losses,
                started_at=task.started_at or task.updated_at,
                was_ahead=task.ahead == Ahead.CLAIMED,
            ),
            task.is_aborting,
            task.worker_name,
        )


def beat(using: str, worker_id: int, running: int) -> bool:
    """Stamp a worker's row; False when it is not there any more: the worker was taken for lost."""
    now = database(using).now(connections[using])
    hit = Worker.objects.using(using).filter(pk=worker_id).update(heartbeat_at=now, running=running)
    return bool(hit)


__all__ = ["beat", "release_strays", "rescue"]
