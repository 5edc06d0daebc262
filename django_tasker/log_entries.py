"""Turns a logging record, whatever is in it, into an entry that can be stored. Never raises."""

from __future__ import annotations

import json
import logging
from typing import Any

from . import json_values
from .json_values import storable_text
from .tracebacks import traceback_of, type_name
from .worker.messages import Entry

MAX_MESSAGE_CHARACTERS = 100_000
MAX_LOGGER_CHARACTERS = 200
MAX_EXTRA_ITEMS = 50
MAX_EXTRA_BYTES = 10_000
MAX_REPR_CHARACTERS = 1_000

# Attributes that logging itself gives a record (the last ones by a formatter, or by us): all others are `extra`.
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "tasker_taken"}


def entry_of(record: logging.LogRecord) -> Entry:
    """The entry for a record; its `size` is how many bytes of text it holds."""
    message = _message(record)
    size = _size(message)
    entry = Entry(record.created, record.levelno, _short(record.name), message)
    if record.exc_info or record.stack_info:
        entry.traceback = _traceback(record)
        size += _size(entry.traceback or "")
    if not vars(record).keys() <= _OWN_ATTRIBUTES:
        entry.extra, extra_size = _extra(vars(record))
        size += extra_size
    entry.size = size
    return entry


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as error:
        # Arguments that don't fit the format, or that can't be printed: say what there is.
        text = f"{_printed(record.msg)} (its arguments {_printed(record.args)} don't fit: {type_name(type(error))})"
    return storable_text(text, MAX_MESSAGE_CHARACTERS)


def _printed(value: object) -> str:
    """`value` itself if it is text, else its repr; never raises."""
    if isinstance(value, str):
        return value
    try:
        return storable_text(repr(value), MAX_REPR_CHARACTERS)
    except Exception:
        return f"<{type_name(type(value))} that can't be printed>"


def _short(name: object) -> str:
    text = name if isinstance(name, str) else _printed(name)
    return text if len(text) <= MAX_LOGGER_CHARACTERS and text.isascii() else storable_text(text, 150)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _traceback(record: logging.LogRecord) -> str | None:
    exception = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    parts = [traceback_of(exception)] if isinstance(exception, BaseException) else []
    if record.stack_info:
        parts.append(storable_text(_printed(record.stack_info), MAX_MESSAGE_CHARACTERS))
    return "\n".join(part for part in parts if part) or None


def _extra(attributes: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """What `extra=` added, as JSON: a value JSON has no word for becomes its repr; too much is left out."""
    found: dict[str, Any] = {}
    size = 0
    for name in [name for name in attributes if name not in _OWN_ATTRIBUTES]:
        key = storable_text(name if isinstance(name, str) else _printed(name), 200)
        value, value_size = _extra_value(attributes[name])
        size += len(key) + value_size
        if len(found) >= MAX_EXTRA_ITEMS or size > MAX_EXTRA_BYTES:
            found["…"] = "more was left out"
            break
        found[key] = value
    return found, min(size, MAX_EXTRA_BYTES)


def _extra_value(value: Any) -> tuple[Any, int]:
    try:
        text = json_values.dumps(value, max_bytes=MAX_EXTRA_BYTES)
        # Read back, so that no subclass of JSON's types has to travel between processes.
        return json.loads(text), _size(text)
    except Exception:
        text = storable_text(_printed(value), MAX_REPR_CHARACTERS)
        return text, _size(text)
