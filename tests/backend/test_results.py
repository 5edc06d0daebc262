"""What `get_result` says of a task, wherever it is in its life."""

from __future__ import annotations

import sys
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

tasks = pytest.importorskip("django.tasks", reason="django.tasks came with Django 6.0")

from django.tasks import TaskResultStatus, default_task_backend  # noqa: E402
from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch  # noqa: E402

from django_tasker import tasker  # noqa: E402
from django_tasker.models import Task  # noqa: E402
from django_tasker.registry import registry  # noqa: E402
from tests import tasks as sample  # noqa: E402

pytestmark = pytest.mark.django_db

THREAD = {"executor": "thread"}


def test_waiting_task_is_ready():
    later = timezone.now() + timedelta(hours=1)
    enqueued = sample.echo.using(run_after=later).enqueue(1, key="value")

    result = default_task_backend.get_result(enqueued.id)

    assert result == enqueued
    assert (result.task.priority, result.task.queue_name, result.task.run_after) == (7, "mail", later)


def test_done_task_is_successful(run_all):
    result = sample.add.enqueue(2, 3)
    run_all(**THREAD)

    result.refresh()

    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == 5
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert (result.worker_ids, result.attempts, result.errors, result.is_finished) == (["here"], 1, [], True)


def test_failed_task_has_its_error(run_all):
    result = sample.fail.enqueue("the reason")
    run_all(**THREAD)

    result.refresh()

    assert result.status == TaskResultStatus.FAILED
    [error] = result.errors
    assert error.exception_class is ValueError
    assert error.exception_class_path == "builtins.ValueError"
    assert "the reason" in error.traceback
    assert "tests/tasks.py" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_every_attempt_has_its_worker_and_its_error(run_all):
    result = sample.succeed_at.using(backend="patient").enqueue(3)
    for name in ("first", "second"):
        run_all(**THREAD, max_tasks=1, name=name)

    result.refresh()

    assert result.status == TaskResultStatus.FAILED
    assert (result.worker_ids, result.attempts) == (["first", "second"], 2)
    assert [error.traceback.splitlines()[-1] for error in result.errors] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    assert result.started_at < result.last_attempted_at < result.finished_at


def test_task_between_two_attempts_is_ready(run_all):
    result = sample.succeed_at.using(backend="patient").enqueue(2)
    run_all(**THREAD, max_tasks=1)

    result.refresh()

    assert (result.status, result.attempts, len(result.errors)) == (TaskResultStatus.READY, 1, 1)
    assert result.started_at == result.last_attempted_at
    assert result.finished_at is None


def test_retried_then_aborted_task_counts_its_attempt_once(run_all):
    result = sample.succeed_at.using(backend="patient").enqueue(2)
    run_all(**THREAD, max_tasks=1)
    tasker.abort_task(result.id, "enough")

    result.refresh()

    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 1)
    assert [error.exception_class_path for error in result.errors] == [
        "builtins.ValueError",
        "django_tasker.errors.TaskAborted",
    ]


def test_task_that_is_retried_by_hand_keeps_its_past(run_all):
    result = sample.fail.enqueue()
    run_all(**THREAD)
    tasker.retry_task(result.id)

    result.refresh()

    assert (result.status, result.attempts, len(result.errors)) == (TaskResultStatus.READY, 1, 1)


def test_aborted_task_is_failed_with_the_reason():
    result = sample.add.enqueue(1, 2)
    tasker.abort_task(result.id, "not needed")

    result.refresh()

    assert (result.status, result.attempts, result.started_at) == (TaskResultStatus.FAILED, 0, None)
    [error] = result.errors
    assert error.exception_class.__name__ == "TaskAborted"
    assert error.traceback == "django_tasker.errors.TaskAborted: not needed"


def test_task_whose_process_died_is_failed(run_all):
    result = sample.die.enqueue()
    run_all(executor="process")

    result.refresh()

    assert result.status == TaskResultStatus.FAILED
    assert result.attempts == 3
    assert {error.exception_class.__name__ for error in result.errors} == {"TaskFailed"}
    assert "exit code 7" in result.errors[0].traceback


def test_what_an_operator_changes_shows_in_the_result():
    result = sample.add.enqueue(1, 2)
    tasker.update_task(result.id, priority=float("-inf"), queue="no queue of TASKS", data={"args": [3, 4]})

    changed = default_task_backend.get_result(result.id)

    assert (changed.task.priority, changed.task.queue_name) == (100, "default")
    assert (changed.args, changed.kwargs) == ([3, 4], {})


async def test_async_twins_do_the_same(closed_async_thread):
    enqueued = await sample.add.aenqueue(1, 2)

    result = await sample.add.aget_result(enqueued.id)
    await result.arefresh()

    assert result == enqueued


def test_result_names_the_backend_that_enqueued():
    enqueued = sample.add.using(backend="patient").enqueue(1, 2)

    result = default_task_backend.get_result(enqueued.id)

    assert (result.backend, result.task.backend) == ("patient", "patient")


def test_task_added_by_its_path_has_a_result_too():
    task = tasker.add_task("tests.tasks.add", {"args": [1, 2]}, unique_key="sum")

    assert sample.add.get_result(str(task.uuid)).args == [1, 2]


# -- what there is not ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["", "7", "x" * 500, "not-a-uuid", None, 7, object(), "\0"])
def test_malformed_id_has_no_result(wrong):
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(wrong)


def test_unknown_id_has_no_result():
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(str(uuid.uuid4()))


async def test_unknown_id_has_no_result_for_async_callers(closed_async_thread):
    with pytest.raises(TaskResultDoesNotExist):
        await default_task_backend.aget_result(str(uuid.uuid4()))


@pytest.mark.parametrize("operation", ["echo", "this", "an operation", "antigravity.fly"])
def test_task_that_is_no_function_has_no_result_and_imports_nothing(operation):
    task = tasker.add_task(operation, {"args": []})

    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result(str(task.uuid))

    assert not {"this", "antigravity"} & sys.modules.keys()


def test_result_of_another_function_is_a_mismatch():
    result = sample.add.enqueue(1, 2)

    with pytest.raises(TaskResultMismatch):
        sample.echo.get_result(result.id)


@pytest.mark.parametrize("known", [True, False], ids=["decorated here", "not decorated here"])
def test_result_whose_function_is_gone_is_a_mismatch(monkeypatch, known):
    result = sample.vanish.enqueue()
    monkeypatch.delattr(sample, "vanish")
    if not known:
        monkeypatch.delitem(registry._assigned, "tests.tasks.vanish")

    with pytest.raises(TaskResultMismatch, match=r"no task at 'tests\.tasks\.vanish'"):
        default_task_backend.get_result(result.id)


def test_result_whose_data_was_spoiled_is_a_mismatch():
    result = sample.add.enqueue(1, 2)
    tasker.update_task(result.id, data={"args": "no list"})

    with pytest.raises(TaskResultMismatch, match='a list "args"'):
        default_task_backend.get_result(result.id)


def test_result_of_a_backend_that_is_gone_is_that_of_the_functions_own():
    result = sample.add.using(backend="patient").enqueue(1, 2)
    Task.objects.update(data={"args": [1, 2], "kwargs": {}, "backend": "renamed"})

    assert default_task_backend.get_result(result.id).backend == "default"


def test_result_of_a_backend_that_is_another_now_is_a_mismatch():
    result = sample.add.enqueue(1, 2)
    Task.objects.update(data={"args": [1, 2], "kwargs": {}, "backend": "immediate"})

    with pytest.raises(TaskResultMismatch, match="no TaskerBackend"):
        default_task_backend.get_result(result.id)
