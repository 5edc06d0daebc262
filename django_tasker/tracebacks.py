"""Exceptions as text that can be stored: bounded, whatever they are made of, and without our own frames on top."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from .json_values import storable_text

MAX_MESSAGE_CHARACTERS = 10_000
MAX_TRACEBACK_CHARACTERS = 50_000
MAX_FRAMES = 100
_OURS = f"{Path(__file__).parent}{os.sep}"


def error_of(exception: BaseException) -> dict[str, Any]:
    """`{"type", "message", "traceback"}` of an exception; never raises."""
    return {
        "type": type_name(type(exception)),
        "message": message_of(exception),
        "traceback": traceback_of(exception),
    }


def type_name(kind: type) -> str:
    """`module.Name`, and plain `Name` for builtins."""
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return storable_text(name, 200)


def message_of(exception: BaseException) -> str:
    try:
        return storable_text(str(exception), MAX_MESSAGE_CHARACTERS)
    except Exception as error:
        return f"(its text could not be made: {type_name(type(error))})"


def traceback_of(exception: BaseException) -> str | None:
    """The traceback as Python prints it, with causes and groups; the end is kept of what is too long."""
    try:
        frames = _without_our_frames(exception.__traceback__)
        # A negative limit keeps the innermost frames.
        made = traceback.TracebackException(type(exception), exception, frames, limit=-MAX_FRAMES)
        text = "".join(made.format())
        if (excess := len(text) - MAX_TRACEBACK_CHARACTERS) > 0:
            text = f"({excess:,} characters cut)…\n{text[excess:]}"
        return storable_text(text, len(text))
    except Exception:
        return None  # out of memory, most likely: the type and the message must do


def _without_our_frames(tb: TracebackType | None) -> TracebackType | None:
    """Drop the outermost frames that are ours; all, if nothing else is there."""
    start = tb
    while start is not None and start.tb_frame.f_code.co_filename.startswith(_OURS):
        start = start.tb_next
    return start
