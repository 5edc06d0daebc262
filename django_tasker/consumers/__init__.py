"""Websockets: the log of a task, and events, as JSON frames. No channel layer is needed.

Everybody who may view tasks may connect; see `codes` for how a connection ends.
"""

from __future__ import annotations

from .events import EventConsumer
from .logs import LogConsumer

__all__ = ["EventConsumer", "LogConsumer"]
