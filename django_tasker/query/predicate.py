"""Nodes to a function of one task, compiled to closures. It answers as `q.to_q` does on the database."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from .fields import Kind
from .literals import Literal, decimal_key
from .nodes import And, Compare, Exists, In, Leaf, Node, Not, Or, Regex, Target, is_index
from .regex import translate

Test = Callable[[Any], bool]

_MISSING: Any = object()
_NUMBERS = frozenset((int, float))
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def to_predicate(node: Node) -> Test:
    """Return a function that tells whether a task (any object with its fields as attributes) matches.

    JSON attributes are expected decoded, datetimes aware, `uuid` a UUID. Safe to share between threads.
    """
    if isinstance(node, And):
        return _all([to_predicate(child) for child in node.children])
    if isinstance(node, Or):
        return _any([to_predicate(child) for child in node.children])
    if isinstance(node, Not):
        return _not(to_predicate(node.child))
    return _leaf(node, operator.attrgetter(node.target.column))


@lru_cache(maxsize=1024)
def value_test(leaf: Leaf) -> Test:
    """Return a function that tells whether the value of the leaf's column (not the whole task) matches."""
    return _leaf(leaf, lambda value: value)


def reader(target: Target) -> Callable[[Any, Any], Any]:
    """Return get(value of the column, default): what the target's path leads to, or the default."""
    return _getter(target, lambda value: value)


def _all(tests: list[Test]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda task: first(task) and second(task)
    return lambda task: all(test(task) for test in tests)


def _any(tests: list[Test]) -> Test:
    return lambda task: any(test(task) for test in tests)


def _not(test: Test) -> Test:
    return lambda task: not test(task)


def _leaf(leaf: Leaf, column: Callable[[Any], Any]) -> Test:
    get = _getter(leaf.target, column)
    if isinstance(leaf, Exists):
        if not leaf.target.path:
            return lambda task: get(task, None) is not None
        return lambda task: get(task, _MISSING) is not _MISSING
    test = _test(leaf)
    return lambda task: test(get(task, None))


def _getter(target: Target, column: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return get(task, default): what the target's path leads to, or the default."""
    if not target.path:
        return lambda task, default: column(task)
    if len(target.path) == 1 and not is_index(target.path[0]):
        return _key_getter(target.path[0], column)
    steps = tuple((part, int(part) if is_index(part) else None) for part in target.path)

    def get(task: Any, default: Any) -> Any:
        value = column(task)
        for key, index in steps:
            if isinstance(value, dict):
                value = value.get(key, _MISSING)
            elif index is not None and isinstance(value, list | tuple):
                value = value[index] if index < len(value) else _MISSING
            else:
                return default
        return default if value is _MISSING else value

    return get


def _key_getter(key: str, column: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def get(task: Any, default: Any) -> Any:
        value = column(task)
        return value.get(key, default) if isinstance(value, dict) else default

    return get


def _test(leaf: Compare | In | Regex) -> Test:
    """Return a test of one value; what is missing comes as None."""
    if isinstance(leaf, In):
        return _in(leaf)
    if isinstance(leaf, Regex):
        search = re.compile(translate(leaf.pattern, ignore_case=leaf.ignore_case)).search
        return lambda value: isinstance(value, str) and search(value) is not None
    if leaf.operator == "$eq":
        return _equal(leaf.literal, leaf.target.field.kind)
    if leaf.operator == "$contains":
        return _contains(leaf.literal)
    if leaf.operator == "$startswith":
        prefix = leaf.literal.value
        return lambda value: isinstance(value, str) and value.startswith(prefix)
    return _ordered(leaf)


def _equal(literal: Literal, kind: Kind = Kind.JSON) -> Test:
    wanted = literal.value
    if wanted is None or isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, dict | list):
        key = comparable(wanted)
        return lambda value: type(value) is not str and comparable(value) == key
    if kind is not Kind.JSON or isinstance(wanted, str):
        return lambda value: bool(value == wanted)
    if abs(wanted) < 2:  # 0 and 1 equal False and True in Python
        return lambda value: value == wanted and type(value) is not bool
    if abs(wanted) < 2**53:
        return lambda value: bool(value == wanted)
    number = decimal_key(wanted)
    return lambda value: type(value) in _NUMBERS and decimal_key(value) == number


def _in(leaf: In) -> Test:
    keys = frozenset(comparable(literal.value) for literal in leaf.literals)
    return lambda value: comparable(value) in keys


def _contains(literal: Literal) -> Test:
    wanted, equal = literal.value, _equal(literal)

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        return isinstance(value, list | tuple) and any(map(equal, value))

    return test


def _ordered(leaf: Compare) -> Test:
    compare, wanted = _ORDER[leaf.operator], leaf.literal.value
    if leaf.target.field.kind is not Kind.JSON:
        return lambda value: value is not None and compare(value, wanted)
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and compare(value, wanted)
    if abs(wanted) < 2**53:
        return lambda value: type(value) in _NUMBERS and compare(value, wanted)
    number = decimal_key(wanted)
    return lambda value: type(value) in _NUMBERS and compare(decimal_key(value), number)


def comparable(value: Any) -> Any:
    """Return something hashable that is equal for two values exactly when the query language calls them equal."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, int | float):
        return decimal_key(value) if abs(value) != float("inf") else value
    if isinstance(value, dict):
        return dict, frozenset((key, comparable(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return list, tuple(map(comparable, value))
    return value
