"""What people type, turned into values; each function is an argparse type with a message that helps."""

from __future__ import annotations

import json
import math
import re
import sys
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_datetime

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)")


def json_value(text: str) -> Any:
    """Any JSON; `-` reads it from standard input. NaN is passed on, for the facade to refuse with its place."""
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise ArgumentTypeError(f"no valid JSON: {error}") from None


def json_object(text: str) -> dict[str, Any]:
    value = json_value(text)
    if not isinstance(value, dict):
        raise ArgumentTypeError(f'must be a JSON object like {{"status": "new"}}, not {text}')
    return value


def json_list(text: str) -> list[Any]:
    value = json_value(text)
    if not isinstance(value, list):
        raise ArgumentTypeError(f"must be a JSON list, not {text}")
    return value


def uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no uuid") from None


def priority(text: str) -> float:
    """A number, or Infinity and -Infinity."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ArgumentTypeError(f"{text!r} is no priority: give a number, Infinity or -Infinity")
    return value


def seconds(text: str) -> float:
    """A duration: `90`, `90s`, `5m`, `2h`, `1d`, `1w`."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ArgumentTypeError(f"{text!r} is no duration: give seconds, or a number with s, m, h, d or w")
    return float(match[1]) * _UNITS[match[2] or "s"]


def moment(text: str) -> datetime:
    """A time: ISO 8601 (in the project's time zone if it names none), `now`, or from now on like `+5m`."""
    if text == "now":
        return timezone.now()
    try:
        if text.startswith("+"):
            return timezone.now() + timedelta(seconds=seconds(text[1:]))
        value = parse_datetime(text) or datetime.fromisoformat(text)
    except (ValueError, OverflowError, ArgumentTypeError):
        raise ArgumentTypeError(f"{text!r} is no time: give 2030-01-31T07:00, now, or +5m") from None
    return timezone.make_aware(value) if timezone.is_naive(value) else value


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)
