"""Bodies of requests: JSON, bounded, an object, with no key that nobody reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from .. import query, specs
from ..conf import options
from ..errors import InvalidQuery, InvalidTask
from .problems import TooLarge

ROOM = 200_000
"""Bytes that a body may have beside a task's data."""


class BoundedJSONParser(JSONParser):
    """JSON by the book: no NaN, no more bytes than a task may have, no nesting that exhausts the stack."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        most = options().max_data_bytes + ROOM
        raw = stream.read(most + 1)
        if len(raw) > most:
            raise TooLarge(f"The body has more than {most:,} bytes.")
        try:
            return super().parse(BytesIO(raw), media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None


def body_of(request: Request, *known: str) -> dict[str, Any]:
    """The body's object; an empty body is an empty object. Raises InvalidTask for a key that is not known."""
    given = request.data
    if not isinstance(given, dict):
        raise InvalidTask(f"The body must be a JSON object, not {type(given).__name__}.", path="$")
    specs.refuse_unknown(given, known, "$")
    return dict(given)


def query_of(given: Any, path: str = "query") -> dict[str, Any]:
    """A query of an untrusted caller, checked. Raises InvalidQuery."""
    query.parse(given, allow_regex=options().allow_regex, path=path)
    checked: dict[str, Any] = given
    return checked


def required_query(given: Mapping[str, Any]) -> dict[str, Any]:
    """`query` of a body: it must be there, so that nobody hits all tasks by mistake."""
    if "query" not in given:
        raise InvalidQuery("A query is needed; {} matches all tasks.", path="query")
    return query_of(given["query"])


def json_of(text: str, path: str) -> Any:
    """A query that came as text in the URL. Raises InvalidQuery."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidQuery(f"{path} is no JSON: {text[:100]!r}", path=path) from None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def check_conditions(given: Any) -> None:
    """Refuse `$regex` in the conditions of an untrusted caller. Raises InvalidQuery."""
    if options().allow_regex or not isinstance(given, list):
        return
    for index, condition in enumerate(given):
        if _has_regex(condition):
            raise InvalidQuery("$regex is not allowed here.", path=f"concurrency[{index}].query")


def _has_regex(value: Any) -> bool:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            if "$regex" in each:
                return True
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)
    return False
