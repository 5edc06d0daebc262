"""Subcommands that only look: list, show, logs, explain, stats."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from django_tasker import tasker

from ...models import Task, TaskLog
from ...statuses import Status
from .output import Output, log_json, log_line, number, plain, progress_text, task_json, to_json
from .targets import tasks

_TIMES = ("added_at", "run_at", "started_at", "abort_requested_at", "ended_at")
_ALWAYS = ("operation", "status", "priority", "queue", "attempt")


def list_tasks(out: Output, options: Namespace) -> None:
    """The tasks of a query, newest first unless --sort says otherwise."""
    query = list_query(options)
    found = tasker.find_tasks(query, sort=options.sort, limit=options.limit, skip=options.skip)
    if out.as_json:
        for task in found:
            out.json(task_json(task))
        return
    out.table(["uuid", "status", "priority", "operation", "added", "progress", "warnings", "errors"], map(row, found))
    out.line(f"{len(found)} of {tasker.count_tasks(query)} tasks; of those waiting, the smallest priority runs first.")


def list_query(options: Namespace) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [] if options.query is None else [options.query]
    for name in ("status", "operation", "queue"):
        if wanted := getattr(options, name):
            parts.append({name: {"$in": wanted}})
    return {"$and": parts} if parts else {}


def row(task: Task) -> list[Any]:
    status = "aborting" if task.is_aborting else task.status
    return [
        task.uuid,
        status,
        number(task.priority),
        task.operation,
        task.added_at,
        progress_text(task.progress, width=10),
        task.warning_count or "",
        task.error_count or "",
    ]


def show(out: Output, options: Namespace) -> None:
    """Everything about one task."""
    task = tasker.get_task(options.uuid, with_logs=options.logs, logs_max_level=options.max_level)
    if out.as_json:
        logs = {"logs": [log_json(entry) for entry in task.logs]} if options.logs else {}
        out.json({**task_json(task), **logs})
        return
    out.line(out.style.MIGRATE_HEADING(f"{task.operation} {task.uuid}"))
    for name, text in details(out, task):
        out.line(f"{name + ':':<20}{text}")
    if task.error and task.error.get("traceback"):
        out.line(f"\n{task.error['traceback'].rstrip()}")
    for entry in task.logs if options.logs else []:
        out.line(log_line(entry, out.style))


def details(out: Output, task: Task) -> Iterator[tuple[str, str]]:
    """Names and texts of what is known of a task: the main things, its times as they came, then the rest."""
    values = task_json(task)
    special = {
        "status": out.status(task.status),
        "priority": f"{number(task.priority)} (the smallest runs first)",
        "progress": progress_text(task.progress),
        "error": f"{task.error.get('type')}: {task.error.get('message')}" if task.error else "",
    }
    for name in dict.fromkeys((*_ALWAYS, *_TIMES, *values)):
        if name in _ALWAYS or (name != "uuid" and values[name] not in (None, [], 0, False)):
            yield name.replace("_", " "), special.get(name) or plain(values[name])


def logs(out: Output, options: Namespace) -> None:
    """The log entries of one task; with --follow also those to come, until it ends."""
    task = tasker.get_task(options.uuid)
    for entry in follow(task, options) if options.follow else stored(task, options):
        if out.as_json:
            out.json(log_json(entry))
        else:
            out.line(log_line(entry, out.style))


def stored(task: Task, options: Namespace) -> Iterator[TaskLog]:
    entries = TaskLog.objects.filter(
        task=task, seq__gt=options.after, level__gte=logging.getLevelNamesMapping()[options.max_level.upper()]
    )
    if options.search:
        entries = entries.filter(message__icontains=options.search)
    return entries.order_by("seq").iterator(chunk_size=1000)


def follow(task: Task, options: Namespace) -> Iterator[TaskLog]:
    for entry in tasker.listen_task_logs(task.uuid, after=options.after, max_level=options.max_level):
        if options.search.lower() in entry.message.lower():
            yield entry


def explain(out: Output, options: Namespace) -> None:
    """Why a task is not running: every reason with the tasks in the way, and its place in the queue."""
    explanation = tasker.explain_task(options.uuid)
    if out.as_json:
        out.json(explanation.as_dict())
        return
    place = "" if explanation.place is None else f", {tasks(explanation.place)} ahead of it in the queue"
    out.line(f"{explanation.uuid} is {out.status(explanation.status)}{place}.")
    for reason in explanation.reasons:
        out.line(f"- {reason.message}")
        if reason.condition:
            out.line(f"  {to_json(reason.condition)}")
        for uuid in reason.tasks:
            out.line(f"  {uuid}")
    for warning in explanation.warnings:
        out.line(out.style.WARNING(f"! {warning}"))


def stats(out: Output, options: Namespace) -> None:
    """Counts by operation and status, queues, the oldest waiting task, workers, what is paused."""
    found = tasker.stats()
    if out.as_json:
        out.json(found)
        return
    operations = sorted(found["tasks"].items())
    out.table(["operation", *Status.values], [[name, *map(counts.get, Status.values)] for name, counts in operations])
    out.line()
    out.table(["queue", "waiting"], sorted(found["queues"].items()))
    out.line()
    out.table(["worker", "running", "slots", "heartbeat", "operations"], map(worker_row, found["workers"]))
    out.line()
    out.line(f"oldest waiting task added: {plain(found['oldest_waiting_at']) or 'none waits'}")
    for kind, names in found["paused"].items():
        out.line(f"paused {kind}: {', '.join(names) or 'none'}")


def worker_row(worker: dict[str, Any]) -> list[Any]:
    slots = ", ".join(f"{count} {kind}" for kind, count in worker["slots"].items())
    return [worker["name"], worker["running"], slots, worker["heartbeat_at"], len(worker["operations"])]
