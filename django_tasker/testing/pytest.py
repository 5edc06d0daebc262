"""Fixtures for pytest with pytest-django: `pytest_plugins = ["django_tasker.testing.pytest"]` in the top conftest.py.

They are not loaded by themselves, so that no project finds fixtures that it has not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


@pytest.fixture
def tasker_settings(settings: Any) -> Callable[..., None]:
    """`tasker_settings(MAX_LOSSES=1)` changes keys of the TASKER setting until the end of the test."""
    from .overrides import changed_tasker_setting

    def change(**changes: Any) -> None:
        # By pytest-django's own fixture, so that all that a test sets is undone in one order.
        settings.TASKER = changed_tasker_setting(changes)

    return change


@pytest.fixture
def tasker_runner() -> Iterator[Callable[..., Any]]:
    """`tasker_runner("import-book", function)`, also as a decorator, assigns a runner until the end of the test."""
    from .overrides import assigned_runner

    with ExitStack() as stack:

        def assign(operation: str, function: Callable[..., Any] | None = None, **defaults: Any) -> Any:
            if function is None:
                return lambda decorated: assign(operation, decorated, **defaults)
            return stack.enter_context(assigned_runner(operation, function, **defaults))

        yield assign
