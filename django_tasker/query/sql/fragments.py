"""Pieces of SQL with their parameters. Values only ever travel as parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fragment:
    """SQL text and the parameters of its placeholders."""

    text: str
    params: tuple[Any, ...] = ()


def sql(template: str, *parts: Any) -> Fragment:
    """Fill the `{}` of a template: with a fragment's SQL, or with a placeholder for any other value."""
    texts: list[str] = []
    params: list[Any] = []
    for part in parts:
        if isinstance(part, Fragment):
            texts.append(part.text)
            params.extend(part.params)
        else:
            texts.append("%s")
            params.append(part)
    return Fragment(template.format(*texts), tuple(params))


def joined(separator: str, parts: Iterable[Any]) -> Fragment:
    """Fragments or values with a separator between them, such as ", " or " AND "."""
    found = [part if isinstance(part, Fragment) else sql("{}", part) for part in parts]
    params = [param for part in found for param in part.params]
    return Fragment(separator.join(part.text for part in found), tuple(params))


NEVER = Fragment("(1 = 0)")
COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def all_of(*parts: Fragment) -> Fragment:
    return sql("({})", joined(" AND ", parts))


def any_of(*parts: Fragment) -> Fragment:
    return sql("({})", joined(" OR ", parts)) if parts else NEVER
