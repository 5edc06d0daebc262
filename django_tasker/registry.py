"""Which runner an operation has, what calls it, and the options its tasks get by default.

Knows names and callables only: what the values of the defaults may be is checked by the facade.
"""

from __future__ import annotations

import difflib
import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.utils.module_loading import autodiscover_modules

from . import conf
from .errors import InvalidTask, RunnerAlreadyAssigned
from .json_values import check_text

Runner = Callable[..., Any]

OPTION_NAMES = (
    "priority",
    "queue",
    "run_at",
    "concurrency",
    "run_timeout",
    "run_until",
    "queue_timeout",
    "max_attempts",
    "retry_delay",
    "on_stop",
    "keep_for",
    "abort_grace",
    "log_level",
)
"""Options that an operation may give its tasks as defaults."""

MAX_OPERATION_CHARACTERS = 200
_EXECUTORS = ("process", "thread", "coroutine")


@dataclass(frozen=True, slots=True)
class Assigned:
    """An operation's runner and what belongs to it."""

    operation: str
    runner: Runner
    executor: str | None = None  # "process", "thread" or "coroutine"; None: whatever the worker prefers
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of executor that calls the runner: "process", "thread" or "coroutine"."""
        return self.executor or conf.options().executor


class Registry:
    """Runners by operation. Thread safe."""

    def __init__(self) -> None:
        self._assigned: dict[str, Assigned] = {}
        self._lock = threading.Lock()

    def assign(self, operation: str, runner: Runner, *, executor: str | None = None, **defaults: Any) -> Assigned:
        """Give `operation` its runner.

        Args:
            operation: 1 to 200 characters.
            runner: a function of one argument, the running task. A coroutine function runs as a coroutine, whatever
                `executor` says.
            executor: "process" or "thread"; None leaves it to the worker.
            defaults: options of `add_task` that tasks of the operation get unless told otherwise.

        Raises:
            InvalidTask: the name, the runner, the executor or an option is not what it should be.
            RunnerAlreadyAssigned: the operation has another runner. The same function imported once more is fine.
        """
        _check_operation(operation)
        assigned = Assigned(operation, runner, _executor_for(operation, runner, executor), _checked(defaults))
        with self._lock:
            before = self._assigned.get(operation)
            if before is not None and not _is_same(before.runner, runner):
                raise RunnerAlreadyAssigned(
                    f"The operation {operation!r} has a runner already: {describe(before.runner)}. "
                    f"{describe(runner)} needs an operation of its own."
                )
            self._assigned[operation] = assigned
        return assigned

    def get(self, operation: str) -> Assigned | None:
        """What was assigned to `operation`; None if nothing was."""
        return self._assigned.get(operation)

    def operations(self) -> dict[str, Assigned]:
        """All operations, in the order they were assigned; a copy."""
        with self._lock:
            return dict(self._assigned)

    def put_back(self, operations: Mapping[str, Assigned]) -> None:
        """Assign just these, as `operations()` once gave them: what was assigned besides is forgotten. For tests."""
        with self._lock:
            self._assigned = dict(operations)


def describe(runner: Runner) -> str:
    """`module:qualified.name` of a runner, or its repr when it has none."""
    name = getattr(runner, "__qualname__", None)
    return f"{runner.__module__}:{name}" if name else repr(runner)


def reference_to(runner: Runner) -> str | None:
    """`module:qualified.name` of a runner that another process can import by that; None if it can't."""
    reference = describe(runner)
    return None if "<" in reference or reference.startswith("__main__:") else reference


def _check_operation(operation: object) -> None:
    if not isinstance(operation, str) or not 0 < len(operation) <= MAX_OPERATION_CHARACTERS:
        raise InvalidTask(
            f"An operation is named by 1 to {MAX_OPERATION_CHARACTERS} characters, not {operation!r:.300}.",
            path="operation",
        )
    check_text(operation, "operation")


def _executor_for(operation: str, runner: object, executor: str | None) -> str | None:
    if not callable(runner):
        raise InvalidTask(f"The runner of {operation!r} must be callable, not {runner!r}.", path="runner")
    if executor is not None and executor not in _EXECUTORS:
        raise InvalidTask(f"executor is {executor!r}; it must be 'process' or 'thread'.", path="executor")
    if is_async(runner):
        return "coroutine"
    if executor == "coroutine":
        raise InvalidTask(
            f"The runner of {operation!r} is a plain function; only an `async def` runs as a coroutine.",
            path="executor",
        )
    return executor


def is_async(runner: Runner) -> bool:
    """Whether calling `runner` gives a coroutine: seen through partials and objects with an async `__call__`."""
    while isinstance(runner, functools.partial):
        runner = runner.func
    return bool(iscoroutinefunction(runner) or iscoroutinefunction(getattr(runner, "__call__", None)))  # noqa: B004


def _checked(defaults: dict[str, Any]) -> dict[str, Any]:
    for name in defaults:
        if name not in OPTION_NAMES:
            near = difflib.get_close_matches(name, OPTION_NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(OPTION_NAMES)}."
            raise InvalidTask(f"Unknown option {name!r} for a runner; {hint}", path=name)
    return defaults


def _is_same(one: Runner, other: Runner) -> bool:
    """Whether both are the very same function, imported twice at most (autoreload does that)."""
    if one is other:
        return True
    name = getattr(one, "__qualname__", "<")
    # Lambdas and inner functions share their qualified names with others.
    return "<" not in name and describe(one) == describe(other)


registry = Registry()
"""The project's runners; `tasker` uses them."""

_discovery_lock = threading.RLock()
_is_discovered = False


def autodiscover() -> None:
    """Import `runners` of every installed app, once per process. Thread safe; what an import raises goes through."""
    global _is_discovered
    with _discovery_lock:
        if _is_discovered:
            return
        # Set first: a runners module that calls this again must not import in circles.
        _is_discovered = True
        try:
            autodiscover_modules("runners")
        except BaseException:
            _is_discovered = False
            raise
