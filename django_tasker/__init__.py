"""django_tasker: the task manager for Django projects.

`from django_tasker import tasker` is the project's tasker, `Tasker` makes one of your own. Both names are
resolved when first asked for, so that importing the package (as INSTALLED_APPS does) touches no models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .abort import AbortController, AbortSignal
    from .errors import Postpone, Retry
    from .facade import Tasker, tasker

__version__ = "0.1.0"
__all__ = ["AbortController", "AbortSignal", "Postpone", "Retry", "Tasker", "tasker"]

_HOMES = {
    "AbortController": "abort",
    "AbortSignal": "abort",
    "Postpone": "errors",
    "Retry": "errors",
    "Tasker": "facade",
    "tasker": "facade",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
