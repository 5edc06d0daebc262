"""Subcommands that change something: add, abort, prioritize, postpone, retry, update, delete, pause, resume, prune."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError

from django_tasker import tasker

from ...facade import UPDATABLE
from ...statuses import ACTIVE, ENDED, Status
from . import targets
from .output import Output, task_json
from .waiting import wait_for


def add(out: Output, options: Namespace) -> int:
    """Add a task; print its uuid, or with --wait how it ended."""
    values = given(options, (*UPDATABLE, "unique_key", "on_conflict"))
    task = tasker.add_task(options.operation, options.data, **values)
    if not options.wait:
        out.either(task_json(task), str(task.uuid))
        return 0
    return wait_for(out, task.uuid, None if options.timeout is None else time.monotonic() + options.timeout)


def given(options: Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The options that were given at all."""
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def abort(out: Output, options: Namespace) -> None:
    targets.change(
        out,
        options,
        participle="aborted",
        statuses=ACTIVE,
        one=lambda uuid: tasker.abort_task(uuid, options.reason),
        many=lambda query: tasker.abort_tasks(query, options.reason),
    )


def prioritize(out: Output, options: Namespace) -> None:
    targets.change(
        out,
        options,
        participle="prioritized",
        statuses=(Status.NEW,),
        one=lambda uuid: tasker.prioritize_task(uuid, options.priority),
        many=lambda query: tasker.prioritize_tasks(query, options.priority),
    )


def retry(out: Output, options: Namespace) -> None:
    targets.change(out, options, participle="retried", statuses=ENDED, one=tasker.retry_task, many=tasker.retry_tasks)


def delete(out: Output, options: Namespace) -> None:
    targets.change(
        out,
        options,
        participle="deleted",
        statuses=ENDED,
        one=_delete_one,
        many=tasker.delete_tasks,
    )


def _delete_one(uuid: Any) -> None:
    task = tasker.get_task(uuid)
    if not tasker.delete_tasks({"uuid": str(uuid), "status": {"$in": list(ENDED)}}):
        raise CommandError(f"Task {uuid} is {task.status}; only ended tasks can be deleted. Abort it first.")


def postpone(out: Output, options: Namespace) -> None:
    for uuid in options.uuids:
        tasker.postpone_task(uuid, options.run_at)
    count = len(options.uuids)
    out.either({"count": count}, f"Postponed {targets.tasks(count)} to {options.run_at.isoformat(timespec='seconds')}.")


def update(out: Output, options: Namespace) -> None:
    values = given(options, (*UPDATABLE, "data"))
    if not values:
        raise CommandError("Nothing to update: give at least one option, such as --priority.")
    task = tasker.update_task(options.uuid, **values)
    out.either(task_json(task), f"Updated {', '.join(values)} of {task}.")


def pause(out: Output, options: Namespace) -> None:
    tasker.pause(**_place(options))
    out.either({"paused": _place(options)}, f"Paused {_words(options)}: no worker starts tasks of it.")


def resume(out: Output, options: Namespace) -> None:
    tasker.resume(**_place(options))
    out.either({"resumed": _place(options)}, f"Resumed {_words(options)}.")


def _place(options: Namespace) -> dict[str, str]:
    return {"operation": options.operation} if options.operation is not None else {"queue": options.queue}


def _words(options: Namespace) -> str:
    ((kind, name),) = _place(options).items()
    return f"{kind} {name!r}"


def prune(out: Output, options: Namespace) -> None:
    """Delete ended tasks past their retention, or that ended longer ago than the caller says."""
    parts: list[dict[str, Any]] = [] if options.query is None else [options.query]
    if options.status:
        parts.append({"status": {"$in": options.status}})
    query = {"$and": parts} if parts else None
    count = tasker.prune(older_than=options.older_than, query=query, dry_run=options.dry_run)
    word = "Would delete" if options.dry_run else "Deleted"
    out.either({"count": count, "dry_run": options.dry_run}, f"{word} {targets.tasks(count)}.")
