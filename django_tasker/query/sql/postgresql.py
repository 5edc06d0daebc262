"""PostgreSQL: jsonb compares values by structure and numbers as decimals; strings need COLLATE "C" for their order."""

from __future__ import annotations

from ..literals import Literal
from ..nodes import Compare, Exists, In, Leaf, Regex, Target, is_index
from .dialect import RANKS, Dialect
from .fragments import COMPARISONS, Fragment, all_of, any_of, joined, sql

_NULL = Fragment("'null'::jsonb")


class PostgreSQL(Dialect):
    def compare(self, value: Fragment, operator: str, text: str) -> Fragment:
        if operator == "$eq":
            return sql("{} = {}", value, text)  # bare, so that an index serves
        return sql(f'{{}} COLLATE "C" {COMPARISONS[operator]} {{}}', value, text)

    def one_of(self, value: Fragment, texts: list[str]) -> Fragment:
        return sql("{} IN ({})", value, joined(", ", texts))

    def contains(self, value: Fragment, text: str) -> Fragment:
        return sql("strpos({}, {}) > 0", value, text)

    def startswith(self, value: Fragment, text: str) -> Fragment:
        return sql("starts_with({}, {})", value, text)

    def regex(self, value: Fragment, pattern: str) -> Fragment:
        return sql('{} COLLATE "C" ~ {}', value, pattern)

    def json(self, leaf: Leaf, column: Fragment) -> Fragment:
        place = _place(column, leaf.target.path)
        if isinstance(leaf, Exists):
            exists = sql("{} IS NOT NULL", place)
            return exists if leaf.target.path else all_of(exists, sql("{} <> {}", place, _NULL))
        if isinstance(leaf, In):
            return _in(place, leaf.literals)
        if isinstance(leaf, Regex) or leaf.operator == "$startswith":
            return self._on_string(place, leaf)
        if leaf.operator == "$eq":
            return _equal(place, leaf.literal)
        if leaf.operator == "$contains":
            return self._json_contains(place, leaf)
        if isinstance(leaf.literal.value, str):
            return self._on_string(place, leaf)
        number = sql(f"{{}} {COMPARISONS[leaf.operator]} {{}}", place, _jsonb(leaf.literal))
        return all_of(_has_type(place, "number"), number)

    def _on_string(self, place: Fragment, leaf: Compare | Regex) -> Fragment:
        return all_of(_has_type(place, "string"), self.string(leaf, sql("({} #>> '{{}}')", place)))

    def _json_contains(self, place: Fragment, leaf: Compare) -> Fragment:
        # The set is made of an empty array where there is none: the function fails on other values.
        array = sql("CASE WHEN jsonb_typeof({}) = 'array' THEN {} ELSE '[]'::jsonb END", place, place)
        literal = leaf.literal
        if isinstance(literal.value, dict | list):  # @> would look for parts of objects, not for equal ones
            found = sql(
                "EXISTS (SELECT 1 FROM jsonb_array_elements({}) AS tasker_item WHERE tasker_item = {})",
                array,
                _jsonb(literal),
            )
        else:
            found = sql("{} @> jsonb_build_array({})", sql("({})", array), _jsonb(literal))
        return any_of(found, self._on_string(place, leaf)) if isinstance(literal.value, str) else sql("({})", found)

    def text_sort_key(self, column: Fragment) -> Fragment:
        return sql('({} COLLATE "C")', column)

    def json_sort_keys(self, target: Target, column: Fragment) -> tuple[Fragment, Fragment, Fragment]:
        place = _place(column, target.path)
        kinds = [sql("WHEN {} THEN {}", kind, Fragment(str(RANKS[kind]))) for kind in ("number", "string", "object")]
        rank = sql(
            f"(CASE jsonb_typeof({{}}) {{}} WHEN 'array' THEN {RANKS['array']} WHEN 'boolean' THEN "
            f"CASE WHEN {{}} = 'true'::jsonb THEN {RANKS['true']} ELSE {RANKS['false']} END ELSE 0 END)",
            place,
            joined(" ", kinds),
            place,
        )
        number = sql("(CASE WHEN jsonb_typeof({}) = 'number' THEN ({} #>> '{{}}')::numeric END)", place, place)
        string = sql("(CASE WHEN jsonb_typeof({}) = 'string' THEN ({} #>> '{{}}') END COLLATE \"C\")", place, place)
        return rank, number, string


def _place(column: Fragment, path: tuple[str, ...]) -> Fragment:
    """The jsonb value at a path: NULL where there is none."""
    for part in path:
        # #> would also take -1, +1 or 01 for an index; -> with text never takes any.
        column = sql("({} #> ARRAY[{}::text])" if is_index(part) else "({} -> {}::text)", column, part)
    return column


def _jsonb(literal: Literal) -> Fragment:
    return sql("{}::jsonb", literal.text)


def _has_type(place: Fragment, name: str) -> Fragment:
    return sql("{} IS NOT NULL AND jsonb_typeof({}) = {}", place, place, name)


def _equal(place: Fragment, literal: Literal) -> Fragment:
    if literal.value is None:
        return any_of(sql("{} IS NULL", place), sql("{} = {}", place, _NULL))
    return all_of(sql("{} = {}", place, _jsonb(literal)), sql("{} IS NOT NULL", place))


def _in(place: Fragment, literals: tuple[Literal, ...]) -> Fragment:
    values = [_jsonb(literal) for literal in literals if literal.value is not None]
    parts = [all_of(sql("{} IN ({})", place, joined(", ", values)), sql("{} IS NOT NULL", place))] if values else []
    if len(values) < len(literals):
        parts.append(any_of(sql("{} IS NULL", place), sql("{} = {}", place, _NULL)))
    return any_of(*parts)
