"""Assigning runners to operations."""

from __future__ import annotations

import functools
import threading

import pytest

from django_tasker import registry as registry_module
from django_tasker.errors import InvalidTask, RunnerAlreadyAssigned
from django_tasker.registry import Registry, autodiscover

pytestmark = pytest.mark.sqlite_only


@pytest.fixture
def registry() -> Registry:
    return Registry()


def plain(task):
    return None


async def asynchronous(task):
    return None


class AsyncCallable:
    async def __call__(self, task):
        return None


def test_an_assigned_runner_is_found(registry):
    assigned = registry.assign("import-book", plain, executor="thread", run_timeout=60)

    assert registry.get("import-book") is assigned
    assert (assigned.runner, assigned.kind, assigned.defaults) == (plain, "thread", {"run_timeout": 60})
    assert registry.operations() == {"import-book": assigned}


def test_an_unknown_operation_has_none(registry):
    assert registry.get("nothing") is None


def test_a_plain_function_runs_where_the_settings_say(registry, settings):
    assigned = registry.assign("x", plain)
    settings.TASKER = {"EXECUTOR": "thread"}

    assert assigned.executor is None
    assert assigned.kind == "thread"


@pytest.mark.parametrize(
    "runner", [asynchronous, functools.partial(asynchronous), AsyncCallable(), functools.partial(AsyncCallable())]
)
def test_coroutine_functions_run_as_coroutines(registry, runner):
    assert registry.assign("x", runner).kind == "coroutine"


def test_a_coroutine_function_does_not_run_in_a_process(registry):
    assert registry.assign("x", asynchronous, executor="process").kind == "coroutine"


def test_a_plain_function_can_not_run_as_coroutine(registry):
    with pytest.raises(InvalidTask, match="async def"):
        registry.assign("x", plain, executor="coroutine")


def test_a_second_runner_is_refused(registry):
    registry.assign("x", plain)

    with pytest.raises(RunnerAlreadyAssigned, match="test_registry:plain"):
        registry.assign("x", asynchronous)


def test_the_same_function_imported_again_takes_its_place(registry):
    def again(task):
        return 2

    again.__module__, again.__qualname__ = plain.__module__, plain.__qualname__
    registry.assign("x", plain)
    registry.assign("x", again)

    assert registry.get("x").runner is again


def test_lambdas_are_never_the_same(registry):
    registry.assign("x", lambda task: 1)

    with pytest.raises(RunnerAlreadyAssigned):
        registry.assign("x", lambda task: 2)


def test_an_unknown_option_is_refused_with_the_nearest_name(registry):
    with pytest.raises(InvalidTask, match="did you mean 'run_timeout'") as caught:
        registry.assign("x", plain, run_timout=3)

    assert caught.value.path == "run_timout"


@pytest.mark.parametrize(
    ("operation", "runner", "options", "path"),
    [
        ("", plain, {}, "operation"),
        ("x" * 201, plain, {}, "operation"),
        (7, plain, {}, "operation"),
        ("\0", plain, {}, "operation"),
        ("x", "not callable", {}, "runner"),
        ("x", plain, {"executor": "gevent"}, "executor"),
    ],
)
def test_what_can_not_be_is_refused(registry, operation, runner, options, path):
    with pytest.raises(InvalidTask) as caught:
        registry.assign(operation, runner, **options)

    assert caught.value.path == path
    assert registry.operations() == {}


def test_runners_modules_of_apps_are_imported_once(monkeypatch):
    calls = []
    monkeypatch.setattr(registry_module, "_is_discovered", False)
    monkeypatch.setattr(registry_module, "autodiscover_modules", lambda name: (calls.append(name), autodiscover()))

    threads = [threading.Thread(target=autodiscover) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert calls == ["runners"]


def test_a_failed_import_is_tried_again(monkeypatch):
    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(registry_module, "_is_discovered", False)
    monkeypatch.setattr(registry_module, "autodiscover_modules", fail)

    for _ in range(2):
        with pytest.raises(ImportError):
            autodiscover()
