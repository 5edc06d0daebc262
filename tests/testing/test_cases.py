"""The kinds of tests that projects write: what is seen where, and when events are heard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from django_tasker import tasker
from django_tasker.testing import (
    aassert_added,
    aassert_not_added,
    adrain,
    arun_task,
    assert_added,
    assigned_runner,
    drain,
    run_task,
)


def count_groups(task: Any) -> list[str]:
    return [str(connection.in_atomic_block), *Group.objects.values_list("name", flat=True)]


async def acount_groups(task: Any) -> list[str]:
    return [group.name async for group in Group.objects.all()]


@pytest.fixture(autouse=True)
def events() -> Iterator[list[str]]:
    heard: list[str] = []
    ends = [
        tasker.on(f"task.{name}", lambda uuid, *_, name=name: heard.append(name))  # type: ignore[misc]
        for name in ("added", "run", "log", "progress", "retried", "done", "failed", "ended")
    ]
    yield heard
    for end in ends:
        end()


@pytest.fixture
def events_of_case(request: pytest.FixtureRequest, events: list[str]) -> None:
    request.cls.events = events


@pytest.mark.usefixtures("events_of_case")
class InTestCase(TestCase):
    """The whole test is in one transaction."""

    events: list[str]

    @classmethod
    def setUpTestData(cls) -> None:
        Group.objects.create(name="class data")
        cls.of_class = tasker.add_task("echo", "class data")

    @assigned_runner("groups", count_groups)
    def test_the_runner_is_in_the_tests_transaction(self) -> None:
        Group.objects.create(name="test")

        self.assertEqual(run_task(tasker.add_task("groups")).result, ["True", "class data", "test"])

    def test_class_data_is_as_it_was_in_each_test(self) -> None:
        self.assertEqual(run_task(self.of_class).status, "done")

    def test_class_data_is_as_it_was_in_each_test_again(self) -> None:
        self.assertEqual([task.data for task in drain()], ["class data"])

    def test_events_are_heard_where_commits_are_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            task = tasker.add_task("echo")
        with self.captureOnCommitCallbacks(execute=True):
            run_task(task)

        self.assertEqual(self.events, ["added", "run", "done", "ended"])

    def test_events_are_not_heard_else(self) -> None:
        drain()

        self.assertEqual(self.events, [])

    def test_tasks_that_are_added_on_commit_are_added_where_it_is_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: tasker.add_task("echo", "on commit"))

        assert_added("echo", data="on commit")

    def test_a_failed_run_takes_its_commit_callbacks_with_it_when_it_broke_the_transaction(self) -> None:
        def broken(task: Any) -> None:
            transaction.on_commit(lambda: self.events.append("never"))
            tasker.add_task("noop", "never")
            with transaction.atomic(savepoint=False):
                raise ValueError

        with assigned_runner("broken", broken), self.captureOnCommitCallbacks(execute=True):
            run_task(tasker.add_task("broken"))

        self.assertEqual(self.events, ["added", "run", "failed", "ended"])
        self.assertFalse(tasker.has_task({"data": "never"}))

    def test_results_can_be_waited_for(self) -> None:
        drain()

        self.assertEqual(tasker.wait_for_task_output_data(self.of_class, timeout=1), "class data")

    async def test_coroutine_tests_see_the_same_rows(self) -> None:
        await Group.objects.acreate(name="test")
        task = await tasker.aadd_task("groups")

        with assigned_runner("groups", count_groups):
            await arun_task(task)
        with assigned_runner("groups", acount_groups):
            await tasker.aadd_task("groups")
            [_, second] = await adrain()

        self.assertEqual(task.result, ["True", "class data", "test"])
        self.assertEqual(second.result, ["class data", "test"])
        self.assertEqual(len(await aassert_added("groups")), 2)
        await aassert_not_added("noop")

    async def test_the_sync_form_is_refused_in_a_coroutine(self) -> None:
        with self.assertRaises(SynchronousOnlyOperation):
            drain()


@pytest.mark.usefixtures("events_of_case")
class InTransactionTestCase(TransactionTestCase):
    """Every transaction of the test is a real one."""

    events: list[str]

    @assigned_runner("groups", count_groups)
    def test_the_runner_has_no_transaction_around_it(self) -> None:
        Group.objects.create(name="test")

        self.assertEqual(run_task(tasker.add_task("groups")).result, ["False", "test"])

    def test_events_are_heard_at_once(self) -> None:
        def chatty(task: Any) -> None:
            task.logger.info("hello")
            task.progress(1)
            if task.attempt == 1:
                raise ValueError

        with assigned_runner("chatty", chatty, max_attempts=2, retry_delay=0):
            tasker.add_task("chatty")
            drain()

        attempt = ["run", "log", "progress"]
        self.assertEqual(self.events[:2], ["added", "run"])
        self.assertEqual(sorted(self.events), sorted(["added", *attempt, "retried", *attempt, "done", "ended"]))

    def test_what_is_added_within_a_transaction_can_be_run_in_it(self) -> None:
        with transaction.atomic():
            tasker.add_task("echo")
            self.assertEqual([task.status for task in drain()], ["done"])
            self.assertEqual(self.events, [])

        self.assertEqual(self.events, ["added", "run", "done", "ended"])

    async def test_coroutine_tests_see_the_same_rows(self) -> None:
        await Group.objects.acreate(name="test")

        with assigned_runner("groups", acount_groups):
            await tasker.aadd_task("groups")
            [task] = await adrain()

        self.assertEqual(task.result, ["test"])


@pytest.mark.django_db
@pytest.mark.skipif(django.VERSION < (6, 0), reason="has no django.tasks")
def test_functions_of_django_tasks_are_drained() -> None:
    from tests.tasks import add

    result = add.enqueue(2, 3)
    drain()
    result.refresh()

    assert result.return_value == 5


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_can_run_beside_the_test() -> None:
    with assigned_runner("groups", count_groups):
        task = tasker.add_task("groups")
        tasker.start(executor="thread")
        try:
            assert tasker.wait_for_task_output_data(task, timeout=20) == ["False"]
        finally:
            tasker.stop()


@pytest.mark.django_db(transaction=True)
async def test_coroutine_tests_of_pytest_run_tasks() -> None:
    await Group.objects.acreate(name="test")

    with assigned_runner("groups", acount_groups):
        task = await arun_task(await tasker.aadd_task("groups"))

    assert task.result == ["test"]
    # The thread of asgiref, where all of this went, is not the one whose connections pytest-django closes.
    await sync_to_async(connections.close_all)()
