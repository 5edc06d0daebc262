"""What a test may change for a while: the TASKER setting, and which runner an operation has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.test import SimpleTestCase
from django.test.utils import TestContextDecorator, override_settings

from .. import conf
from ..conditions import check_global
from ..errors import ConfigurationError, InvalidTask
from ..facade import Tasker, worker_settings
from ..facade import tasker as project_tasker
from ..registry import Runner


def changed_tasker_setting(changes: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The TASKER setting of now (or `before`) with some keys changed.

    Raises:
        ConfigurationError: a key is unknown or a value wrong, as the system checks would say.
    """
    changed = {**(getattr(settings, "TASKER", {}) if before is None else before), **changes}
    if found := conf.problems(changed):
        raise ConfigurationError(" ".join(found))
    try:
        check_global(changed.get("CONDITIONS", []))
    except InvalidTask as error:
        raise ConfigurationError(f"TASKER['CONDITIONS'] can't be read: {error}") from error
    return changed


class override_tasker(TestContextDecorator):
    """Change keys of the TASKER setting, in a `with` block, a test or a test class; the other keys stay.

    Nested ones, and Django's `override_settings`, lie one over the other; each takes the setting as it finds it.
    Processes that a worker has started keep theirs.

    Raises, when it begins:
        ConfigurationError: a key is unknown or a value wrong, as the system checks would say.
    """

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self._changes = changes
        self._overrides: list[override_settings] = []

    def enable(self) -> None:
        override = override_settings(TASKER=changed_tasker_setting(self._changes))
        override.enable()
        self._overrides.append(override)

    def disable(self) -> None:
        self._overrides.pop().disable()

    def decorate_class(self, cls: Any) -> Any:
        if not issubclass(cls, SimpleTestCase):
            return super().decorate_class(cls)
        # As Django's own do it, so that setUpTestData is covered, too.
        before = (getattr(cls, "_overridden_settings", None) or {}).get("TASKER")
        return override_settings(TASKER=changed_tasker_setting(self._changes, before))(cls)


class assigned_runner(TestContextDecorator):
    """Give an operation another runner (or its first), in a `with` block, a test or a test class.

    Args:
        operation, runner, executor, defaults: as for `tasker.assign_runner`.
        tasker: whose operation it is; the project's by default.

    The one that it had comes back at the end. In a `with` block, `as` gives the runner.
    """

    def __init__(
        self,
        operation: str,
        runner: Runner,
        *,
        executor: str | None = None,
        tasker: Tasker = project_tasker,
        **defaults: Any,
    ) -> None:
        super().__init__()
        self._operation = operation
        self._runner = runner
        self._executor = executor
        self._tasker = tasker
        self._defaults = defaults
        self._before: list[ExitStack] = []

    def enable(self) -> Runner:
        registry = worker_settings(self._tasker).registry
        operations = registry.operations()
        before = operations.pop(self._operation, None)

        def restore() -> None:
            now = registry.operations()
            now.pop(self._operation, None)
            registry.put_back(now if before is None else {**now, self._operation: before})

        with ExitStack() as stack:
            stack.callback(restore)
            registry.put_back(operations)
            self._tasker.assign_runner(self._operation, self._runner, executor=self._executor, **self._defaults)
            self._before.append(stack.pop_all())
        return self._runner

    def disable(self) -> None:
        self._before.pop().close()


class isolated_runners(TestContextDecorator):
    """Let the runners that are assigned in a `with` block, a test or a test class be forgotten at its end.

    Args:
        clear: begin with no runners at all.
        tasker: whose runners; the project's by default. Its apps' `runners` modules are imported first.
    """

    def __init__(self, *, clear: bool = False, tasker: Tasker = project_tasker) -> None:
        super().__init__()
        self._clear = clear
        self._tasker = tasker
        self._before: list[Any] = []

    def enable(self) -> None:
        registry = worker_settings(self._tasker).registry
        self._before.append(registry.operations())
        if self._clear:
            registry.put_back({})

    def disable(self) -> None:
        worker_settings(self._tasker).registry.put_back(self._before.pop())
