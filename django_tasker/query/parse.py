"""JSON to nodes. Everything that can be wrong with a query is found here, and the message names the place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import literals
from .fields import FIELDS, JSON_FIELDS, OPERATORS, RANGE, Field, Kind, nearest
from .literals import Literal, fail
from .nodes import (
    Compare,
    Exists,
    In,
    Node,
    Regex,
    Target,
    conjunction,
    disjunction,
    is_awkward,
    negation,
    size,
)
from .regex import translate

MAX_DEPTH = 20
MAX_NODES = 500
MAX_IN = 1_000
MAX_VALUES = 5_000
MAX_AWKWARD = 4
"""Parts of one path, down to the depth of what it is compared with, that are whole numbers (each an index or a key:
MySQL has to try both) or begin with "-" (MariaDB has to search for them): the SQL doubles with each."""

_COMBINERS = ("$and", "$or", "$nor", "$not")


def parse(query: Any, *, allow_regex: bool = True, path: str = "$") -> Node:
    """Return the tree of a query.

    Keys are a field or a dotted path into `data`, `result`, `error`, `progress`. A part of a path is the key of an
    object, whatever its characters; a whole number is the index of an array as well. Keys that contain a dot, or are
    empty, can't be addressed (compare the object that holds them).

    Args:
        query: a JSON object as Python decodes it; UUIDs, aware datetimes and infinities may stand where their
            strings would.
        allow_regex: whether `$regex` may be used; it costs the database what its author likes.
        path: what to call the query in messages.

    Raises:
        InvalidQuery: anything is unknown, of the wrong type, too deep or too long. Its `path` is the place.
    """
    node = _Parser(allow_regex).query(query, path, 0)
    if size(node) > MAX_NODES:
        fail(f"The query at {path} has more than {MAX_NODES} comparisons.", path)
    return node


class _Parser:
    """Counts what one query holds while it is read."""

    def __init__(self, allow_regex: bool) -> None:
        self._allow_regex = allow_regex
        self._nodes = 0
        self._values = 0

    def query(self, query: Any, path: str, depth: int) -> Node:
        if not isinstance(query, dict):
            fail(f"A query must be a JSON object, got {type(query).__name__} at {path}.", path)
        self._count(path)
        return conjunction([self._entry(key, value, path, depth) for key, value in query.items()])

    def _entry(self, key: Any, value: Any, path: str, depth: int) -> Node:
        if not isinstance(key, str):
            fail(f"Keys of a query must be strings, got {key!r} at {path}.", path)
        place = literals.at(path, key)
        if not key.startswith("$"):
            return self._field(_target(key, place), value, place, depth)
        if key not in _COMBINERS:
            fail(f"Unknown operator {key[:60]!r} at {place}; {nearest(key, _COMBINERS)}", place)
        if depth >= MAX_DEPTH:
            fail(f"The query is nested more than {MAX_DEPTH} levels deep at {place}.", place)
        if key == "$not":
            return negation(self.query(value, place, depth + 1))
        if not isinstance(value, list | tuple) or not value:
            fail(f"{key} needs a list of one query or more at {place}.", place)
        nodes = (self.query(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value))
        if key == "$nor":
            return conjunction([negation(node) for node in nodes])
        return conjunction(list(nodes)) if key == "$and" else disjunction(list(nodes))

    def _field(self, target: Target, value: Any, path: str, depth: int) -> Node:
        if not isinstance(value, dict) or not any(isinstance(key, str) and key[:1] == "$" for key in value):
            return self._equal(target, value, path)
        return conjunction(list(self._operators(target, value, path, depth)))

    def _operators(self, target: Target, operators: dict[Any, Any], path: str, depth: int) -> Iterator[Node]:
        known = (*OPERATORS[target.field.kind], "$not")
        for operator, value in operators.items():
            place = literals.at(path, operator)
            if operator not in known:
                fail(f"Unknown operator {str(operator)[:60]!r} at {place}; {nearest(str(operator), known)}", place)
            if operator == "$not":
                yield self._not(target, value, place, depth)
            elif operator == "$regex":
                yield self._regex(target, value, operators.get("$options", ""), place)
            elif operator == "$options":
                if "$regex" not in operators:
                    fail(f"$options at {place} needs a $regex beside it.", place)
            else:
                yield _OPERATORS[operator](self, target, operator, value, place)

    def _not(self, target: Target, value: Any, path: str, depth: int) -> Node:
        if not isinstance(value, dict) or not value:
            fail(f"$not needs an object of operators at {path}.", path)
        if depth >= MAX_DEPTH:
            fail(f"The query is nested more than {MAX_DEPTH} levels deep at {path}.", path)
        self._count(path)
        return negation(conjunction(list(self._operators(target, value, path, depth + 1))))

    def _equal(self, target: Target, value: Any, path: str) -> Node:
        self._count(path)
        return Compare(target, "$eq", self._literal(target, value, path))

    def _eq_ne(self, target: Target, operator: str, value: Any, path: str) -> Node:
        node = self._equal(target, value, path)
        return negation(node) if operator == "$ne" else node

    def _in_nin(self, target: Target, operator: str, value: Any, path: str) -> Node:
        if not isinstance(value, list | tuple):
            fail(f"{operator} needs a list at {path}.", path)
        if len(value) > MAX_IN:
            fail(f"{operator} at {path} lists {len(value):,} values; at most {MAX_IN:,} are allowed.", path)
        self._count(path)
        found = {self._literal(target, item, f"{path}[{index}]") for index, item in enumerate(value)}
        node = In(target, tuple(sorted(found, key=lambda literal: literal.text)))
        return negation(node) if operator == "$nin" else node

    def _range(self, target: Target, operator: str, value: Any, path: str) -> Node:
        self._count(path)
        literal = self._literal(target, value, path)
        if literal.value is None or isinstance(literal.value, bool | list | dict):
            fail(f"{operator} compares with a number or a string, not {literal.text[:60]}, at {path}.", path)
        return Compare(target, operator, literal)

    def _exists(self, target: Target, _operator: str, value: Any, path: str) -> Node:
        if not isinstance(value, bool):
            fail(f"$exists needs true or false at {path}.", path)
        self._count(path)
        return Exists(target) if value else negation(Exists(target))

    def _contains(self, target: Target, operator: str, value: Any, path: str) -> Node:
        self._count(path)
        if target.field.kind is Kind.JSON:
            return Compare(target, operator, self._literal(target, value, path))
        return self._startswith(target, operator, value, path)

    def _startswith(self, target: Target, operator: str, value: Any, path: str) -> Node:
        self._count(path)
        text = literals.read_text(value, path)
        return Compare(target, operator, literals.read_json(text, path))

    def _regex(self, target: Target, value: Any, options: Any, path: str) -> Node:
        if not self._allow_regex:
            fail(f"$regex is not allowed here, at {path}.", path)
        if options not in ("", "i"):
            fail(f"$options may be 'i' (ignore the case of ASCII letters), not {options!r}, at {path}.", path)
        self._count(path)
        pattern = literals.read_text(value, path)
        translate(pattern, ignore_case=bool(options), path=path)
        return Regex(target, pattern, bool(options))

    def _literal(self, target: Target, value: Any, path: str) -> Literal:
        if isinstance(value, dict) and target.field.kind is not Kind.JSON:
            fail(f"{target.column!r} holds {target.field.kind.value}, got an object at {path}.", path)
        self._weigh(value, path)
        literal = literals.read(value, target.field, path)
        if sum(map(is_awkward, target.path)) + _awkward_depth(literal.value) > MAX_AWKWARD:
            fail(f"More than {MAX_AWKWARD} nested keys begin with '-', or are whole numbers, at {path}.", path)
        return literal

    def _weigh(self, value: Any, path: str) -> None:
        """Count the values within a value, before anything is done with them."""
        waiting = [value]
        while waiting:
            item = waiting.pop()
            self._values += 1
            if self._values > MAX_VALUES:
                fail(f"The query has more than {MAX_VALUES:,} values, at {path}.", path)
            if isinstance(item, dict):
                waiting.extend(item.values())
            elif isinstance(item, list | tuple):
                waiting.extend(item)

    def _count(self, path: str) -> None:
        self._nodes += 1
        if self._nodes > 2 * MAX_NODES:
            fail(f"The query has more than {MAX_NODES} comparisons, at {path}.", path)


_OPERATORS: dict[str, Callable[[_Parser, Target, str, Any, str], Node]] = {
    "$eq": _Parser._eq_ne,
    "$ne": _Parser._eq_ne,
    "$in": _Parser._in_nin,
    "$nin": _Parser._in_nin,
    **dict.fromkeys(RANGE, _Parser._range),
    "$exists": _Parser._exists,
    "$contains": _Parser._contains,
    "$startswith": _Parser._startswith,
}


def _target(dotted: str, path: str) -> Target:
    """Read a key of a query: a column, or a dotted path into a JSON column."""
    column, *parts = dotted.split(".")
    field = FIELDS.get(column)
    if field is None:
        fail(f"Unknown field {column[:60]!r} at {path}; {nearest(column, FIELDS)}", path)
    if parts:
        _check_parts(field, parts, path)
    return Target(column, tuple(parts))


def _check_parts(field: Field, parts: list[str], path: str) -> None:
    if field.name not in JSON_FIELDS:
        fail(f"{field.name!r} has no keys, at {path}; {', '.join(JSON_FIELDS)} have.", path)
    if not all(parts):
        fail(f"The path at {path} has an empty part; keys that are empty or contain a dot have no path.", path)
    if len(parts) > MAX_DEPTH:
        fail(f"The path at {path} has more than {MAX_DEPTH} parts.", path)
    if sum(map(is_awkward, parts)) > MAX_AWKWARD:
        fail(f"The path at {path} has more than {MAX_AWKWARD} parts that are whole numbers or begin with '-'.", path)
    literals.read_text(".".join(parts), path)


def _awkward_depth(value: Any) -> int:
    if isinstance(value, dict):
        return max((key.startswith("-") + _awkward_depth(item) for key, item in value.items()), default=0)
    return max(map(_awkward_depth, value), default=0) if isinstance(value, list) else 0


read_target = _target
