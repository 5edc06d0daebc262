"""Waiting for facts with a deadline; tests never sleep for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds to wait for what must come: far more than it takes, since machines under test are busy."""


def wait_until(fact: Callable[[], T], timeout: float = PATIENCE, *, interval: float = 0.01) -> T:
    """The first true value of `fact()`, asked every `interval` seconds; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {fact!r}; its last value was {value!r}")
        time.sleep(interval)
