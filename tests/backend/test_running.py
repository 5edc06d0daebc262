"""Functions of django.tasks run by a worker: in processes, in threads and on the loop."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from django.db import connection

tasks = pytest.importorskip("django.tasks", reason="django.tasks came with Django 6.0")

from django.tasks import TaskResultStatus  # noqa: E402

from django_tasker import tasker  # noqa: E402
from django_tasker.backend import TaskerBackend  # noqa: E402
from django_tasker.models import Task, TaskLog  # noqa: E402
from django_tasker.testing import drain  # noqa: E402
from tests import tasks as sample  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


def ended(result):
    result.refresh()
    assert result.is_finished, result.status
    return result


def trail_of(path: Path) -> list[str]:
    """What the signals told, without the process that heard them."""
    return [line.rsplit(" ", 1)[0] for line in path.read_text().splitlines()]


def test_function_runs_in_a_process(run_all):
    result = sample.echo.enqueue(1, [2], key={"a": None})
    run_all(executor="process")

    value = ended(result).return_value

    assert (value["args"], value["kwargs"]) == ([1, [2]], {"key": {"a": None}})
    assert value["pid"] != os.getpid()


def test_log_of_a_task_is_what_its_function_logs(run_all):
    result, failing = sample.echo.enqueue(), sample.fail.enqueue()
    run_all(executor="thread")

    entries = TaskLog.objects.values_list("task__uuid", "logger", "message")

    assert [(str(uuid), *what) for uuid, *what in entries] == [(result.id, "tests.sample", "echo")]
    assert tasker.get_task(failing.id).error_count == 0


def test_function_runs_in_a_thread(run_all):
    result = sample.echo.enqueue()
    run_all(executor="thread")

    value = ended(result).return_value

    assert value["pid"] == os.getpid()
    assert value["thread"] != threading.current_thread().name


def test_executor_of_the_backend_is_that_of_its_functions(run_all):
    result = sample.echo_in_thread.enqueue()
    run_all(executor="process")

    assert ended(result).return_value["pid"] == os.getpid()


def test_coroutine_function_runs_on_the_loop(run_all):
    result = sample.echo_on_loop.enqueue(1, key="value")
    run_all(executor="process")

    value = ended(result).return_value

    assert (value["args"], value["kwargs"], value["pid"]) == ([1], {"key": "value"}, os.getpid())


def test_functions_run_by_priority_highest_first(run_all, told):
    for priority in (0, -3, 100, 4):
        sample.add.using(priority=priority).enqueue(1, 2)
    run_all(executor="thread")

    started = [heard.task.priority for name, heard in told if name == "task_started"]

    assert started == [100, 4, 0, -3]


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_context_is_that_of_the_run(run_all, executor):
    result = sample.describe.enqueue(key="value")
    run_all(executor=executor)

    value = ended(result).return_value

    assert value == {
        "id": result.id,
        "status": TaskResultStatus.RUNNING,
        "attempt": 1,
        "kwargs": {"key": "value"},
        "started": True,
        "enqueued": True,
        "workers": ["here"],
        "operation": "tests.tasks.describe",
    }
    assert tasker.get_task(result.id).progress["current"] == 1


def test_coroutine_function_has_a_context_too(run_all):
    result = sample.describe_on_loop.enqueue()
    run_all()

    assert ended(result).return_value == {"id": result.id, "attempt": 1}


def test_task_added_by_its_path_runs(run_all):
    task = tasker.add_task("tests.tasks.add", {"kwargs": {"a": 1, "b": 2}}, unique_key="sum")
    run_all(executor="thread")

    assert tasker.get_task(task.uuid).result == 3


def test_paused_function_waits(run_all):
    result = sample.add.enqueue(1, 2)
    tasker.pause(operation="tests.tasks.add")
    run_all(executor="thread")

    result.refresh()

    assert result.status == TaskResultStatus.READY


@pytest.mark.django_db(transaction=False)
def test_functions_run_within_a_test_of_ones_own():
    succeeding = [sample.add.enqueue(1, 2), sample.add_slowly.enqueue(3, 4)]
    failing = sample.fail.enqueue("the reason")

    drain()

    assert [ended(result).return_value for result in succeeding] == [3, 7]
    assert "the reason" in ended(failing).errors[0].traceback


# -- signals ----------------------------------------------------------------------------------------------------------


def test_started_and_finished_are_sent_where_the_function_runs(run_all, told):
    result = sample.add.enqueue(1, 2)
    run_all(executor="thread")

    assert [(name, heard.id, heard.status, heard.attempts) for name, heard in told] == [
        ("task_enqueued", result.id, TaskResultStatus.READY, 0),
        ("task_started", result.id, TaskResultStatus.RUNNING, 1),
        ("task_finished", result.id, TaskResultStatus.SUCCESSFUL, 1),
    ]
    assert told[-1][1].return_value == 3
    assert told[-1][1].finished_at >= told[-1][1].started_at


def test_started_and_finished_are_sent_on_the_loop(run_all, told):
    sample.add_slowly.enqueue(1, 2)
    sample.fail_on_loop.enqueue()
    run_all()

    ends = {heard.task.name: heard for name, heard in told if name == "task_finished"}
    assert ends["add_slowly"].return_value == 3
    assert [error.exception_class for error in ends["fail_on_loop"].errors] == [KeyError]


def test_started_and_finished_are_sent_in_child_processes(run_all, tmp_path):
    trail = tmp_path / "trail"
    sample.echo.enqueue(trail=str(trail))
    run_all(executor="process")

    assert trail_of(trail) == ["started RUNNING 1", "finished SUCCESSFUL 1"]
    assert f" {os.getpid()}" not in trail.read_text()


def test_failure_is_told_with_its_error(run_all, told):
    sample.fail.enqueue("the reason")
    run_all(executor="thread")

    name, result = told[-1]
    assert (name, result.status) == ("task_finished", TaskResultStatus.FAILED)
    assert "the reason" in result.errors[0].traceback


@pytest.mark.parametrize("by", ["error", "retry"])
def test_attempt_that_is_repeated_is_not_finished(run_all, told, by):
    sample.succeed_at.using(backend="patient").enqueue(2, by=by)
    run_all(executor="thread")

    assert [(name, heard.attempts) for name, heard in told[1:]] == [
        ("task_started", 1),
        ("task_started", 2),
        ("task_finished", 2),
    ]


def test_postponed_task_is_not_finished(run_all, told):
    result = sample.postpone_once.enqueue()
    run_all(executor="thread")

    assert [name for name, _ in told] == ["task_enqueued", "task_started", "task_started", "task_finished"]
    assert ended(result).return_value == 2


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_aborted_task_is_told_of_once_by_who_wrote_its_end(run_all, told, tmp_path, executor, settings):
    settings.TASKER = {"ABORT_GRACE": 0.5}
    path, trail = tmp_path / "began", tmp_path / "trail"
    result = sample.touch_and_sleep.enqueue(str(path), trail=str(trail))

    def abort() -> None:
        wait_until(path.exists, timeout=60)
        tasker.abort_task(result.id, "enough")
        connection.close()

    aborter = threading.Thread(target=abort)
    aborter.start()
    run_all(executor=executor)
    aborter.join()

    assert trail_of(trail) == ["started RUNNING 1", "finished FAILED 1"]
    name, heard = told[-1]
    assert (name, heard.id) == ("task_finished", result.id)
    assert heard.errors[0].traceback.endswith("enough")


def test_task_aborted_while_new_is_told_of(told):
    result = sample.add.enqueue(1, 2)

    tasker.abort_task(result.id)

    assert [(name, heard.status) for name, heard in told[1:]] == [("task_finished", TaskResultStatus.FAILED)]


def test_task_whose_process_died_is_told_of_at_its_end(run_all, told):
    sample.die.enqueue()
    run_all(executor="process")

    assert [(name, heard.status) for name, heard in told[1:]] == [("task_finished", TaskResultStatus.FAILED)]


def test_other_tasks_are_not_told_of(run_all, told):
    tasker.add_task("fail", {})
    aborted = tasker.add_task("echo")
    tasker.abort_task(aborted)
    run_all(executor="thread")

    assert told == []


def test_receiver_that_raises_harms_no_task(run_all, caplog):
    def raise_it(**_):
        raise RuntimeError("from a receiver")

    signals = [tasks.signals.task_enqueued, tasks.signals.task_started, tasks.signals.task_finished]
    for signal in signals:
        signal.connect(raise_it, sender=TaskerBackend)
    try:
        result = sample.add.enqueue(1, 2)
        run_all(executor="thread")
    finally:
        for signal in signals:
            signal.disconnect(raise_it, sender=TaskerBackend)

    assert ended(result).return_value == 3


# -- what goes wrong --------------------------------------------------------------------------------------------------


def failure_of(result):
    assert ended(result).status == TaskResultStatus.FAILED
    return result.errors[-1]


def test_function_that_returns_no_json_has_failed(run_all, told):
    result = sample.return_object.enqueue()
    run_all(executor="thread")

    assert failure_of(result).exception_class is TypeError
    assert told[-1][1].status == TaskResultStatus.FAILED


def test_function_that_returns_what_no_database_stores_has_failed(run_all, told):
    result = sample.return_nan.enqueue()
    run_all(executor="thread")

    assert "result is nan" in failure_of(result).traceback
    assert told[-1][1].status == TaskResultStatus.FAILED


def test_function_that_is_called_wrongly_has_failed(run_all):
    result = sample.add.enqueue(1, 2, 3)
    run_all(executor="thread")

    assert failure_of(result).exception_class is TypeError


def test_function_that_is_gone_when_its_task_starts_has_failed(run_all, monkeypatch):
    result = sample.vanish.enqueue()
    with monkeypatch.context() as patch:
        patch.delattr(sample, "vanish")
        run_all(executor="thread")

    error = failure_of(result)

    assert error.exception_class_path == "django.tasks.exceptions.InvalidTask"
    assert "no task at 'tests.tasks.vanish'" in error.traceback


def test_name_that_is_no_task_any_more_is_not_called(run_all, monkeypatch):
    result = sample.vanish.enqueue()
    called = []
    with monkeypatch.context() as patch:
        patch.setattr(sample, "vanish", lambda: called.append(1))
        run_all(executor="thread")

    assert "is a function" in failure_of(result).traceback
    assert called == []


@pytest.mark.parametrize("data", [[1, 2], "text", {"args": {"a": 1}}, {"kwargs": [1]}])
def test_spoiled_data_fails_its_task(run_all, data):
    result = sample.add.enqueue(1, 2)
    Task.objects.filter(uuid=result.id).update(data=data)
    run_all(executor="thread")

    row = tasker.get_task(result.id)
    assert row.status == "failed"
    assert 'a list "args"' in row.error["message"]


def test_rows_operation_that_no_decorator_named_is_not_imported(run_all):
    task = tasker.add_task("tests.tasks.plain", {"args": [1], "kwargs": {}, "backend": "default"})
    run_all(executor="thread")

    assert tasker.get_task(task.uuid).status == "new"
