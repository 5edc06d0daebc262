"""Turns what a caller asks for into an unsaved `Task`: every value checked, with an error that names the place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cronsim import CronSim, CronSimError
from django.db import connections
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from . import conditions, json_values
from .conf import Options
from .conf import options as project_options
from .databases import alias, database
from .errors import InvalidQuery, InvalidTask
from .models import Task
from .statuses import OnStop

ON_CONFLICT = ("raise", "return", "replace")
MAX_SECONDS = 10 * 365 * 86_400
"""Ten years: no timeout, delay or retention is longer, so that no date overflows."""


def check_uuid(value: Any) -> UUID:
    """A task's uuid from a uuid (object or text) or a Task. Raises InvalidTask."""
    if isinstance(value, Task):
        return value.uuid
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError):
        raise InvalidTask(f"{value!r} is no uuid of a task.", path="uuid") from None


def check_name(value: Any, path: str, max_length: int) -> str:
    if not isinstance(value, str) or not value or value.strip() != value:
        raise InvalidTask(f"{path} must be a text that is not empty nor padded, not {value!r}.", path=path)
    if len(value) > max_length:
        raise InvalidTask(f"{path} has {len(value)} characters; at most {max_length} are allowed.", path=path)
    json_values.check_text(value, path)
    return value


def check_text(value: Any, path: str, max_length: int) -> str:
    if not isinstance(value, str):
        raise InvalidTask(f"{path} must be a text, not {value!r}.", path=path)
    json_values.check_text(value, path)
    if len(value) > max_length:
        raise InvalidTask(f"{path} has {len(value)} characters; at most {max_length} are allowed.", path=path)
    return value


def check_priority(value: Any, path: str = "priority") -> float:
    """A float, or "Infinity" and "-Infinity" as JSON has them; never NaN."""
    if value in ("Infinity", "-Infinity"):
        return math.inf if value == "Infinity" else -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise InvalidTask(f'{path} must be a number, "Infinity" or "-Infinity", not {value!r}.', path=path)
    try:
        return float(value) + 0.0  # -0.0 sorts as 0.0
    except OverflowError:
        raise InvalidTask(f"{path} is too large for a float.", path=path) from None


def check_seconds(value: Any, path: str, *, zero: bool = True) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise InvalidTask(f"{path} must be a number of seconds from 0 to {MAX_SECONDS}, not {value!r}.", path=path)
    if not zero and value == 0:
        raise InvalidTask(f"{path} must be more than 0 seconds.", path=path)
    return float(value)


def check_time(value: Any, path: str) -> datetime:
    """An aware datetime, or ISO 8601 text with an offset."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = parse_datetime(value) or value
    if not isinstance(value, datetime) or timezone.is_naive(value):
        raise InvalidTask(f"{path} must be a datetime with a time zone, not {value!r}.", path=path)
    if not 1 < value.year < 9999:  # else it may be no date in another time zone, as databases store it
        raise InvalidTask(f"{path} must be in a year from 2 to 9998, not {value!r}.", path=path)
    return value


def check_whole(value: Any, path: str, least: int, most: int = 2**31 - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidTask(f"{path} must be a whole number from {least} to {most}, not {value!r}.", path=path)
    return value


def check_cron(value: Any, path: str = "run_until") -> str:
    text = check_name(value, path, 100)
    try:
        CronSim(text, timezone.localtime())
    except CronSimError as error:
        raise InvalidTask(f"{path} is no cron expression of five fields: {value!r} ({error}).", path=path) from None
    return text


def check_queue_timeout(value: Any, path: str = "queue_timeout") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidTask(f'{path} must be an object like {{"after": 60, "then": "abort"}}, not {value!r}.', path=path)
    then = value.get("then")
    if then not in ("abort", "prioritize"):
        raise InvalidTask(f'{path}.then must be "abort" or "prioritize", not {then!r}.', path=f"{path}.then")
    known = ("after", "then") if then == "abort" else ("after", "then", "priority")
    refuse_unknown(value, known, path)
    checked: dict[str, Any] = {"after": check_seconds(value.get("after"), f"{path}.after"), "then": then}
    if then == "prioritize":
        priority = check_priority(value.get("priority"), f"{path}.priority")
        checked["priority"] = priority if math.isfinite(priority) else str(priority).replace("inf", "Infinity")
    return checked


def refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...] | Mapping[str, Any], path: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}."
            raise InvalidTask(f"Unknown option {key!r} at {path}{hint}", path=f"{path}.{key}")


def _choice(choices: tuple[str, ...]) -> Callable[[Any, str], str]:
    def check(value: Any, path: str) -> str:
        if value not in choices:
            raise InvalidTask(f"{path} must be one of {', '.join(choices)}, not {value!r}.", path=path)
        return str(value)

    return check


def check_concurrency(value: Any, path: str = "concurrency") -> list[dict[str, Any]]:
    return conditions.check(value, path=path, max_conditions=project_options().max_conditions)


CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "priority": check_priority,
    "queue": lambda value, path: check_name(value, path, 100),
    "run_at": check_time,
    "concurrency": check_concurrency,
    "run_timeout": lambda value, path: check_seconds(value, path, zero=False),
    "run_until": check_cron,
    "queue_timeout": check_queue_timeout,
    "max_attempts": lambda value, path: check_whole(value, path, 1),
    "retry_delay": check_seconds,
    "unique_key": lambda value, path: check_name(value, path, 255),
    "on_stop": _choice(tuple(OnStop.values)),
    "keep_for": check_seconds,
    "added_by": lambda value, path: check_text(value, path, 150),
}
"""Option of `add_task` -> what checks its value. None stands for the default everywhere."""


def check_options(given: Mapping[str, Any], path: str = "options") -> dict[str, Any]:
    """The options with values as they will be stored; those that are None left out."""
    refuse_unknown(given, CHECKS, path)
    return {name: CHECKS[name](value, name) for name, value in given.items() if value is not None}


def build(operation: Any, data: Any, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Task:
    """An unsaved task.

    Args:
        given: the caller's options.
        defaults: the operation's; its `concurrency` is a template that the caller's extends.

    Raises:
        InvalidTask: a value is refused; the error's path names it.
    """
    limits = project_options()
    check_name(operation, "operation", 200)
    if data is not None:
        using = alias()
        depth = database(using).max_json_depth(connections[using])
        json_values.dumps(data, path="data", max_bytes=limits.max_data_bytes, max_depth=depth)
    template = check_options({k: v for k, v in defaults.items() if k in CHECKS})
    own = check_options(given)
    both = [*template.pop("concurrency", []), *own.pop("concurrency", [])]
    fields = {"on_stop": limits.on_stop, **template, **own}
    task = Task(operation=operation, data=data, concurrency=both, **fields)
    set_lane(task, limits)
    return task


def set_lane(task: Task, limits: Options) -> None:
    """Resolve the task's conditions against its own values, and group it with those that have the same."""
    if len(task.concurrency) > limits.max_conditions:
        raise InvalidTask(
            f"concurrency has {len(task.concurrency)} conditions with those of the operation; "
            f"at most {limits.max_conditions} are allowed.",
            path="concurrency",
        )
    resolved = conditions.resolve(task.concurrency, task)
    for index, condition in enumerate(resolved):
        if condition.assertion is None:
            try:
                condition.node  # noqa: B018 - parses the query with the task's own values
            except InvalidQuery as error:
                path = f"concurrency[{index}].query{error.path.removeprefix('$')}"
                raise InvalidTask(f"{error} (with the task's own values for $ref)", path=path) from error
    task.lane = conditions.lane_of(resolved)
