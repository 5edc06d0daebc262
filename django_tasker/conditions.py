"""Concurrency conditions: their form, `$ref`, and the ids that admission groups tasks by.

A condition is `{"scope": "running", "query": {…}, "limit": 1}` or `{"assert": "disk-free"}`. This module knows
no rows; `admission` counts.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from hashlib import blake2b
from typing import Any, NamedTuple

from . import query
from .errors import InvalidQuery, InvalidTask
from .json_values import stand_in
from .query import Node
from .query.nodes import And, is_index

SCOPES = ("running", "queued_before", "active")
REFERABLE = ("data", "operation", "queue", "uuid", "unique_key")
"""What `$ref` may name: values that stay as they are while a task waits."""

FRONT, LATER, NOT_WAITING = 0, 1, -1
"""Values of Task.hold that are no stream's id: the front of the queue, before run_at, and not new."""


KEYS = frozenset(["data", "operation", "queue"])
"""Columns whose values are looked up in an index: those that stay as they are while a task waits in one place."""


class Key(NamedTuple):
    """The part of a query that asks for equality: the paths, and a hash of them with the values."""

    paths: tuple[str, ...]
    digest: int
    is_whole: bool  # the query asks for nothing else


@dataclass(frozen=True)
class Condition:
    """One condition of one task, its `$ref`s replaced by the task's values."""

    scope: str  # running, queued_before, active or assert
    query: dict[str, Any] = field(hash=False, default_factory=dict)
    limit: int = 0
    assertion: str | None = None

    @cached_property
    def id(self) -> int:
        """A positive 63-bit hash of all that the condition says, over 1: the id of its stream."""
        return digest(self.reason)

    @cached_property
    def reason(self) -> dict[str, Any]:
        """The JSON form; `from_reason` reads it back."""
        if self.assertion is not None:
            return {"assert": self.assertion}
        return {"scope": self.scope, "query": self.query, "limit": self.limit}

    @cached_property
    def query_id(self) -> int:
        return digest(self.query)

    @cached_property
    def node(self) -> Node:
        return query.parse(self.query)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The task's columns that the query looks at."""
        return query.fields_of(self.node)

    @cached_property
    def equal(self) -> tuple[tuple[str, ...], tuple[Any, ...]] | None:
        """The paths and the stand-ins of the values, for a query that only asks for equality; else None."""
        pairs = query.equalities(self.node)
        if pairs is None:
            return None
        return tuple(path for path, _ in pairs), tuple(stand_in(value) for _, value in pairs)

    @cached_property
    def key(self) -> Key | None:
        """By what the tasks that match, and perhaps some more, can be looked up; None: by nothing."""
        if self.assertion is not None:
            return None
        parts = self.node.children if isinstance(self.node, And) else (self.node,)
        found = [query.equalities(part) for part in parts]
        pairs = sorted(
            (pair for pairs in found for pair in pairs or () if pair[0].split(".", 1)[0] in KEYS), key=lambda p: p[0]
        )
        if not pairs and parts:
            return None
        paths, values = tuple(path for path, _ in pairs), [value for _, value in pairs]
        return Key(paths, key_digest(paths, values), is_whole=len(pairs) == len(parts))

    @cached_property
    def predicate(self) -> Callable[[Any], bool]:
        return query.to_predicate(self.node)


def from_reason(reason: Mapping[str, Any]) -> Condition:
    if "assert" in reason:
        return Condition("assert", assertion=reason["assert"])
    return Condition(reason["scope"], reason["query"], reason["limit"])


