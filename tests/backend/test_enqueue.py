"""Enqueueing through django.tasks: what the row is then, what is refused, and when it is told."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone

tasks = pytest.importorskip("django.tasks", reason="django.tasks came with Django 6.0")

from django.tasks import TaskResultStatus, default_task_backend, task_backends  # noqa: E402
from django.tasks.exceptions import InvalidTask  # noqa: E402

from django_tasker import tasker  # noqa: E402
from django_tasker.backend import TaskerBackend  # noqa: E402
from django_tasker.models import Task  # noqa: E402
from django_tasker.registry import registry  # noqa: E402
from tests import tasks as sample  # noqa: E402

pytestmark = pytest.mark.django_db


def row_of(result) -> Task:
    return Task.objects.get(uuid=result.id)


def test_everything_is_supported():
    backend = default_task_backend

    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


def test_enqueued_task_is_a_row_of_its_functions_operation():
    result = sample.add.enqueue(2, b=3)

    row = row_of(result)
    assert row.operation == "tests.tasks.add"
    assert row.data == {"args": [2], "kwargs": {"b": 3}, "backend": "default"}
    assert (row.status, row.priority, row.queue, row.run_at) == ("new", 0, "default", None)


def test_result_of_enqueueing_is_ready():
    result = sample.add.enqueue(2, b=(3, "x"))

    assert str(UUID(result.id)) == result.id
    assert result.status == TaskResultStatus.READY
    assert (result.args, result.kwargs, result.backend) == ([2], {"b": [3, "x"]}, "default")
    assert result.enqueued_at == row_of(result).added_at
    assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
    assert (result.errors, result.worker_ids, result.attempts, result.is_finished) == ([], [], 0, False)
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value


def test_priority_is_negated_so_that_the_highest_of_django_runs_first():
    results = [sample.add.using(priority=priority).enqueue(1, 2) for priority in (-100, 5, 0, 100)]

    first_to_last = [str(task.uuid) for task in Task.objects.in_queue_order()]

    assert [row_of(result).priority for result in results] == [100, -5, 0, -100]
    assert first_to_last == [results[index].id for index in (3, 1, 2, 0)]


def test_queue_and_time_come_from_using():
    later = timezone.now() + timedelta(hours=1)

    row = row_of(sample.add.using(queue_name="mail", run_after=later).enqueue(1, 2))

    assert (row.queue, row.run_at) == ("mail", later)


def test_decorator_says_queue_and_priority():
    row = row_of(sample.echo.enqueue())

    assert (row.queue, row.priority) == ("mail", -7)


def test_options_of_the_backend_are_those_of_its_tasks():
    row = row_of(sample.add.using(backend="patient", queue_name="any").enqueue(1, 2))

    assert (row.max_attempts, row.retry_delay, row.run_timeout, row.queue) == (2, 0, 60, "any")
    assert row.data["backend"] == "patient"
    assert row_of(sample.add.enqueue(1, 2)).max_attempts == 1


async def test_aenqueue_does_the_same(closed_async_thread):
    result = await sample.add.aenqueue(2, b=3)

    row = await Task.objects.aget(uuid=result.id)
    assert row.data == {"args": [2], "kwargs": {"b": 3}, "backend": "default"}


@pytest.mark.django_db(transaction=True)
def test_rolled_back_transaction_enqueues_and_tells_nothing(told):
    with pytest.raises(KeyError), transaction.atomic():
        sample.add.enqueue(1, 2)
        raise KeyError

    assert not Task.objects.exists()
    assert told == []


@pytest.mark.django_db(transaction=True)
def test_task_enqueued_is_sent_after_the_commit(told):
    with transaction.atomic():
        result = sample.add.enqueue(1, 2)
        before = list(told)

    assert before == []
    assert [(name, told_result.id) for name, told_result in told] == [("task_enqueued", result.id)]


@pytest.mark.django_db(transaction=True)
def test_sender_of_task_enqueued_is_the_backend_class():
    senders = []

    def hear(sender, **_):
        senders.append(sender)

    tasks.signals.task_enqueued.connect(hear)
    sample.add.enqueue(1, 2)

    assert senders == [TaskerBackend]


# -- the operation ----------------------------------------------------------------------------------------------------


def test_functions_are_operations_of_their_kind():
    assigned = registry.operations()

    assert assigned["tests.tasks.add"].executor is None
    assert assigned["tests.tasks.add_slowly"].executor == "coroutine"
    assert assigned["tests.tasks.echo_in_thread"].executor == "thread"
    assert "tests.tasks.plain" not in assigned


def test_another_backend_leaves_the_executor_of_an_operation():
    sample.add.using(backend="patient").enqueue(1, 2)

    assert registry.operations()["tests.tasks.add"].executor is None


def test_explain_tells_when_no_worker_runs_the_function():
    result = sample.add.enqueue(1, 2)

    explanation = tasker.explain_task(result.id)

    assert [reason.kind for reason in explanation.reasons] == ["no_worker"]
    assert "'tests.tasks.add'" in explanation.reasons[0].message


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queue_name": "unheard-of"}, "Queue 'unheard-of' is not valid"),
        ({"priority": 101}, "whole number between -100 and 100"),
        ({"priority": 1.5}, "whole number between -100 and 100"),
        ({"run_after": timezone.now().replace(tzinfo=None)}, "aware"),
        ({"backend": "patient", "queue_name": " padded "}, "queue must be a text that is not empty nor padded"),
        ({"backend": "patient", "queue_name": "q" * 101}, "at most 100"),
    ],
)
def test_wrong_task_is_refused(change, message):
    with pytest.raises(InvalidTask, match=message):
        sample.add.using(**change).enqueue(1, 2)

    assert not Task.objects.exists()


@pytest.mark.parametrize("argument", [object(), timezone.now(), {1, 2}, {"deep": [object()]}])
def test_argument_that_is_no_json_is_a_type_error(argument):
    with pytest.raises(TypeError, match="Unsupported type"):
        sample.add.enqueue(argument, b=1)

    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (float("nan"), r"data\.args\[0\] is nan"),
        ("a\0b", r"data\.args\[0\] contains a NUL"),
        ("\udcff", r"data\.args\[0\] contains a lone surrogate"),
        ({1: 2}, r"data\.args\[0\] has the key 1"),
        (2**70, r"data\.args\[0\] is an integer of more than 64 bits"),
        ("x" * 1_000_001, "at most 1,000,000 are allowed"),
    ],
)
def test_argument_that_no_database_stores_is_refused_by_its_place(argument, message):
    with pytest.raises(InvalidTask, match=message):
        sample.add.enqueue(argument)

    assert not Task.objects.exists()


def test_function_inside_another_is_refused():
    def inner():
        pass

    with pytest.raises(InvalidTask, match="module level"):
        tasks.task(inner)


def test_function_that_is_no_task_at_its_path_is_refused():
    task = tasks.task(sample.plain)

    with pytest.raises(InvalidTask, match=r"'tests\.tasks\.plain' is a function"):
        task.enqueue(1)


def test_function_that_is_not_at_its_path_is_refused(monkeypatch):
    monkeypatch.delattr(sample, "vanish")

    with pytest.raises(InvalidTask, match=r"no task at 'tests\.tasks\.vanish'"):
        tasks.task(lambda_named("vanish")).enqueue()


def test_another_function_at_its_path_is_refused():
    impostor = tasks.task(lambda_named("add"))

    with pytest.raises(InvalidTask, match="is another task"):
        impostor.enqueue(1, 2)


def lambda_named(name):
    def function(*args):
        pass

    function.__module__, function.__qualname__ = "tests.tasks", name
    return function


def test_path_that_a_runner_has_for_its_operation_is_refused():
    name = "tests.backend.test_enqueue.taken"
    registry.assign(name, sample.plain)

    with pytest.raises(InvalidTask, match=r"has a runner already: tests\.tasks:plain"):
        tasks.task(taken)


def taken():
    pass


def test_path_that_is_too_long_for_an_operation_is_refused():
    function = lambda_named("x" * 200)

    with pytest.raises(InvalidTask, match="1 to 200 characters"):
        tasks.task(function)


def test_task_of_another_backend_may_be_given_to_this_one():
    elsewhere = sample.add.using(backend="immediate")

    result = elsewhere.using(backend="default").enqueue(1, 2)

    assert row_of(result).operation == "tests.tasks.add"
    assert task_backends["immediate"].supports_defer is False
