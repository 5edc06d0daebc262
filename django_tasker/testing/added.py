"""Assertions about the tasks that were added, with messages that show what was added instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async

from ..facade import Tasker
from ..facade import tasker as project_tasker
from ..json_values import Utf8Encoder
from ..models import Task

MAX_SHOWN = 20
MAX_CHARACTERS = 300


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"


UNSET = _Unset()


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
    wanted = {name: value for name, value in wanted.items() if value is not UNSET}
    if operation is None:
        del wanted["operation"]
    whole = {"$and": [wanted, dict(query)]} if query else wanted
    found = tasker.find_tasks(whole)
    if len(found) == count or (count is None and found):
        return found
    names = [name for name in (*fields, *_fields_of(query or {})) if name in _SHOWABLE]
    raise AssertionError(_message({**wanted, **(query or {})}, count, found, tasker, dict.fromkeys(names)))


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

_SHOWN_ALWAYS = ("operation", "status", "data")
_SHOWABLE = {field.name for field in Task._meta.concrete_fields} - set(_SHOWN_ALWAYS)


def _fields_of(query: Mapping[str, Any]) -> list[str]:
    """The fields that a query asks for at its top."""
    return [key.partition(".")[0] for key in query]


def _message(
    wanted: Mapping[str, Any], count: int | None, found: list[Task], tasker: Tasker, names: Mapping[str, Any]
) -> str:
    about = f"match {_text(wanted)}" if wanted else "were added"
    if count is None:
        head = f"No tasks {about}."
    else:
        head = f"{len(found)} {'task' if len(found) == 1 else 'tasks'} {about}, not {count}."
    if found:
        return head + _listing("They are:", found, len(found), names)
    return head + _others(wanted.get("operation"), tasker, names)


def _others(operation: object, tasker: Tasker, names: Mapping[str, Any]) -> str:
    """What was added instead: those of the operation, or else any."""
    of_operation = {"operation": operation} if isinstance(operation, str) else None
    for query, head in ((of_operation, f"Tasks of {operation!r}:"), (None, "Tasks that were added:")):
        total = tasker.count_tasks(query) if query or head.startswith("Tasks that") else 0
        if total:
            return _listing(head, tasker.find_tasks(query, limit=MAX_SHOWN), total, names)
    return " No task was added at all. In a transaction that was rolled back, or on_commit of one that never commits?"


def _listing(head: str, tasks: list[Task], total: int, names: Mapping[str, Any]) -> str:
    lines = [_line(task, names) for task in tasks[:MAX_SHOWN]]
    if total > len(lines):
        lines.append(f"… and {total - len(lines)} more")
    return "".join([f"\n{head}", *(f"\n  {line}" for line in lines)])


def _line(task: Task, names: Mapping[str, Any]) -> str:
    parts = [task.operation, _text(task.data), task.status]
    return "  ".join([*parts, *(f"{name}={_text(getattr(task, name))}" for name in names)])


def _text(value: Any) -> str:
    try:
        text = json.dumps(value, cls=Utf8Encoder, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
