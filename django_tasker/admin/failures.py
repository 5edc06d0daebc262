"""Tracebacks for people: the frames of their own code first, those of libraries on demand."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FRAME = re.compile(r'^\s*(?:\|\s*)?File "(?P<file>[^"]+)", line \d+')
_FOREIGN = re.compile(r"(site-packages|dist-packages|/lib/python\d|\\lib\\|^<frozen )", re.IGNORECASE)


@dataclass(frozen=True)
class Traceback:
    """`own` is the text without the frames of libraries; "" when nothing was left out."""

    full: str
    own: str
    hidden: int


def split(text: str | None) -> Traceback | None:
    """A traceback as Python prints it, with and without the frames of libraries."""
    if not text:
        return None
    kept: list[str] = []
    hidden, is_foreign = 0, False
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame:
            is_foreign = bool(_FOREIGN.search(frame["file"]))
            hidden += is_foreign
        elif is_foreign and line[:3].strip():  # anything less indented than a frame's source ends the frame
            is_foreign = False
        if not is_foreign:
            kept.append(line)
    has_own = any(_FRAME.match(line) for line in kept)
    return Traceback(text, "\n".join(kept) if hidden and has_own else "", hidden if has_own else 0)
