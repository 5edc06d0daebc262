"""What calls runners: child processes, threads, or one event loop."""

from __future__ import annotations

from ...conf import Options
from ..messages import Sink
from .base import Executor

__all__ = ["Executor", "make_executor"]


def make_executor(kind: str, slots: int, options: Options, sink: Sink) -> Executor:
    """An executor of a kind ("process", "thread" or "coroutine"), not started yet.

    Args:
        slots: how many runs at a time.
        sink: where it reports, from its own threads.
    """
    if kind == "process":
        from .processes import ProcessExecutor

        return ProcessExecutor(slots, options, sink)
    if kind == "thread":
        from .threads import ThreadExecutor

        return ThreadExecutor(slots, options, sink)
    if kind == "coroutine":
        from .coroutines import CoroutineExecutor

        return CoroutineExecutor(slots, options, sink)
    raise ValueError(f"kind is {kind!r}; it must be 'process', 'thread' or 'coroutine'.")
