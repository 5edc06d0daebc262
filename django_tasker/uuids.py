"""Ids of tasks: time-ordered, so that neighbours in time are neighbours in every index."""

from __future__ import annotations

import os
import time
from uuid import UUID

_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62


def uuid7() -> UUID:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, 12 bits of their fraction, 62 random bits.

    Random ones (version 4) land all over a unique index, and each new version of a row on PostgreSQL does so again:
    claiming and ending a task cost a quarter more with them.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=milliseconds << 80 | _VERSION_AND_VARIANT | fraction << 64 | random)
