"""Parameters of the query string, each refused with its name if it is wrong."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping

from rest_framework.request import Request

from ..errors import InvalidQuery
from ..listening import level_number

MAX_WAIT = 300.0
"""Seconds that a request for the output may wait."""


def refuse_unknown(request: Request, known: Iterable[str]) -> None:
    """A misspelt filter that is ignored would answer with tasks that nobody asked for."""
    names = list(known)
    for name in request.query_params:
        if name not in names:
            near = difflib.get_close_matches(name[:100], names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(names))}."
            raise InvalidQuery(f"Unknown parameter {name[:100]!r}{hint}", path=name[:100])


def whole(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= most):
        raise InvalidQuery(f"{name} must be a whole number from {least} to {most}, not {text[:50]!r}.", path=name)
    return int(text)


def seconds(given: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = given.get(name)
    if text is None or text == "":
        return default
    try:
        value = float(text) if len(text) < 30 else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise InvalidQuery(f"{name} must be a number of seconds from 0 to {most:g}, not {text[:50]!r}.", path=name)
    return value


def flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "").lower()
    if text not in ("", "0", "1", "true", "false"):
        raise InvalidQuery(f"{name} must be true or false, not {text[:50]!r}.", path=name)
    return text in ("1", "true")


def level(given: Mapping[str, str], name: str, default: str) -> int:
    """The least severe level that is included."""
    text = given.get(name) or default
    is_number = text.isascii() and text.isdigit() and len(text) < 4
    try:
        return level_number(int(text) if is_number else text)
    except InvalidQuery as error:
        raise InvalidQuery(str(error).replace("max_level", name), path=name) from None


def names(given: Mapping[str, str], name: str, known: Iterable[str]) -> tuple[str, ...] | None:
    """A list of names, with commas; None if it was not given."""
    text = given.get(name)
    if not text:
        return None
    wanted = tuple(dict.fromkeys(text.split(",")))
    for each in wanted:
        if each not in known:
            near = difflib.get_close_matches(each[:100], list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise InvalidQuery(f"Unknown field {each[:100]!r} in {name}; {hint}", path=name)
    return wanted
