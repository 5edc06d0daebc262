"""The values of a query: checks them against what a field can hold, and brings them into one canonical form.

How numbers compare: as the decimal numbers that JSON writes. 1 equals 1.0, and of the float 2.0**62, which JSON
writes 4.611686018427388e+18, just that is compared, not 4611686018427387904. No other rule can be the same
everywhere: PostgreSQL forgets which numbers were floats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Never
from uuid import UUID

from ..errors import InvalidQuery
from .fields import STATUSES, Field, Kind, nearest

MAX_STRING = 10_000
MAX_LITERAL_DEPTH = 20
MAX_INTEGER = 2**63 - 1
_EXACT = 1e16  # below, repr() of a float is its exact decimal value where it is whole


@dataclass(frozen=True)
class Literal:
    """A checked value. Two are equal when the query language says so (1 is 1.0, but not True)."""

    value: Any = field(compare=False, repr=False)
    """As a task's attribute would hold it: UUID, aware datetime, float, decoded JSON."""
    text: str
    """Its canonical JSON."""

    @property
    def json(self) -> Any:
        """The value as JSON has it."""
        return json.loads(self.text)


NULL = Literal(None, "null")


def fail(text: str, path: str) -> Never:
    raise InvalidQuery(text, path=path)


def at(path: str, key: Any) -> str:
    """The place of a key, fit to be shown."""
    return f"{path}.{str(key)[:200].encode(errors='backslashreplace').decode()}"


def read(value: Any, target: Field, path: str) -> Literal:
    """Return the literal that `value` is for this column.

    Raises:
        InvalidQuery: the column never holds such a value.
    """
    if value is None:
        return NULL
    return _READERS[target.kind](value, target, path)


def read_json(value: Any, path: str) -> Literal:
    """Return a literal for a place inside a JSON column."""
    plain = _plain(value, path, 0)
    return Literal(plain, json.dumps(plain, sort_keys=True, separators=(",", ":")))


def read_text(value: Any, path: str) -> str:
    """Return `value` as a plain string that every database can store."""
    if not isinstance(value, str):
        fail(f"Expected a string at {path}, got {_shown(value)}.", path)
    text = str.__str__(value)
    if len(text) > MAX_STRING:
        fail(f"The string at {path} has {len(text):,} characters; at most {MAX_STRING:,} are allowed.", path)
    if "\0" in text:
        fail(f"The string at {path} contains a NUL character, which no database stores.", path)
    try:
        text.encode()
    except UnicodeEncodeError:
        fail(f"The string at {path} contains a lone surrogate, which is no character.", path)
    return text


def decimal_key(number: int | float) -> int | float:
    """Return what stands for a number when it is compared by Python: its value as JSON writes it."""
    if isinstance(number, int) or -_EXACT < number < _EXACT:
        return number
    return int(Decimal(repr(number)))


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _number(value: Any, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        fail(f"Expected a number at {path}, got {_shown(value)}.", path)
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            fail(f"The integer at {path} does not fit into 64 bits.", path)
        return int(value)
    if not math.isfinite(value):
        fail(f"Expected a finite number at {path}, got {value!r}.", path)
    whole = int(decimal_key(value)) if value.is_integer() else None
    return float(value) if whole is None or abs(whole) > MAX_INTEGER else whole


def _plain(value: Any, path: str, depth: int) -> Any:
    """A canonical copy of a JSON value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return read_text(value, path)
    if isinstance(value, int | float):
        return _number(value, path)
    if not isinstance(value, dict | list | tuple):
        fail(f"Expected a JSON value at {path}, got {_shown(value)}.", path)
    if depth >= MAX_LITERAL_DEPTH:
        fail(f"The value at {path} is nested more than {MAX_LITERAL_DEPTH} levels deep.", path)
    if isinstance(value, dict):
        return {read_text(key, path): _plain(item, at(path, key), depth + 1) for key, item in value.items()}
    return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]


def _read_integer(value: Any, target: Field, path: str) -> Literal:
    number = _number(value, path)
    if isinstance(number, float):
        fail(f"{target.name!r} holds whole numbers, got {number!r} at {path}.", path)
    return Literal(number, str(number))


def _read_float(value: Any, target: Field, path: str) -> Literal:
    if target.unbounded:
        if value in ("Infinity", "-Infinity"):
            value = float(value)
        if isinstance(value, float) and math.isinf(value):
            return Literal(value, '"Infinity"' if value > 0 else '"-Infinity"')
    number = float(_number(value, path)) + 0.0  # no negative zero
    return Literal(number, json.dumps(number))


def _read_text(value: Any, _target: Field, path: str) -> Literal:
    text = read_text(value, path)
    return Literal(text, json.dumps(text))


def _read_status(value: Any, _target: Field, path: str) -> Literal:
    text = read_text(value, path)
    if text not in STATUSES:
        fail(f"Unknown status {text[:60]!r} at {path}; {nearest(text, STATUSES)}", path)
    return Literal(text, json.dumps(text))


def _read_uuid(value: Any, _target: Field, path: str) -> Literal:
    if not isinstance(value, UUID):
        try:
            value = UUID(read_text(value, path))
        except ValueError as error:
            if isinstance(error, InvalidQuery):
                raise
            fail(f"Expected a UUID at {path}, got {_shown(value)}.", path)
    return Literal(value, f'"{value}"')


def _read_datetime(value: Any, _target: Field, path: str) -> Literal:
    if not isinstance(value, datetime):
        text = read_text(value, path)
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            fail(f"Expected a date and time in ISO 8601 at {path}, got {_shown(text)}.", path)
    if value.utcoffset() is None:
        fail(f"The date and time at {path} needs an offset, like '2030-01-31T12:00:00+00:00'.", path)
    try:
        value = value.astimezone(UTC)
    except OverflowError:
        fail(f"The date and time at {path} is outside the years 1 to 9999.", path)
    return Literal(value, f'"{value.isoformat()}"')


def _read_json(value: Any, _target: Field, path: str) -> Literal:
    return read_json(value, path)


_READERS: dict[Kind, Callable[[Any, Field, str], Literal]] = {
    Kind.INTEGER: _read_integer,
    Kind.FLOAT: _read_float,
    Kind.TEXT: _read_text,
    Kind.STATUS: _read_status,
    Kind.UUID: _read_uuid,
    Kind.DATETIME: _read_datetime,
    Kind.JSON: _read_json,
}
