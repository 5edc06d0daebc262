"""Assertions about the tasks that were added, with messages that show what was added instead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from ..facade import Tasker
from ..facade import tasker as project_tasker
from ..models import Task

MAX_SHOWN = 20
MAX_CHARACTERS = 300

UNSET: Any = object()
"""Stands for data that nobody asked about: None is data, too."""


def assert_added(
    operation: str | None = None,
    /,
    data: Any = UNSET,
    *,
    count: int | None = None,
    query: Mapping[str, Any] | None = None,
    tasker: Tasker = project_tasker,
    **fields: Any,
) -> list[Task]:
    """Assert that tasks were added, and are still there; return them, first added first.

    Args:
        operation: its name; None: any.
        data: the whole data, equal. A part of it, or a comparison, is a matter for `query`.
        count: how many there must be; None: at least one.
        query: in the query language: `{"data.book": 7}`, `{"data.pages": {"$gt": 100}}`, `{"status": "new"}`.
        fields: fields of tasks: `priority=-5`, `queue="slow"`, `run_at={"$gt": now}`.

    Raises:
        AssertionError: there are none, or another number; it lists what was added.
        InvalidQuery: a field, an operator or a value is none.
    """
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
        raise TypeError(f"count must be a whole number, 0 or more, or None, not {count!r}.")
    wanted = {"operation": operation, "data": data, **fields}
    if operation is None and "operation" not in fields:
        del wanted["operation"]
    if data is UNSET:
        del wanted["data"]
    found = tasker.find_tasks(wanted if query is None else {"$and": [wanted, query]})
    if len(found) == count or (count is None and found):
        return found
    raise AssertionError(_message({**wanted, **(query or {})}, count, found, tasker))


def assert_not_added(
    operation: str | None = None,
    /,
    data: Any = UNSET,
    *,
    query: Mapping[str, Any] | None = None,
    tasker: Tasker = project_tasker,
    **fields: Any,
) -> None:
    """Assert that no such task was added; the arguments are those of `assert_added`."""
    assert_added(operation, data, count=0, query=query, tasker=tasker, **fields)


async def aassert_added(operation: str | None = None, /, data: Any = UNSET, **arguments: Any) -> list[Task]:
    """The async twin of `assert_added`."""
    return await sync_to_async(assert_added)(operation, data, **arguments)


async def aassert_not_added(operation: str | None = None, /, data: Any = UNSET, **arguments: Any) -> None:
    """The async twin of `assert_not_added`."""
    await sync_to_async(assert_not_added)(operation, data, **arguments)


# -- the message --------------------------------------------------------------------------------------------------

_SHOWN_ALWAYS = ("operation", "data", "status")
_SHOWABLE = {field.name for field in Task._meta.concrete_fields} - set(_SHOWN_ALWAYS)


def _message(wanted: Mapping[str, Any], count: int | None, found: Sequence[Task], tasker: Tasker) -> str:
    """What was wanted, and what is there: what matches, or else tasks of the operation, or else any."""
    plural = len(found) > 1
    about = f"{'match' if plural else 'matches'} {_text(wanted)}" if wanted else f"{'were' if plural else 'was'} added"
    head = f"{len(found) or 'No'} {'tasks' if plural else 'task'} {about}"
    head += "." if count is None else f", not {count}."
    names = dict.fromkeys(name for key in wanted if (name := key.partition(".")[0]) in _SHOWABLE)
    if found:
        return head + _listing("They are:" if plural else "It is:", found, len(found), names)
    operation = wanted.get("operation")
    of_operation = {"operation": operation}
    if isinstance(operation, str) and (total := tasker.count_tasks(of_operation)):
        there = tasker.find_tasks(of_operation, limit=MAX_SHOWN)
        return head + _listing(f"Tasks of {operation!r}:", there, total, names)
    if total := tasker.count_tasks():
        return head + _listing("Tasks that were added:", tasker.find_tasks(limit=MAX_SHOWN), total, names)
    return f"{head} There is no task at all: is one added in a transaction that was rolled back, or by an on_commit?"


def _listing(head: str, tasks: Sequence[Task], total: int, names: Iterable[str]) -> str:
    lines = [_line(task, names) for task in tasks[:MAX_SHOWN]]
    if total > len(lines):
        lines.append(f"… and {total - len(lines)} more")
    return "".join([f"\n{head}", *(f"\n  {line}" for line in lines)])


def _line(task: Task, names: Iterable[str]) -> str:
    """Operation, data, status, and the fields that were asked for."""
    asked = [f"{name}={_text(getattr(task, name))}" for name in names]
    return "  ".join([task.operation, _text(task.data), task.status, *asked])


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
