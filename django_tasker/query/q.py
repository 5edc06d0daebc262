"""Nodes to Django: a Q of the task's queryset that answers as the predicate does, and orderings."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import F, OrderBy, Q

from .fields import Kind
from .literals import fail
from .nodes import And, Compare, Exists, In, Leaf, Node, Not, Or, Regex
from .parse import read_target
from .sql.expressions import JsonSortKey, LeafMatch, TextSortKey

_LOOKUPS = {"$eq": "exact", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_WRITTEN = (Kind.TEXT, Kind.JSON)
"""Kinds whose comparisons differ between databases; Django's own lookups serve the others."""


def to_q(node: Node) -> Q:
    """Return a Q for querysets of Task, fit for filter(), exclude(), `~` and aggregate(filter=...)."""
    if isinstance(node, And | Or):
        if not node.children:
            return ~_never()  # Q() would vanish from `Q() | other`, and from ~Q()
        connector = Q.AND if isinstance(node, And) else Q.OR
        return Q(*map(to_q, node.children), _connector=connector)
    if isinstance(node, Not):
        return ~to_q(node.child)
    if node.target.field.kind in _WRITTEN:
        return Q(LeafMatch(node)) if not isinstance(node, In) or node.literals else _never()
    return _column(node)


def _never() -> Q:
    return Q(pk__in=[])


def _column(leaf: Leaf) -> Q:
    """A leaf on a number, date, UUID or status. Django adds IS NOT NULL where a negation needs it."""
    name = leaf.target.column
    if isinstance(leaf, Exists):
        return Q((f"{name}__isnull", False))
    if isinstance(leaf, In):
        values = [literal.value for literal in leaf.literals if literal.value is not None]
        found = Q((f"{name}__in", values)) if values else _never()
        return found | Q((f"{name}__isnull", True)) if len(values) < len(leaf.literals) else found
    assert isinstance(leaf, Compare) and not isinstance(leaf, Regex)
    if leaf.literal.value is None:
        return Q((f"{name}__isnull", True))
    return Q((f"{name}__{_LOOKUPS[leaf.operator]}", leaf.literal.value))


def sort_keys(sort: str | Sequence[str]) -> list[OrderBy | str]:
    """Return what order_by() takes, for one key or several: a field or a dotted path, `-` before it for descending.

    NULL and missing come first (last when descending). Values in JSON sort by type (null, numbers, strings, objects,
    arrays, false, true), then by number or by string; objects and arrays do not sort among themselves. Strings sort
    by code point on every database.

    Raises:
        InvalidQuery: an unknown field, or a path into a field that has no keys.
    """
    keys = [sort] if isinstance(sort, str) else sort
    if not isinstance(keys, list | tuple):
        fail(f"sort must be a string or a list of strings, not {type(sort).__name__}.", "sort")
    return [part for index, key in enumerate(keys) for part in _sort_key(key, f"sort[{index}]")]


def _sort_key(key: str, path: str) -> list[OrderBy | str]:
    if not isinstance(key, str):
        fail(f"Expected the name of a field at {path}, got {type(key).__name__}.", path)
    descending = key.startswith("-")
    target = read_target(key.removeprefix("-"), path)
    field = target.field
    if field.kind is Kind.JSON:
        return [OrderBy(JsonSortKey(target, part), descending=descending) for part in range(3)]
    nulls = {"nulls_last" if descending else "nulls_first": True} if field.nullable else {}
    if field.kind is Kind.TEXT:
        return [OrderBy(TextSortKey(target), descending=descending, **nulls)]
    return [OrderBy(F(target.column), descending=descending, **nulls)] if nulls else [key]
