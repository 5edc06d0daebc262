"""The tree of a query, in one canonical form: frozen, hashable, equal when the queries say the same in other words.

`$ne` is Not(`$eq`), `$nin` is Not(In), `$nor` a conjunction of Nots. The children of And and Or are sorted and
stand there once, so that a tree, and what `dump` prints of it, can serve as an identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .fields import FIELDS, Field
from .literals import Literal


@dataclass(frozen=True)
class Target:
    """What is compared: a column, or a place inside a JSON column."""

    column: str
    path: tuple[str, ...] = ()

    @property
    def dotted(self) -> str:
        return ".".join((self.column, *self.path))

    @property
    def field(self) -> Field:
        return FIELDS[self.column]


@dataclass(frozen=True)
class Compare:
    """One comparison with one literal: $eq $gt $gte $lt $lte $contains $startswith."""

    target: Target
    operator: str
    literal: Literal


@dataclass(frozen=True)
class In:
    """The target equals one of the literals."""

    target: Target
    literals: tuple[Literal, ...]


@dataclass(frozen=True)
class Exists:
    """The target is there: the path leads somewhere, the column is not NULL."""

    target: Target


@dataclass(frozen=True)
class Regex:
    """The target is a string in which the pattern (of the portable subset) is found."""

    target: Target
    pattern: str
    ignore_case: bool = False


@dataclass(frozen=True)
class And:
    """All hold. Without children: always true."""

    children: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Or:
    """At least one holds."""

    children: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    """The child does not hold. There is no third answer."""

    child: Node


Leaf: TypeAlias = Compare | In | Exists | Regex
Node: TypeAlias = Compare | In | Exists | Regex | And | Or | Not


def conjunction(nodes: Iterable[Node]) -> Node:
    """All of `nodes`, flattened and sorted."""
    return _joined(And, nodes)


def disjunction(nodes: Iterable[Node]) -> Node:
    """Any of `nodes`, flattened and sorted."""
    return _joined(Or, nodes)


def negation(node: Node) -> Node:
    return node.child if isinstance(node, Not) else Not(node)


def leaves(node: Node) -> Iterable[Leaf]:
    """The comparisons of a tree, from left to right."""
    if isinstance(node, And | Or):
        for child in node.children:
            yield from leaves(child)
    elif isinstance(node, Not):
        yield from leaves(node.child)
    else:
        yield node


def size(node: Node) -> int:
    """How many nodes the tree has."""
    if isinstance(node, And | Or):
        return 1 + sum(map(size, node.children))
    return 1 + size(node.child) if isinstance(node, Not) else 1


def fields_of(node: Node) -> frozenset[str]:
    """The columns of the task that a query looks at."""
    return frozenset(leaf.target.column for leaf in leaves(node))


def equalities(node: Node) -> tuple[tuple[str, Any], ...] | None:
    """The (dotted path, literal) pairs of a query that only asks for equality with values, else None.

    None also where a look-up by value would not tell the same: null (matches what is missing), numbers of 17 digits
    and more (compare by what JSON writes), and keys like `01` (no index). True and 1 differ; Python's hash of them
    does not. Lists and dicts may be among the literals.
    """
    pairs = []
    for child in node.children if isinstance(node, And) else (node,):
        if not isinstance(child, Compare) or child.operator != "$eq" or not _can_be_looked_up(child):
            return None
        pairs.append((child.target.dotted, child.literal.value))
    return tuple(pairs) or None


def _can_be_looked_up(node: Compare) -> bool:
    odd_index = any(part.isdigit() and not is_index(part) for part in node.target.path)
    return not odd_index and _is_plain(node.literal.value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, int | float):
        return abs(value) < 1e16 or abs(value) == float("inf")
    return value is not None


def is_index(part: str) -> bool:
    """Whether a part of a path can be the index of an array; it can be a key as well."""
    return part.isascii() and part.isdigit() and len(part) < 10 and (part == "0" or part[0] != "0")


def is_awkward(part: str) -> bool:
    """Whether a part of a path takes more than a path to be found on some database."""
    return is_index(part) or part.startswith("-")


def _joined(cls: type[And] | type[Or], nodes: Iterable[Node]) -> Node:
    flat: set[Node] = set()
    for node in nodes:
        flat.update(node.children if isinstance(node, cls) else (node,))
    if len(flat) == 1:
        return flat.pop()
    return cls(tuple(sorted(flat, key=repr)))
