"""Functions that queries need on SQLite: Python answers what SQLite's JSON functions can't say."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from .nodes import Target
from .parse import parse
from .predicate import Test, reader, value_test


def install(connection: Any) -> None:
    """Register the functions on an open SQLite connection (a Django one); does nothing on other databases.

    To be called for every new connection, as a receiver of `connection_created` does.
    """
    if connection.vendor == "sqlite":
        for name, function in (("match", _match), ("extract", _extract), ("regexp", _regexp)):
            connection.connection.create_function(f"tasker_{name}", 2, function, deterministic=True)


def _match(document: str | None, query: str) -> bool:
    return _test(query)(None if document is None else json.loads(document))


@lru_cache(maxsize=512)
def _test(query: str) -> Test:
    """The test of a query's only leaf."""
    return value_test(parse(json.loads(query)))


def _extract(document: str | None, path: str) -> str | None:
    found = None if document is None else _reader(path)(json.loads(document), _MISSING)
    return None if document is None or found is _MISSING else json.dumps(found)


_MISSING = object()


@lru_cache(maxsize=512)
def _reader(path: str) -> Any:
    return reader(Target("data", tuple(json.loads(path))))


def _regexp(text: Any, pattern: str) -> bool:
    # SQLite may ask before it has asked for the type: text is then whatever JSON holds there.
    return isinstance(text, str) and _compiled(pattern).search(text) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
