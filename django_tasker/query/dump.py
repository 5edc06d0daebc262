"""Nodes back to JSON: the shortest query that parses to the same tree."""

from __future__ import annotations

from typing import Any

from .nodes import And, Compare, Exists, In, Leaf, Node, Not, Or


def dump(node: Node) -> dict[str, Any]:
    """Return the canonical JSON of a query; `parse(dump(node)) == node`."""
    return _shortened(_merged(node.children) if isinstance(node, And) else _single(node))


def _single(node: Node) -> dict[str, Any]:
    """One key and what it says, for anything but a conjunction of several."""
    if isinstance(node, And):
        return {"$and": [dump(node)]}
    if isinstance(node, Or):
        return {"$or": [dump(child) for child in node.children]}
    if isinstance(node, Not):
        return _negated(node.child)
    return {node.target.dotted: _operators(node)}


def _merged(nodes: tuple[Node, ...]) -> dict[str, Any]:
    """One object for a conjunction; what would need a key twice goes under $and."""
    merged: dict[str, Any] = {}
    left_over = []
    for part in map(_single, nodes):
        key, value = next(iter(part.items()))
        known = merged.get(key)
        if known is None:
            merged[key] = value
        elif key == "$nor":
            known.extend(value)
        elif key != "$or" and known.keys().isdisjoint(value):
            merged[key] = {**known, **value}
        else:
            left_over.append(_shortened(part))
    return {**merged, "$and": left_over} if left_over else merged


def _negated(node: Node) -> dict[str, Any]:
    if isinstance(node, Compare) and node.operator == "$eq":
        return {node.target.dotted: {"$ne": node.literal.json}}
    if isinstance(node, In):
        return {node.target.dotted: {"$nin": [literal.json for literal in node.literals]}}
    if isinstance(node, Exists):
        return {node.target.dotted: {"$exists": False}}
    return {"$nor": [dump(node)]}


def _operators(node: Leaf) -> dict[str, Any]:
    if isinstance(node, Compare):
        return {node.operator: node.literal.json}
    if isinstance(node, In):
        return {"$in": [literal.json for literal in node.literals]}
    if isinstance(node, Exists):
        return {"$exists": True}
    return {"$regex": node.pattern, **({"$options": "i"} if node.ignore_case else {})}


def _shortened(query: dict[str, Any]) -> dict[str, Any]:
    """Write `{"field": 1}` for `{"field": {"$eq": 1}}`."""
    return {key: _bare(value) if key[0] != "$" else value for key, value in query.items()}


def _bare(operators: dict[str, Any]) -> Any:
    is_equality = operators.keys() == {"$eq"} and not isinstance(operators["$eq"], dict)
    return operators["$eq"] if is_equality else operators
