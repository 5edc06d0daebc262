"""Changing settings and runners for the length of a block, a test or a class."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

import pytest
from django.conf import settings
from django.test import SimpleTestCase, TestCase, override_settings

from django_tasker import Tasker, tasker
from django_tasker.conf import options
from django_tasker.errors import ConfigurationError, InvalidTask
from django_tasker.registry import registry
from django_tasker.testing import assigned_runner, isolated_runners, override_tasker


def first(task: Any) -> None: ...


def second(task: Any) -> None: ...


def run_case(case: type[unittest.TestCase]) -> None:
    """Run a test class as Django's runner would."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.wasSuccessful(), [text for _, text in result.errors + result.failures]
    assert result.testsRun


# -- settings -----------------------------------------------------------------------------------------------------


def test_keys_are_changed_within_the_block_and_others_stay() -> None:
    with override_settings(TASKER={"MAX_LOSSES": 5}):
        with override_tasker(GRACE=1):
            assert (options().max_losses, options().grace) == (5, 1)
            assert settings.TASKER == {"MAX_LOSSES": 5, "GRACE": 1}
        assert (options().max_losses, options().grace) == (5, 30)


def test_blocks_nest_with_each_other_and_with_djangos_own() -> None:
    with override_tasker(GRACE=1, MAX_LOSSES=5):
        with override_tasker(GRACE=2):
            assert (options().grace, options().max_losses) == (2, 5)
            with override_settings(TASKER={"GRACE": 3}):
                assert (options().grace, options().max_losses) == (3, 3)
                with override_tasker(MAX_LOSSES=7):
                    assert (options().grace, options().max_losses) == (3, 7)
            assert (options().grace, options().max_losses) == (2, 5)
        assert options().grace == 1
    assert options().grace == 30


def test_it_is_undone_when_the_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), override_tasker(GRACE=1):
        _ = 1 / 0

    assert options().grace == 30


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"GRAICE": 1}, "Unknown key 'GRAICE' in TASKER; did you mean 'GRACE'"),
        ({"grace": 1}, "did you mean 'GRACE'"),
        ({"GRACE": -1}, "must be 0 or more"),
        ({"LEASE": 1.0}, "at least twice"),
        ({"CONDITIONS": [{"scope": "runing"}]}, "CONDITIONS.*can't be read"),
    ],
)
def test_what_the_checks_would_refuse_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said), override_tasker(**wrong):
        pytest.fail("was not refused")

    assert options().grace == 30


def test_functions_are_decorated() -> None:
    @override_tasker(GRACE=1)
    def plain(value: int) -> tuple[int, float]:
        return value, options().grace

    @override_tasker(GRACE=1)
    async def coroutine() -> float:
        await asyncio.sleep(0)
        return options().grace

    assert plain(5) == plain(5) == (5, 1)
    assert asyncio.run(coroutine()) == 1
    assert options().grace == 30


def test_classes_are_decorated_with_their_class_data() -> None:
    @override_tasker(GRACE=1)
    class Case(SimpleTestCase):
        @classmethod
        def setUpClass(cls) -> None:
            super().setUpClass()
            cls.grace = options().grace

        def test_both(self) -> None:
            assert self.grace == options().grace == 1

        @override_tasker(MAX_LOSSES=5)
        def test_method(self) -> None:
            assert (options().grace, options().max_losses) == (1, 5)

    @override_tasker(MAX_LOSSES=7)
    class Derived(Case):
        def test_both(self) -> None:
            assert (options().grace, options().max_losses) == (1, 7)

    run_case(Case)
    run_case(Derived)
    assert options().grace == 30


@pytest.mark.django_db
def test_limits_of_the_test_are_those_that_tasks_are_checked_by() -> None:
    with override_tasker(MAX_DATA_BYTES=10), pytest.raises(InvalidTask, match="data"):
        tasker.add_task("echo", "0123456789")


# -- runners ------------------------------------------------------------------------------------------------------


def test_a_runner_is_assigned_within_the_block() -> None:
    with assigned_runner("temporary", first) as given:
        assert given is first
        assert "temporary" in tasker.operations()
        with assigned_runner("temporary", second, executor="thread", max_attempts=3):
            found = registry.get("temporary")
            assert found is not None
            assert (found.runner, found.kind, found.defaults) == (second, "thread", {"max_attempts": 3})
        found = registry.get("temporary")
        assert found is not None and found.runner is first
    assert "temporary" not in tasker.operations()


def test_the_projects_runner_comes_back() -> None:
    before = tasker.operations()

    with pytest.raises(ZeroDivisionError), assigned_runner("echo", lambda task: 1 / 0):
        registry.get("echo").runner(None)  # type: ignore[union-attr]

    assert registry.get("echo").runner.__name__ == "echo"  # type: ignore[union-attr]
    assert sorted(tasker.operations()) == sorted(before)


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"max_atempts": 2}, {"executor": "fork"}])
def test_a_wrong_option_is_refused_and_changes_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask), assigned_runner("echo", first, **wrong):
        pytest.fail("was not refused")

    assert registry.get("echo").runner.__name__ == "echo"  # type: ignore[union-attr]


def test_what_others_assign_meanwhile_stays() -> None:
    own = Tasker()

    with assigned_runner("temporary", first, tasker=own):
        own.assign_runner("imported meanwhile", first)

    assert own.operations() == ["imported meanwhile"]


def test_tests_and_classes_are_decorated() -> None:
    own = Tasker()

    @assigned_runner("temporary", first, tasker=own)
    class Case(TestCase):
        def test_assigned(self) -> None:
            assert own.operations() == ["temporary"]

    @assigned_runner("temporary", first, tasker=own)
    def plain() -> list[str]:
        return own.operations()

    class Plain(unittest.TestCase):
        test_assigned = assigned_runner("temporary", first, tasker=own)(
            lambda self: self.assertEqual(own.operations(), ["temporary"])
        )

    run_case(Plain)
    assert plain() == ["temporary"]
    assert own.operations() == []


def test_runners_that_a_block_assigns_are_forgotten() -> None:
    before = tasker.operations()

    with isolated_runners():
        tasker.assign_runner("temporary", first)
        assert tasker.operations() == [*before, "temporary"]
    with isolated_runners(clear=True):
        assert tasker.operations() == []
        tasker.assign_runner("echo", first)

    assert tasker.operations() == before
    assert registry.get("echo").runner.__name__ == "echo"  # type: ignore[union-attr]
