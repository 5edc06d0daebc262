"""Waiting for what happens to tasks, in whatever process: their end, their logs, events.

Everything here reads rows again; wake-ups only say when. Functions with the prefix `a`, and `await_for_output`, are
for coroutines: while they wait they hold no thread, no connection and no transaction.
"""

from __future__ import annotations

from .events import AsyncEventListener, EventListener, EventMessage, alisten_events, listen_events
from .logs import alisten_task_logs, level_number, listen_task_logs
from .outputs import await_for_output, wait_for_output
from .tails import LogTail, log_tail

__all__ = [
    "AsyncEventListener",
    "EventListener",
    "EventMessage",
    "LogTail",
    "alisten_events",
    "alisten_task_logs",
    "await_for_output",
    "level_number",
    "listen_events",
    "listen_task_logs",
    "log_tail",
    "wait_for_output",
]
