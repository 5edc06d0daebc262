"""Wake-ups: hints that something in the database may have changed, within this process and from others.

A wake-up carries ids, never truth: whoever hears one reads the rows again, and looks now and then without one.
"""

from __future__ import annotations

import os
import threading

from django.db import connections

from .base import Health, Notifier
from .subscription import Subscription

_notifiers: dict[str, Notifier] = {}
_lock = threading.Lock()
# A forked child must neither use nor close its parent's connections: they are kept here, untouched.
_inherited: list[Notifier] = []


def notifier(using: str) -> Notifier:
    """This process's notifier for a database alias; made at the first call."""
    found = _notifiers.get(using)
    if found is None:
        with _lock:
            found = _notifiers.get(using)
            if found is None:
                found = _notifiers[using] = _make(using)
    return found


def _make(using: str) -> Notifier:
    connection = connections[using]
    if connection.vendor == "postgresql":
        from .postgresql import PostgreSQLNotifier

        return PostgreSQLNotifier(using)
    if connection.vendor == "sqlite" and not connection.is_in_memory_db():  # type: ignore[attr-defined]
        from .sqlite import SQLiteNotifier

        return SQLiteNotifier(using)
    from . import layers

    if layers.is_configured():
        return layers.ChannelLayerNotifier(using)
    from .polling import PollingNotifier

    return PollingNotifier(using)


def close_all() -> None:
    """Stop all notifiers of this process and wait for their threads; later calls make new ones. For tests."""
    with _lock:
        closing = list(_notifiers.values())
        _notifiers.clear()
    for each in closing:
        each.close()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.extend(_notifiers.values())
    _notifiers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["Health", "Notifier", "Subscription", "close_all", "notifier"]
