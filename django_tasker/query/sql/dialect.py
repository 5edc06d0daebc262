"""What the databases share in asking about a leaf. Every fragment is true or false, never NULL, so that it can be
negated by anyone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ..fields import Kind
from ..literals import Literal
from ..nodes import Compare, Exists, In, Leaf, Regex, Target
from ..regex import translate
from .fragments import Fragment, all_of, any_of, sql


class Dialect(ABC):
    """One vendor's SQL. Strings compare by code point, with case, accents and trailing spaces."""

    end_of_string: ClassVar[str] = r"\Z"

    def leaf(self, leaf: Leaf, column: Fragment) -> Fragment:
        """Return the SQL of a leaf on a text or JSON column."""
        if leaf.target.field.kind is Kind.JSON:
            return self.json(leaf, column)
        if isinstance(leaf, Exists):
            return sql("({} IS NOT NULL)", column)
        if isinstance(leaf, In):
            return self._text_in(leaf, column)
        if isinstance(leaf, Compare) and leaf.literal.value is None:
            return sql("({} IS NULL)", column)
        test = self.string(leaf, column)
        return all_of(test, sql("{} IS NOT NULL", column)) if leaf.target.field.nullable else test

    def _text_in(self, leaf: In, column: Fragment) -> Fragment:
        texts = [literal.value for literal in leaf.literals if literal.value is not None]
        parts = [all_of(self.one_of(column, texts), sql("{} IS NOT NULL", column))] if texts else []
        if len(texts) < len(leaf.literals):
            parts.append(sql("{} IS NULL", column))
        return any_of(*parts)

    def string(self, leaf: Compare | Regex, value: Fragment) -> Fragment:
        """Return the test of a string; NULL where the value is NULL."""
        if isinstance(leaf, Regex):
            pattern = translate(leaf.pattern, ignore_case=leaf.ignore_case, end=self.end_of_string)
            return self.regex(value, pattern)
        text = leaf.literal.value
        if leaf.operator == "$contains":
            return self.contains(value, text)
        if leaf.operator == "$startswith":
            return self.startswith(value, text)
        return self.compare(value, leaf.operator, text)

    @abstractmethod
    def compare(self, value: Fragment, operator: str, text: str) -> Fragment: ...

    @abstractmethod
    def one_of(self, value: Fragment, texts: list[str]) -> Fragment: ...

    @abstractmethod
    def contains(self, value: Fragment, text: str) -> Fragment: ...

    @abstractmethod
    def startswith(self, value: Fragment, text: str) -> Fragment: ...

    @abstractmethod
    def regex(self, value: Fragment, pattern: str) -> Fragment: ...

    @abstractmethod
    def json(self, leaf: Leaf, column: Fragment) -> Fragment:
        """Return the SQL of a leaf on a JSON column or a path in it."""

    @abstractmethod
    def text_sort_key(self, column: Fragment) -> Fragment:
        """Return what a text column is sorted by: code points."""

    @abstractmethod
    def json_sort_keys(self, target: Target, column: Fragment) -> tuple[Fragment, Fragment, Fragment]:
        """Return what a JSON value is sorted by: the rank of its type (see `RANKS`), its number, its string."""


RANKS = {"null": 0, "number": 1, "string": 2, "object": 3, "array": 4, "false": 5, "true": 6}
"""The order of types, MongoDB's; what is missing sorts with null."""


def split_by_kind(literals: tuple[Literal, ...]) -> tuple[list[Any], list[Literal]]:
    """Separate the strings, which compare in one go, from the other literals."""
    strings = [literal.value for literal in literals if isinstance(literal.value, str)]
    return strings, [literal for literal in literals if not isinstance(literal.value, str)]
