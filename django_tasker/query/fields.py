"""What a query may ask about: the task's columns, their kinds, and the operators each kind understands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ..statuses import Status


class Kind(Enum):
    """How the values of a column compare."""

    INTEGER = "a whole number"
    FLOAT = "a number"
    TEXT = "a string"
    STATUS = "a status"
    UUID = "a UUID"
    DATETIME = "a date and time with an offset, in ISO 8601"
    JSON = "JSON"


EQUALITY = ("$eq", "$ne", "$in", "$nin", "$exists")
RANGE = ("$gt", "$gte", "$lt", "$lte")
STRING = ("$contains", "$startswith", "$regex", "$options")

OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.INTEGER: EQUALITY + RANGE,
    Kind.FLOAT: EQUALITY + RANGE,
    Kind.TEXT: EQUALITY + RANGE + STRING,
    Kind.STATUS: EQUALITY,
    Kind.UUID: EQUALITY,  # no ranges: MariaDB's own uuid type sorts in an order of its own
    Kind.DATETIME: EQUALITY + RANGE,
    Kind.JSON: EQUALITY + RANGE + STRING,
}

STATUSES = tuple(Status.values)


@dataclass(frozen=True)
class Field:
    """One column of the task."""

    name: str
    kind: Kind
    nullable: bool = False
    unbounded: bool = False
    """May be plus or minus infinity; "Infinity" and "-Infinity" in JSON."""


def _fields(kind: Kind, names: str, *, nullable: bool = False, unbounded: bool = False) -> Iterable[Field]:
    return (Field(name, kind, nullable, unbounded) for name in names.split())


FIELDS: dict[str, Field] = {
    field.name: field
    for group in (
        _fields(Kind.INTEGER, "id attempt max_attempts losses warning_count error_count log_count"),
        _fields(Kind.UUID, "uuid"),
        _fields(Kind.STATUS, "status"),
        _fields(Kind.TEXT, "operation queue on_stop"),
        _fields(Kind.TEXT, "run_until unique_key added_by abort_reason worker_name", nullable=True),
        _fields(Kind.FLOAT, "priority", unbounded=True),
        _fields(Kind.FLOAT, "run_timeout retry_delay keep_for", nullable=True),
        _fields(Kind.DATETIME, "added_at updated_at"),
        _fields(Kind.DATETIME, "run_at started_at ended_at expires_at abort_requested_at", nullable=True),
        _fields(Kind.JSON, "concurrency"),
        _fields(Kind.JSON, "queue_timeout data result error progress", nullable=True),
    )
    for field in group
}

JSON_FIELDS = ("data", "result", "error", "progress")
"""Those that dotted paths lead into. The JSON of the options is compared as a whole, or searched by `$contains`."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the name that was probably meant, or all that are known."""
    names = list(known)
    if near := difflib.get_close_matches(word[:100], names, n=1):
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(names)}."
