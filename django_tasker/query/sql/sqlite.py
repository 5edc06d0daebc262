"""SQLite: json_type and json_extract for what is common; functions of ours (`query.sqlite`) for the rest."""

from __future__ import annotations

import json

from ..dump import dump
from ..literals import Literal
from ..nodes import Compare, Exists, In, Leaf, Regex, Target, is_index
from .dialect import RANKS, Dialect, split_by_kind
from .fragments import COMPARISONS, NEVER, Fragment, all_of, any_of, joined, sql
from .numbers import big_number, is_big


class SQLite(Dialect):
    def compare(self, value: Fragment, operator: str, text: str) -> Fragment:
        return sql(f"{{}} {COMPARISONS[operator]} {{}}", value, text)

    def one_of(self, value: Fragment, texts: list[str]) -> Fragment:
        return sql("{} IN ({})", value, joined(", ", texts))

    def contains(self, value: Fragment, text: str) -> Fragment:
        return sql("instr({}, {}) > 0", value, text)

    def startswith(self, value: Fragment, text: str) -> Fragment:
        return sql("substr({}, 1, {}) = {}", value, len(text), text)

    def regex(self, value: Fragment, pattern: str) -> Fragment:
        return sql("tasker_regexp({}, {})", value, pattern)

    def json(self, leaf: Leaf, column: Fragment) -> Fragment:
        place = _Place(column, leaf.target.path)
        if isinstance(leaf, Exists):
            absent = "NULL" if leaf.target.path else "'null'"
            return sql(f"(coalesce({{}}, {absent}) IS NOT {absent})", place.type)
        if isinstance(leaf, In):
            return self._json_in(leaf, place, column)
        if isinstance(leaf, Regex) or leaf.operator == "$startswith":
            return self._on_string(place, leaf)
        value = leaf.literal.value
        if leaf.operator == "$contains":
            return _match(column, leaf)
        if isinstance(value, dict | list):
            return _match(column, leaf)
        if isinstance(value, str):
            return self._on_string(place, leaf)
        return _scalar(place, leaf.operator, leaf.literal)

    def _on_string(self, place: _Place, leaf: Compare | Regex) -> Fragment:
        return all_of(sql("{} IS 'text'", place.type), self.string(leaf, place.value))

    def _json_in(self, leaf: In, place: _Place, column: Fragment) -> Fragment:
        strings, others = split_by_kind(leaf.literals)
        if any(isinstance(literal.value, dict | list) for literal in others):
            return _match(column, leaf)
        if len(others) > 100:  # each is a condition of its own, and SQLite's expressions go 1,000 levels deep
            return _match(column, leaf)
        parts = [_scalar(place, "$eq", literal) for literal in others]
        if strings:
            parts.append(all_of(sql("{} IS 'text'", place.type), self.one_of(place.value, strings)))
        return any_of(*parts)

    def text_sort_key(self, column: Fragment) -> Fragment:
        return column

    def json_sort_keys(self, target: Target, column: Fragment) -> tuple[Fragment, Fragment, Fragment]:
        place = _Place(column, target.path)
        names = {"integer": "number", "real": "number", "text": "string"}
        ranks = {name: RANKS[names.get(name, name)] for name in (*names, "object", "array", "false", "true")}
        cases = " ".join(f"WHEN '{name}' THEN {rank}" for name, rank in ranks.items())
        rank = sql(f"(CASE {{}} {cases} ELSE 0 END)", place.type)
        number = sql("(CASE WHEN {} IN ('integer', 'real') THEN {} END)", place.type, place.value)
        string = sql("(CASE WHEN {} = 'text' THEN {} END)", place.type, place.value)
        return rank, number, string


class _Place:
    """A path in a JSON column: the SQL of its type (NULL where there is nothing) and of its value."""

    def __init__(self, column: Fragment, path: tuple[str, ...]) -> None:
        document, where = column, "$" + "".join(f'."{part}"' for part in path)
        if not all(map(_is_easy, path)):
            document, where = sql("tasker_extract({}, {})", column, json.dumps(path)), "$"
        self.type = sql("json_type({}, {})", document, where)
        self.value = sql("json_extract({}, {})", document, where)


def _is_easy(part: str) -> bool:
    """Whether SQLite's paths can say this key: they know no escapes, and no part that is key or index."""
    return part.isascii() and part.isprintable() and not set(part) & {'"', "\\"} and not is_index(part)


def _match(column: Fragment, leaf: Leaf) -> Fragment:
    """Ask the predicate itself."""
    return sql("tasker_match({}, {})", column, json.dumps(dump(leaf)))


def _scalar(place: _Place, operator: str, literal: Literal) -> Fragment:
    """Compare with null, a boolean or a number."""
    value = literal.value
    if value is None:
        return sql("(coalesce({}, 'null') = 'null')", place.type)
    if isinstance(value, bool):
        return sql("({} IS {})", place.type, literal.text)
    if is_big(value):
        return _big(place, operator, value)
    # SQLite before 3.43 may read a decimal one bit off: it reads the literal's text in the same way.
    number = sql("json_extract({}, '$')", literal.text) if isinstance(value, float) else value
    comparison = sql(f"{{}} {COMPARISONS[operator]} {{}}", place.value, number)
    return all_of(sql("coalesce({}, '') IN ('integer', 'real')", place.type), comparison)


def _big(place: _Place, operator: str, value: int | float) -> Fragment:
    big, symbol = big_number(operator, value), COMPARISONS[operator]
    parts = []
    if big.integer is not None:
        parts.append(all_of(sql("{} IS 'integer'", place.type), sql(f"{{}} {symbol} {{}}", place.value, big.integer)))
    elif big.for_integers:
        parts.append(sql("{} IS 'integer'", place.type))
    if big.for_floats is not None:
        double = sql(f"{{}} {big.for_floats} {{}}", place.value, big.double)
        parts.append(all_of(sql("{} IS 'real'", place.type), double))
    return any_of(*parts) if parts else NEVER
