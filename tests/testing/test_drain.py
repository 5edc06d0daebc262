"""Draining the queue in a test."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_tasker import Postpone, Tasker, tasker
from django_tasker.errors import ConfigurationError, InvalidTask
from django_tasker.models import Task
from django_tasker.testing import EndlessDrain, assigned_runner, drain, override_tasker
from tests.testing.transactions import either_way

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def data(tasks: list[Task]) -> list[Any]:
    return [task.data for task in tasks]


@either_way
def test_due_tasks_run_in_queue_order() -> None:
    for number, priority in enumerate([0, -5, float("inf"), -5, float("-inf")]):
        tasker.add_task("echo", number, priority=priority)

    ran = drain()

    assert data(ran) == [4, 1, 3, 0, 2]
    assert {task.status for task in ran} == {"done"}
    assert drain() == []


def test_tasks_of_all_executors_run_in_the_one_order() -> None:
    async def coroutine(task: Any) -> None: ...

    with assigned_runner("coroutine", coroutine), assigned_runner("thread", lambda task: None, executor="thread"):
        for operation in ("thread", "coroutine", "noop", "coroutine"):
            tasker.add_task(operation)
        ran = drain()

    assert [task.operation for task in ran] == ["thread", "coroutine", "noop", "coroutine"]


@either_way
def test_tasks_that_runners_add_take_their_place() -> None:
    def parent(task: Any) -> None:
        tasker.add_task("echo", "urgent", priority=-1)
        tasker.add_task("echo", "later", priority=1)

    with assigned_runner("parent", parent):
        tasker.add_task("parent", "parent")
        tasker.add_task("echo", "next")
        ran = drain()

    assert data(ran) == ["parent", "urgent", "next", "later"]


def test_what_is_not_due_waits() -> None:
    tasker.add_task("echo", "later", run_at=timezone.now() + DAY)
    tasker.add_task("echo", "now", run_at=timezone.now() - DAY)

    assert data(drain()) == ["now"]


def test_future_tasks_run_in_the_order_of_their_times() -> None:
    now = timezone.now()
    for days in (3, 1, 2):
        tasker.add_task("echo", days, run_at=now + days * DAY, priority=-days)

    ran = drain(future=True)

    assert data(ran) == [1, 2, 3]
    assert [task.run_at for task in ran] == [now + days * DAY for days in (1, 2, 3)]
    assert all(task.run_at <= task.started_at <= task.ended_at for task in ran)


@pytest.mark.parametrize("until", ["for so long", "until then"])
def test_time_passes_as_far_as_it_is_told(until: str) -> None:
    now = timezone.now()
    for days in (1, 3):
        tasker.add_task("echo", days, run_at=now + days * DAY)

    ran = drain(future=2 * DAY if until == "for so long" else now + 2 * DAY)

    assert data(ran) == [1]


@either_way
def test_retries_run_when_their_delay_has_passed() -> None:
    def second_time(task: Any) -> int:
        if task.attempt < 3:
            raise ValueError
        return int(task.attempt)

    with assigned_runner("flaky", second_time, max_attempts=5, retry_delay=60):
        tasker.add_task("flaky")
        [waiting] = drain()
        [done] = drain(future=True)

    assert (waiting.status, waiting.attempt) == ("new", 1)
    assert (done.status, done.result) == ("done", 3)


def test_a_retry_without_delay_is_due_at_once() -> None:
    def broken(task: Any) -> None:
        raise ValueError(task.attempt)

    with override_tasker(RETRY_DELAY=0), assigned_runner("broken", broken, max_attempts=3):
        tasker.add_task("broken")
        [task] = drain()

    assert (task.status, task.attempt) == ("failed", 3)


def test_a_postponed_task_runs_on_the_days_that_pass() -> None:
    days: list[int] = []

    def daily(task: Any) -> None:
        days.append(len(days))
        raise Postpone(delay=DAY)

    with assigned_runner("daily", daily):
        tasker.add_task("daily")
        drain(future=3 * DAY + timedelta(hours=1))

    assert days == [0, 1, 2, 3]


@either_way
def test_conditions_and_pauses_are_respected() -> None:
    tasker.add_task("echo", "blocked", concurrency=[{"scope": "active", "query": {"data": "held"}, "limit": 0}])
    tasker.add_task("echo", "held", run_at=timezone.now() + DAY)
    held = tasker.add_task("echo", "held", queue="paused", priority=-1)
    tasker.pause(queue="paused")
    tasker.add_task("echo", "free")

    assert data(drain()) == ["free"]
    tasker.resume(queue="paused")
    assert data(drain()) == ["held", "blocked"]
    assert tasker.get_task(held).status == "done"


def test_conditions_that_look_at_running_tasks_count_those_of_the_database() -> None:
    busy = tasker.add_task("noop", 7)
    Task.objects.filter(pk=busy.pk).update(status="running", hold=-1, worker_id=1, started_at=timezone.now())
    tasker.add_task("echo", 7, concurrency=[{"scope": "running", "query": {"data": 7}, "limit": 0}])

    assert drain() == []


def test_conditions_of_the_settings_are_respected() -> None:
    condition = {"scope": "active", "query": {"operation": "noop"}, "limit": 0, "for": {"operation": "echo"}}
    tasker.add_task("noop", run_at=timezone.now() + DAY)

    with override_tasker(CONDITIONS=[{**condition, "scope": "queued_before"}]):
        tasker.add_task("echo", priority=5)
        assert len(drain()) == 1


def test_assertions_are_asked() -> None:
    answers: list[bool] = []
    own = Tasker()
    own.assign_runner("guarded", lambda task: None)
    own.assign_assertion("open", lambda: bool(answers))
    own.add_task("guarded", concurrency=[{"assert": "open"}])

    assert drain(tasker=own) == []
    answers.append(True)
    assert len(drain(tasker=own)) == 1


def test_queue_timeouts_are_applied() -> None:
    tasker.pause(operation="echo")
    task = tasker.add_task("echo", queue_timeout={"after": 60, "then": "abort"})
    tasker.add_task("noop", run_at=timezone.now() + timedelta(seconds=90))

    drain(future=True)

    assert tasker.get_task(task).status == "aborted"


def test_operations_and_queues_are_chosen_as_a_worker_does() -> None:
    for operation, queue in [("echo", "a"), ("echo", "b"), ("noop", "a")]:
        tasker.add_task(operation, f"{operation} {queue}", queue=queue)

    assert data(drain(queues=["a"], operations=["echo"])) == ["echo a"]
    assert data(drain(exclude=["noop"])) == ["echo b"]
    with pytest.raises(ConfigurationError, match="ecko"):
        drain(operations=["ecko"])


def test_tasks_without_runner_stay() -> None:
    task = tasker.add_task("of another project")

    assert drain() == []
    assert tasker.get_task(task).status == "new"


def test_failures_are_recorded_and_the_rest_goes_on() -> None:
    def broken(task: Any) -> None:
        raise ValueError("no")

    with assigned_runner("broken", broken):
        tasker.add_task("broken")
        tasker.add_task("noop")
        assert [task.status for task in drain()] == ["failed", "done"]

        tasker.add_task("broken")
        with pytest.raises(ValueError, match="no"):
            drain(reraise=True)


@either_way
def test_a_queue_that_never_ends_is_an_error_that_says_so() -> None:
    def again(task: Any) -> None:
        tasker.add_task("again")

    with assigned_runner("again", again):
        tasker.add_task("again")
        with pytest.raises(EndlessDrain, match=r"has run 20 tasks \('again' 20 times\), and 'again' .* would be next"):
            drain(limit=20)

    assert tasker.count_tasks({"status": "done"}) == 20
    assert tasker.count_tasks({"status": "new"}) == 1
    assert not tasker.has_task({"status": "running"})


def test_as_many_as_the_limit_are_fine() -> None:
    tasker.add_tasks({"operation": "noop"} for _ in range(5))

    assert len(drain(limit=5)) == 5


def test_a_task_that_is_postponed_for_ever_is_an_endless_loop() -> None:
    def closed(task: Any) -> None:
        raise Postpone(delay=DAY)

    with assigned_runner("closed", closed):
        tasker.add_task("closed")
        assert len(drain()) == 1
        with pytest.raises(EndlessDrain):
            drain(future=True, limit=30)


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": True}, {"limit": "5"}])
def test_a_limit_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match="limit must be"):
        drain(**wrong)


@pytest.mark.parametrize("wrong", [5, "tomorrow", datetime(2030, 1, 1), None])
def test_a_future_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidTask, match="future must be"):
        drain(future=wrong)


def test_a_frozen_clock_counts_on_every_database() -> None:
    then = datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone.get_default_timezone())
    with mock.patch("django.utils.timezone.now", return_value=then):
        tasker.add_task("echo", "later", run_at=then + timedelta(hours=1))
        tasker.add_task("echo", "now")
        [task] = drain()

    assert (task.data, task.started_at, task.ended_at) == ("now", then, then)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="its isolation level is set at the begin only")
def test_the_tests_transaction_may_have_another_isolation_level() -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        tasker.add_task("echo", concurrency=[{"scope": "running", "query": {"operation": "echo"}, "limit": 0}])

        assert len(drain()) == 1


def test_many_tasks_behind_a_full_condition_are_passed_over() -> None:
    one = [{"scope": "queued_before", "query": {"data.book": {"$ref": "data.book"}}, "limit": 0}]
    tasker.add_tasks({"operation": "echo", "data": {"book": 1, "n": n}, "concurrency": one} for n in range(100))

    ran = drain()

    assert [task.data["n"] for task in ran] == list(range(100))
