"""MySQL and MariaDB, in the SQL that both understand: MariaDB's JSON is text, MySQL's is binary.

Strings compare as bytes of UTF-8, whose order is that of code points: collations fold case or ignore trailing
spaces. Numbers are cast only behind a test of their type: in an UPDATE, strict mode makes a bad cast an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..nodes import Compare, Exists, In, Leaf, Regex, Target, is_index
from .dialect import RANKS, Dialect, split_by_kind
from .fragments import COMPARISONS, NEVER, Fragment, all_of, any_of, joined, sql
from .numbers import big_number, is_big

_NUMBER = "IN ('INTEGER', 'DOUBLE', 'DECIMAL', 'UNSIGNED INTEGER')"

Step = str | int
"""A key of an object or an index of an array."""
Place = Callable[[tuple[Step, ...]], Fragment]
"""Gives the JSON value that a further path leads to, NULL where there is none."""


class MySQL(Dialect):
    end_of_string = r"\z"

    def __init__(self, *, is_mariadb: bool) -> None:
        self._is_mariadb = is_mariadb

    def compare(self, value: Fragment, operator: str, text: str) -> Fragment:
        exact = sql(f"{{}} {COMPARISONS[operator]} {{}}", _bytes(value), _bytes(text))
        return all_of(sql("{} = {}", value, text), exact) if operator == "$eq" else exact  # the first can use an index

    def one_of(self, value: Fragment, texts: list[str]) -> Fragment:
        exact = sql("{} IN ({})", _bytes(value), joined(", ", map(_bytes, texts)))
        return all_of(sql("{} IN ({})", value, joined(", ", texts)), exact)

    def contains(self, value: Fragment, text: str) -> Fragment:
        return sql("LOCATE({}, {}) > 0", _bytes(text), _bytes(value))

    def startswith(self, value: Fragment, text: str) -> Fragment:
        return sql("LEFT({}, {}) = {}", _bytes(value), len(text.encode()), _bytes(text))

    def regex(self, value: Fragment, pattern: str) -> Fragment:
        text = sql("CONVERT({} USING utf8mb4) COLLATE utf8mb4_bin", value)
        return sql("{} REGEXP {}" if self._is_mariadb else "REGEXP_LIKE({}, {}, 'c')", text, pattern)

    def json(self, leaf: Leaf, column: Fragment) -> Fragment:
        place = _place(column, leaf.target.path)
        value = place(())
        if isinstance(leaf, Exists):
            exists = sql("{} IS NOT NULL", value)
            return exists if leaf.target.path else all_of(exists, sql("NOT {}", _has_type(value, "NULL")))
        if isinstance(leaf, In):
            strings, others = split_by_kind(leaf.literals)
            parts = [self._equal(place, literal.value) for literal in others]
            if strings:
                texts = joined(", ", map(_bytes, strings))
                parts.append(all_of(_has_type(value, "STRING"), sql("{} IN ({})", _bytes(_unquoted(value)), texts)))
            return any_of(*parts)
        if isinstance(leaf, Regex) or leaf.operator == "$startswith":
            return self._on_string(value, leaf)
        if leaf.operator == "$eq":
            return self._equal(place, leaf.literal.value)
        if leaf.operator == "$contains":
            return self._json_contains(value, leaf)
        if isinstance(leaf.literal.value, str):
            return self._on_string(value, leaf)
        return _number(value, leaf.operator, leaf.literal.value)

    def _on_string(self, value: Fragment, leaf: Compare | Regex) -> Fragment:
        return all_of(_has_type(value, "STRING"), self.string(leaf, _unquoted(value)))

    def _equal(self, place: Place, wanted: Any) -> Fragment:
        if wanted is None:
            return sql("(COALESCE(JSON_TYPE({}), 'NULL') = 'NULL')", place(()))
        return all_of(*_equal_parts(place, wanted, ()))

    def _json_contains(self, value: Fragment, leaf: Compare) -> Fragment:
        item = sql("JSON_EXTRACT({}, CONCAT('$[', tasker_item.i - 1, ']'))", value)

        def element(steps: tuple[Step, ...]) -> Fragment:
            return _extract(item, steps)

        wanted = leaf.literal.value
        equal = _has_type(element(()), "NULL") if wanted is None else self._equal(element, wanted)
        found = sql(
            "EXISTS (SELECT 1 FROM JSON_TABLE({}, '$[*]' COLUMNS (i FOR ORDINALITY)) AS tasker_item WHERE {})",
            value,
            equal,
        )
        array = all_of(_has_type(value, "ARRAY"), found)
        return any_of(array, self._on_string(value, leaf)) if isinstance(wanted, str) else array

    def text_sort_key(self, column: Fragment) -> Fragment:
        return _bytes(column)

    def json_sort_keys(self, target: Target, column: Fragment) -> tuple[Fragment, Fragment, Fragment]:
        value = _place(column, target.path)(())
        rank = sql(
            f"(CASE WHEN JSON_TYPE({{}}) {_NUMBER} THEN {RANKS['number']} ELSE CASE JSON_TYPE({{}}) "
            f"WHEN 'STRING' THEN {RANKS['string']} WHEN 'OBJECT' THEN {RANKS['object']} "
            f"WHEN 'ARRAY' THEN {RANKS['array']} WHEN 'BOOLEAN' THEN "
            f"IF(JSON_UNQUOTE({{}}) = 'true', {RANKS['true']}, {RANKS['false']}) ELSE 0 END END)",
            value,
            value,
            value,
        )
        number = sql(f"(CASE WHEN JSON_TYPE({{}}) {_NUMBER} THEN CAST({{}} AS DOUBLE) END)", value, value)
        string = sql("(CASE WHEN JSON_TYPE({}) = 'STRING' THEN {} END)", value, _bytes(_unquoted(value)))
        return rank, number, string


def _place(column: Fragment, path: tuple[str, ...]) -> Place:
    """A path of a query, whose whole numbers are indexes in arrays and keys in objects."""

    def find(rest: tuple[str, ...], known: tuple[Step, ...], further: tuple[Step, ...]) -> Fragment:
        if not rest:
            return _extract(column, known + further)
        part = rest[0]
        as_key = find(rest[1:], (*known, part), further)
        if not is_index(part):
            return as_key
        # Asked for [0] of what is no array, both databases give the thing itself.
        as_index = find(rest[1:], (*known, int(part)), further)
        return sql("IF({}, {}, {})", _has_type(_extract(column, known), "ARRAY"), as_index, as_key)

    return lambda further: find(path, (), further)


def _extract(value: Fragment, steps: tuple[Step, ...]) -> Fragment:
    """The JSON value at these steps."""
    for index, step in enumerate(steps):
        if isinstance(step, str) and step.startswith("-"):
            return _extract(_at_key(_extract(value, steps[:index]), step), steps[index + 1 :])
    if not steps:
        return value
    return _first([sql("JSON_EXTRACT({}, {})", value, f"${text}") for text in _path_texts(steps)])


def _at_key(value: Fragment, key: str) -> Fragment:
    """The value of a key that begins with "-", which MariaDB 10.11 can't read in a path: it is found by its place.

    Searching the list of keys gives a path like "$[2]", which leads to the value in the list of all values.
    """
    pattern = re.sub(r"([\\%_])", r"\\\1", key)
    place = sql("JSON_UNQUOTE(JSON_SEARCH(JSON_KEYS({}), 'one', {}))", value, pattern)
    return sql("JSON_EXTRACT(JSON_EXTRACT({}, '$.*'), {})", value, place)


def _path_texts(steps: tuple[Step, ...]) -> list[str]:
    r"""The path as text, once or twice: MariaDB compares it with the document literally.

    A document's non-ASCII keys may be written é (by `json_values`) or \u00e9 (by Django).
    """
    escaped, plain = ("".join(_step_text(step, ensure_ascii) for step in steps) for ensure_ascii in (True, False))
    return [escaped] if escaped == plain else [escaped, plain]


def _step_text(step: Step, ensure_ascii: bool) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{json.dumps(step, ensure_ascii=ensure_ascii)}"


def _first(values: list[Fragment]) -> Fragment:
    return values[0] if len(values) == 1 else sql("COALESCE({})", joined(", ", values))


def _bytes(value: Any) -> Fragment:
    return sql("CAST({} AS BINARY)", value)


def _unquoted(value: Fragment) -> Fragment:
    return sql("JSON_UNQUOTE({})", value)


def _has_type(value: Fragment, name: str) -> Fragment:
    return sql("(JSON_TYPE({}) <=> {})", value, name)


def _equal_parts(place: Place, wanted: Any, steps: tuple[Step, ...]) -> Iterator[Fragment]:
    """What must hold for a value to equal `wanted`: MariaDB can't compare objects, so they are taken apart."""
    value = place(steps)
    if wanted is None:
        yield _has_type(value, "NULL")
    elif isinstance(wanted, bool):
        yield _has_type(value, "BOOLEAN")
        yield sql("{} = {}", _unquoted(value), "true" if wanted else "false")
    elif isinstance(wanted, str):
        yield _has_type(value, "STRING")
        yield sql("{} = {}", _bytes(_unquoted(value)), _bytes(wanted))
    elif isinstance(wanted, int | float):
        yield _number(value, "$eq", wanted)
    else:
        yield _has_type(value, "OBJECT" if isinstance(wanted, dict) else "ARRAY")
        yield sql("JSON_LENGTH({}) = {}", value, len(wanted))
        for step, item in wanted.items() if isinstance(wanted, dict) else enumerate(wanted):
            yield from _equal_parts(place, item, (*steps, step))


def _number(value: Fragment, operator: str, wanted: int | float) -> Fragment:
    """Compare with a number; false for anything else."""
    double = sql("CAST({} AS DOUBLE)", value)
    if not is_big(wanted):
        comparison = sql(f"{{}} {COMPARISONS[operator]} {{}}", double, wanted)
    else:
        comparison = _big(value, double, operator, wanted)
    return sql(f"(CASE WHEN JSON_TYPE({{}}) {_NUMBER} THEN {{}} ELSE 0 END)", value, comparison)


def _big(value: Fragment, double: Fragment, operator: str, wanted: int | float) -> Fragment:
    big = big_number(operator, wanted)
    if big.integer is not None:
        for_integers = sql(f"CAST({{}} AS DECIMAL(65, 0)) {COMPARISONS[operator]} {{}}", _unquoted(value), big.integer)
    else:
        for_integers = Fragment("1 = 1") if big.for_integers else NEVER
    for_floats = sql(f"{{}} {big.for_floats} {{}}", double, big.double) if big.for_floats else NEVER
    # MariaDB calls 1e+20 an INTEGER: look how it is written.
    return sql("CASE WHEN {} REGEXP '[.eE]' THEN {} ELSE {} END", _unquoted(value), for_floats, for_integers)
