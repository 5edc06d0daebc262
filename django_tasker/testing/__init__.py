"""For the tests of projects: run one task, drain the queue, assert what was added, change settings and runners.

Tasks are run by the worker's own parts, in the thread and the transaction of the test. Names are resolved when first
asked for, so that a pytest plugin can be imported before Django is set up; its fixtures are in `testing.pytest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .added import aassert_added, aassert_not_added, assert_added, assert_not_added
    from .overrides import assigned_runner, isolated_runners, override_tasker
    from .running import EndlessDrain, adrain, arun_task, drain, run_task

__all__ = [
    "EndlessDrain",
    "aassert_added",
    "aassert_not_added",
    "adrain",
    "arun_task",
    "assert_added",
    "assert_not_added",
    "assigned_runner",
    "drain",
    "isolated_runners",
    "override_tasker",
    "run_task",
]

_HOMES = {
    "EndlessDrain": "running",
    "aassert_added": "added",
    "aassert_not_added": "added",
    "adrain": "running",
    "arun_task": "running",
    "assert_added": "added",
    "assert_not_added": "added",
    "assigned_runner": "overrides",
    "drain": "running",
    "isolated_runners": "overrides",
    "override_tasker": "overrides",
    "run_task": "running",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
