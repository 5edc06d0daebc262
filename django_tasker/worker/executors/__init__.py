"""What calls runners: child processes, threads, or one event loop."""

from __future__ import annotations

from ...conf import Options
from ...registry import Registry
from ...registry import registry as project_registry
from ..messages import Sink
from .base import Executor

__all__ = ["Executor", "make_executor"]


def make_executor(
    kind: str, slots: int, options: Options, sink: Sink, registry: Registry = project_registry
) -> Executor:
    """An executor of a kind ("process", "thread" or "coroutine"), not started yet.

    Args:
        slots: how many runs at a time.
        sink: where it reports, from its own threads.
        registry: where runners are found; the project's by default.
    """
    if kind == "process":
        from .processes import ProcessExecutor

        return ProcessExecutor(slots, options, sink, registry)
    if kind == "thread":
        from .threads import ThreadExecutor

        return ThreadExecutor(slots, options, sink, registry)
    if kind == "coroutine":
        from .coroutines import CoroutineExecutor

        return CoroutineExecutor(slots, options, sink, registry)
    raise ValueError(f"kind is {kind!r}; it must be 'process', 'thread' or 'coroutine'.")
