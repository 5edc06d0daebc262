"""Running one task in a test, with a transaction around the test and without."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from django_tasker import Postpone, Retry, Tasker, tasker
from django_tasker.errors import ConfigurationError, InvalidTaskState, TaskFailed, TaskNotFound
from django_tasker.models import Attempt, Task
from django_tasker.testing import assigned_runner, override_tasker, run_task
from tests.testing.transactions import either_way

pytestmark = pytest.mark.django_db


def run(runner: Any, data: Any = None, *, reraise: bool = False, **options: Any) -> Task:
    """Add one task and run it by `runner`."""
    with assigned_runner("import-book", runner):
        return run_task(tasker.add_task("import-book", data, **options), reraise=reraise)


@either_way
def test_a_task_is_done_with_its_result() -> None:
    task = run(lambda running: {"book": running.data["book"], "attempt": running.attempt}, {"book": 7})

    assert (task.status, task.result) == ("done", {"book": 7, "attempt": 1})
    assert (task.attempt, task.worker_name) == (1, "test")
    assert task.started_at is not None and task.ended_at is not None
    assert task.started_at <= task.ended_at


def test_the_task_that_is_passed_is_refreshed_and_returned() -> None:
    task = tasker.add_task("echo", 1)

    returned = run_task(task)

    assert returned is task
    assert task.status == "done"


def test_a_uuid_will_do() -> None:
    task = tasker.add_task("echo", [1])

    assert run_task(task.uuid).result == [1]
    assert run_task(str(tasker.add_task("echo", [2]).uuid)).result == [2]


def test_logs_and_progress_are_recorded() -> None:
    def chatty(task: Any) -> None:
        task.logger.warning("reading %s", task.data)
        logging.getLogger("books.parser").debug("chapter 1")
        task.progress(1, 10)
        task.progress(10, 10, "pages")

    task = run(chatty, "Emma")

    assert [(entry.seq, entry.logger, entry.message) for entry in task.logs] == [
        (1, "task.import-book", "reading Emma"),
        (2, "books.parser", "chapter 1"),
    ]
    assert (task.log_count, task.warning_count) == (2, 1)
    assert task.progress == {"current": 10, "total": 10, "message": "pages"}


@either_way
def test_an_error_is_recorded_and_not_raised() -> None:
    def broken(task: Any) -> None:
        raise ValueError("no such book")

    task = run(broken)

    assert task.status == "failed"
    assert task.error is not None
    assert (task.error["type"], task.error["message"]) == ("ValueError", "no such book")


def test_an_error_is_raised_after_it_is_recorded_if_asked_for() -> None:
    def broken(task: Any) -> None:
        raise ValueError("no such book")

    with pytest.raises(ValueError, match="no such book"):
        run(broken, reraise=True)

    assert tasker.has_task({"status": "failed", "error.type": "ValueError"})


def test_a_result_that_is_no_json_fails_the_task() -> None:
    assert run(lambda task: {1, 2}).status == "failed"
    with pytest.raises(TaskFailed, match="result"):
        run(lambda task: {1, 2}, reraise=True)


@either_way
def test_a_failed_attempt_leads_back_to_new_while_there_are_more() -> None:
    def broken(task: Any) -> None:
        raise ValueError(f"attempt {task.attempt}")

    task = run(broken, max_attempts=2, retry_delay=60)

    assert (task.status, task.attempt) == ("new", 1)
    assert task.run_at is not None and task.run_at > timezone.now() + timedelta(seconds=30)
    with assigned_runner("import-book", broken):
        run_task(task)
    assert (task.status, task.attempt) == ("failed", 2)
    assert [attempt.error["message"] for attempt in Attempt.objects.filter(task=task)] == ["attempt 1"]


@pytest.mark.parametrize(("asked", "attempt"), [(Retry("busy", delay=5), 1), (Postpone("closed", delay=5), 0)])
def test_retry_and_postpone_are_obeyed_and_never_raised(asked: Exception, attempt: int) -> None:
    def busy(task: Any) -> None:
        raise asked

    task = run(busy, max_attempts=3, reraise=True)

    assert (task.status, task.attempt) == ("new", attempt)
    assert task.run_at is not None


def test_place_conditions_pauses_and_time_are_passed_over() -> None:
    tasker.pause(operation="echo")
    never = {"scope": "active", "query": {"operation": "noop"}, "limit": 0}
    tasker.add_task("noop", priority=-5)
    task = tasker.add_task("echo", 5, concurrency=[never], run_at=timezone.now() + timedelta(days=1))

    assert run_task(task).result == 5


@either_way
def test_what_the_runner_writes_and_the_test_wrote_is_one_world() -> None:
    Group.objects.create(name="before")

    run(lambda task: Group.objects.create(name=f"after {Group.objects.get().name}") and None)

    assert Group.objects.filter(name="after before").exists()


@either_way
def test_what_a_failing_runner_wrote_stays_as_in_a_worker() -> None:
    def half(task: Any) -> None:
        Group.objects.create(name="half")
        raise ValueError

    run(half)

    assert Group.objects.filter(name="half").exists()


@either_way
def test_a_database_error_fails_the_task_and_spares_the_test() -> None:
    def twice(task: Any) -> None:
        Group.objects.create(name="twice")
        Group.objects.create(name="twice")

    task = run(twice)

    assert task.status == "failed"
    assert task.error is not None and task.error["type"] == "django.db.utils.IntegrityError"
    Group.objects.create(name="the test goes on")


@either_way
def test_a_database_error_that_the_runner_passed_over_is_no_success_where_it_broke_the_transaction() -> None:
    def twice(task: Any) -> None:
        Group.objects.create(name="twice")
        try:
            with transaction.atomic(savepoint=False):  # marks the transaction around it as broken
                Group.objects.create(name="twice")
        except IntegrityError:
            pass

    in_transaction = connection.in_atomic_block
    task = run(twice)

    assert task.status == ("failed" if in_transaction else "done")
    if in_transaction:
        assert task.error is not None and "transaction.atomic()" in task.error["message"]
    assert Group.objects.filter(name="twice").exists() is not in_transaction


@either_way
def test_a_runner_may_use_durable_blocks() -> None:
    def durable(task: Any) -> None:
        with transaction.atomic(durable=True):
            Group.objects.create(name="durable")

    assert run(durable).error is None
    assert Group.objects.filter(name="durable").exists()


def test_tasks_that_the_runner_adds_are_new() -> None:
    task = run(lambda running: str(tasker.add_task("noop").uuid))

    assert tasker.get_task(task.result).status == "new"


def test_a_runner_may_run_another_task() -> None:
    task = run(lambda running: run_task(tasker.add_task("echo", running.data)).result, "inner")

    assert (task.status, task.result) == ("done", "inner")


@either_way
def test_an_abort_that_is_asked_for_on_the_way_reaches_the_runner() -> None:
    reached: list[int] = []

    def pages(task: Any) -> None:
        for page in range(5):
            task.abort_signal.raise_if_aborted()
            reached.append(page)
            if page == 2:
                tasker.abort_task(task.uuid, "enough")

    task = run(pages)

    assert reached == [0, 1, 2]
    assert (task.status, task.abort_reason) == ("aborted", "enough")


@either_way
def test_an_abort_that_is_asked_for_cancels_a_coroutine() -> None:
    async def pages(task: Any) -> None:
        await tasker.aabort_task(task.uuid, "enough")
        await task.abort_signal.wait_async(10)
        raise AssertionError("not cancelled")

    task = run(pages)

    assert (task.status, task.abort_reason) == ("aborted", "enough")


def test_a_runner_that_returns_in_spite_of_its_abort_is_done() -> None:
    task = run(lambda running: tasker.abort_task(running.uuid) or 5)

    assert (task.status, task.result) == ("done", 5)


@either_way
def test_coroutines_see_the_rows_of_the_test_with_both_kinds_of_orm() -> None:
    from asgiref.sync import sync_to_async

    Group.objects.create(name="before")

    async def both(task: Any) -> list[str]:
        await Group.objects.acreate(name="async")
        await sync_to_async(Group.objects.create)(name="sync")
        task.logger.info("three by now")
        return [group.name async for group in Group.objects.order_by("name")]

    task = run(both)

    assert task.result == ["async", "before", "sync"]
    assert [entry.message for entry in task.logs] == ["three by now"]
    assert Group.objects.count() == 3


@pytest.mark.parametrize("error", [ValueError, SystemExit, RuntimeError])
def test_whatever_a_coroutine_raises_fails_it(error: type[BaseException]) -> None:
    async def broken(task: Any) -> None:
        raise error("no")

    task = run(broken)

    assert task.error is not None
    assert (task.status, task.error["type"]) == ("failed", error.__name__)


def test_exit_fails_the_task_and_an_interrupt_ends_the_test() -> None:
    def leave(task: Any) -> None:
        raise SystemExit(3)

    def interrupt(task: Any) -> None:
        raise KeyboardInterrupt

    assert run(leave).status == "failed"
    with pytest.raises(KeyboardInterrupt):
        run(interrupt)
    assert not tasker.has_task({"status": "running"})


def test_a_runner_can_fail_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match="must not be called"):
        run(lambda task: pytest.fail("must not be called"))


def test_only_new_tasks_are_run() -> None:
    task = run_task(tasker.add_task("noop"))

    with pytest.raises(InvalidTaskState, match="is done"):
        run_task(task)
    with pytest.raises(TaskNotFound):
        run_task(uuid4())


def test_an_operation_without_runner_is_the_tests_error() -> None:
    task = tasker.add_task("import-bok")

    with pytest.raises(ConfigurationError, match="import-bok"):
        run_task(task)

    assert tasker.get_task(task).status == "new"


def test_a_tasker_of_ones_own_has_its_runners() -> None:
    own = Tasker()
    own.assign_runner("mine", lambda task: "mine", log_level="warning")

    assert run_task(own.add_task("mine"), tasker=own).result == "mine"


def test_settings_of_the_test_are_obeyed() -> None:
    with override_tasker(LOG_LEVEL="ERROR", MAX_RESULT_BYTES=10, LOG_MAX_ENTRIES=1):
        task = run(lambda task: [task.logger.info("a"), task.logger.error("b"), task.logger.error("c"), "0123456789"])

    assert task.status == "failed"
    assert [entry.message for entry in task.logs] == [
        "b",
        "1 more log entries were dropped: the task's cap was reached.",
    ]


def test_the_projects_logging_is_as_before() -> None:
    before = (logging.root.level, list(logging.root.handlers))

    run(lambda task: task.logger.info("hello"))

    assert (logging.root.level, list(logging.root.handlers)) == before