def digest(value: Any) -> int:
    """A stable hash of a JSON value from 2 to 2**63 - 1, the same in every process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") % (2**63 - 2) + 2


def key_digest(paths: Sequence[str], values: Sequence[Any]) -> int:
    """A hash of values at paths: the same exactly when JSON calls the values equal."""
    if all(isinstance(value, int | str) and (not isinstance(value, str) or len(value) <= 100) for value in values):
        return _digest_of_few(tuple(paths), *values)
    return digest([list(paths), [_canonical(value) for value in values]])


@lru_cache(maxsize=20_000, typed=True)  # true is not 1
def _digest_of_few(paths: tuple[str, ...], *values: int | str) -> int:
    """The same hash for short values, of which a queue has the same ones again and again."""
    return digest([paths, values])


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    return [_canonical(item) for item in value] if isinstance(value, list | tuple) else value


def check(value: Any, *, path: str = "concurrency", max_conditions: int) -> list[dict[str, Any]]:
    """Return a task's conditions as they will be stored.

    Raises:
        InvalidTask: not a list, too many, an unknown key or scope, a limit that is no whole number of 0 or more,
            or a query that is refused; the error's path names the place.
    """
    if not isinstance(value, list | tuple):
        raise InvalidTask(f"{path} must be a list of conditions, not {value!r}.", path=path)
    if len(value) > max_conditions:
        raise InvalidTask(f"{path} has {len(value)} conditions; at most {max_conditions} are allowed.", path=path)
    return [_check_one(item, f"{path}[{index}]") for index, item in enumerate(value)]


def _check_one(item: Any, path: str, *, also: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise InvalidTask(f"{path} must be an object, not {item!r}.", path=path)
    allowed = ("assert", *also) if "assert" in item else ("scope", "query", "limit", *also)
    for key in item:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(allowed)}."
            raise InvalidTask(f"Unknown key {key!r} at {path}; {hint}", path=f"{path}.{key}")
    if "assert" in item:
        if not isinstance(item["assert"], str) or not item["assert"]:
            raise InvalidTask(f"{path}.assert must name an assertion, not {item['assert']!r}.", path=f"{path}.assert")
        return dict(item)
    scope = item.get("scope", "running")
    if scope not in SCOPES:
        raise InvalidTask(f"{path}.scope is {scope!r}, not one of {', '.join(SCOPES)}.", path=f"{path}.scope")
    limit = item.get("limit", 0)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit < 2**31:
        raise InvalidTask(f"{path}.limit must be a whole number of 0 or more, not {limit!r}.", path=f"{path}.limit")
    if "query" not in item:
        raise InvalidTask(f"{path} has no query.", path=path)
    _check_query(item["query"], f"{path}.query")
    return {**item, "scope": scope, "limit": limit}


def _check_query(value: Any, path: str) -> None:
    """Refuse a query that could be read with no value at all in place of its `$ref`s."""
    error: InvalidQuery | None = None
    for trial in (None, 0, "x"):  # what a $ref will hold is not known yet: null, a number or a text
        try:
            query.parse(_replace(value, partial(_check_ref, trial), path), path=path)
            return
        except InvalidQuery as refused:
            error = error or refused
    assert error is not None
    raise InvalidTask(str(error), path=error.path) from error


def _check_ref(trial: Any, name: Any, path: str) -> Any:
    if not isinstance(name, str) or name.split(".", 1)[0] not in REFERABLE:
        raise InvalidTask(
            f"$ref at {path} names {name!r}; it may name {', '.join(REFERABLE)} or a path into data.", path=path
        )
    return trial


def _replace(value: Any, resolve: Callable[[Any, str], Any], path: str) -> Any:
    """A copy of a query in which `resolve(name, path)` stands for each `{"$ref": name}`."""
    if isinstance(value, Mapping):
        if set(value) == {"$ref"}:
            return resolve(value["$ref"], f"{path}.$ref")
        return {key: _replace_at(key, item, resolve, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace(item, resolve, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def _replace_at(key: Any, item: Any, resolve: Callable[[Any, str], Any], path: str) -> Any:
    replaced = _replace(item, resolve, path)
    is_ref = isinstance(item, Mapping) and set(item) == {"$ref"}
    # A task's own object could look like operators ({"$gt": 0}); as a value it is only ever compared.
    return {"$eq": replaced} if is_ref and isinstance(replaced, dict) and not str(key).startswith("$") else replaced


def resolve(conditions: Sequence[Mapping[str, Any]], task: Any) -> list[Condition]:
    """The conditions with every `$ref` replaced by the value that `task` (anything with its fields) has."""
    return [_resolve_one(item, task) for item in conditions]


def _resolve_one(item: Mapping[str, Any], task: Any) -> Condition:
    if "assert" in item:
        return Condition("assert", assertion=item["assert"])
    return Condition(item["scope"], _replace(item["query"], lambda name, _: look_up(task, name), "$"), item["limit"])


def look_up(task: Any, name: str) -> Any:
    """The value at a dotted path of a task; None where there is none."""
    first, *rest = name.split(".")
    value = getattr(task, first)
    for part in rest:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and is_index(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return str(value) if first == "uuid" else value


def lane_of(conditions: Sequence[Condition]) -> int:
    """The lane of a task with these resolved conditions; 0 for none."""
    return digest(sorted(condition.id for condition in conditions)) if conditions else 0


@dataclass(frozen=True)
class GlobalCondition:
    """A condition of the TASKER setting: it applies to every task that matches its `for`."""

    applies: Callable[[Any], bool]
    item: dict[str, Any]

    def resolve(self, task: Any) -> Condition:
        """The condition for a task; one that the task's own values make unreadable refuses, and says why."""
        condition = _resolve_one(self.item, task)
        try:
            if condition.assertion is None:
                condition.node  # noqa: B018 - parses the query
        except InvalidQuery as error:
            return Condition("assert", assertion=f"a global condition can't be read for this task: {error}")
        return condition


def check_global(value: Any) -> list[GlobalCondition]:
    """Read TASKER['CONDITIONS']. Raises InvalidTask, whose path names the place."""
    found = []
    for index, item in enumerate(value):
        path = f"CONDITIONS[{index}]"
        checked = _check_one(item, path, also=("for",))
        try:
            applies = query.to_predicate(query.parse(checked.pop("for", {}), path=f"{path}.for"))
        except InvalidQuery as error:
            raise InvalidTask(str(error), path=error.path) from error
        found.append(GlobalCondition(applies, checked))
    return found
