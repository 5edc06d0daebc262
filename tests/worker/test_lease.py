"""A worker that can't renew its lease lets go of its tasks, and they are not charged for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.utils import timezone

from django_tasker import lifecycle, tasker
from django_tasker.admission import Admission
from django_tasker.conf import options
from django_tasker.databases import alias
from django_tasker.models import Attempt, Task, TaskLog, Worker
from django_tasker.testing import assigned_runner
from django_tasker.worker import worker as worker_module
from django_tasker.worker.rescue import rescue
from django_tasker.worker.settings import WorkerSettings
from django_tasker.worker.worker import TaskWorker
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "the worker has lost the database"


class Beat:
    """In place of a worker's beat: silent, or refused, until it is well again."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.well = threading.Event()

    def __call__(self, *_: Any) -> bool:
        if self.how == "silent":
            self.well.wait(PATIENCE)
        elif not self.well.is_set():
            raise OperationalError("no connection")
        return True


@pytest.mark.parametrize("how", ["silent", "refused"])
@pytest.mark.parametrize(("on_stop", "end"), [("postpone", ("done", None)), ("abort", ("aborted", WHY))])
def test_runs_end_with_the_lease_by_their_on_stop(how, on_stop, end, settings, monkeypatch) -> None:
    settings.TASKER = {"LEASE": 0.5, "HEARTBEAT": 0.2}
    beat, lives = Beat(how), []
    monkeypatch.setattr(worker_module, "beat", beat)
    monkeypatch.setattr(worker_module, "tidying", lambda *_: ())  # it would find itself lost: no beat stamps its row

    def waits(task):
        lives.append(task.attempt)
        if len(lives) == 1:
            task.abort_signal.wait(PATIENCE)
            task.abort_signal.raise_if_aborted()

    with assigned_runner("waits", waits, executor="thread"):
        task = tasker.add_task("waits", on_stop=on_stop)
        worker = TaskWorker(WorkerSettings(concurrency=1))
        worker.start()
        wait_until(lambda: Attempt.objects.exists() or Task.objects.get(pk=task.pk).ended_at)
        beat.well.set()
        wait_until(lambda: Task.objects.get(pk=task.pk).ended_at)
        worker.stop()

    found = Task.objects.get(pk=task.pk)
    assert (found.status, found.abort_reason, found.losses) == (*end, 0)
    assert lives == ([1, 1] if on_stop == "postpone" else [1])
    assert [attempt.outcome for attempt in Attempt.objects.filter(task=task)] == ["stopped"] * (on_stop == "postpone")


def test_task_that_comes_back_to_the_worker_that_has_it_has_one_run(monkeypatch, settings) -> None:
    """Taken for lost without knowing it yet, a worker may be the next to claim what it is still running."""
    settings.TASKER = {"LEASE": 3600.0, "HEARTBEAT": 1000.0}
    monkeypatch.setattr(worker_module, "tidying", lambda *_: ())
    lives, may_end = [], threading.Event()

    def waits(task):
        lives.append(task.attempt)
        task.logger.info("begun")
        may_end.wait(PATIENCE)
        task.logger.info("ends")

    with assigned_runner("waits", waits, executor="thread"):
        task = tasker.add_task("waits")
        worker = TaskWorker(WorkerSettings(concurrency=2))
        worker.start()
        wait_until(TaskLog.objects.exists)
        Worker.objects.update(heartbeat_at=timezone.now() - timedelta(hours=2))

        assert rescue(alias(), options()) == 1

        wait_until(Task.objects.filter(pk=task.pk, losses=1, status="running").exists)
        after = tasker.add_task("noop")
        wait_until(lambda: Task.objects.get(pk=after.pk).ended_at)
        may_end.set()
        wait_until(lambda: Task.objects.get(pk=task.pk).ended_at)
        worker.stop()

    assert Task.objects.get(pk=task.pk).status == "done"
    assert lives == [1]
    assert list(TaskLog.objects.order_by("seq").values_list("seq", "message")) == [(1, "begun"), (2, "ends")]


def test_what_is_claimed_just_as_the_worker_is_taken_for_lost_is_not_charged(monkeypatch, settings) -> None:
    settings.TASKER = {"LEASE": 3600.0, "HEARTBEAT": 1000.0}
    worker, run_pass = TaskWorker(WorkerSettings(concurrency=1)), Admission.run_pass
    task, ids = tasker.add_task("noop"), []

    def taken_for_lost(*args):
        ids.append(worker._row_id)
        if len(ids) == 1:
            Worker.objects.filter(pk=worker._row_id).delete()
        result = run_pass(*args)
        if len(ids) == 1:
            assert result.claimed
            worker._beat(worker._dispatcher)  # as the thread beside may, before the claimed is begun
        return result

    monkeypatch.setattr(Admission, "run_pass", taken_for_lost)
    worker.start()
    wait_until(lambda: Task.objects.get(pk=task.pk).ended_at)
    after = tasker.add_task("noop")
    wait_until(lambda: Task.objects.get(pk=after.pk).ended_at)
    worker.stop()

    assert (Task.objects.get(pk=task.pk).status, Task.objects.get(pk=task.pk).losses) == ("done", 0)
    assert len(set(ids)) == 2 and Task.objects.get(pk=after.pk).worker_id == ids[-1]
    assert not Worker.objects.exists()


def test_beat_that_comes_after_the_end_makes_no_row() -> None:
    worker = TaskWorker(WorkerSettings(concurrency=1))
    worker.start()
    worker.stop()

    worker._beat(worker._dispatcher)

    assert not Worker.objects.exists()


class Script:
    """In place of the event that ends the worker's threads: "." is a pause, "b" one with a beat."""

    def __init__(self, text: str, worker: TaskWorker) -> None:
        self._letters, self._worker = iter(text), worker

    def wait(self, pause: float) -> bool:
        assert pause == 1.0
        letter = next(self._letters, None)
        self._worker._beats += letter == "b"
        return letter is None


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("script", "count"),
    [("." * 5, 0), ("." * 6, 1), ("...b...b...", 0), ("b......", 1), (".....b.....", 0), ("." * 12, 2)],
)
def test_lease_is_out_after_so_many_pauses_without_a_beat(settings, script, count) -> None:
    settings.TASKER = {"LEASE": 5.0, "HEARTBEAT": 2.0}
    worker = TaskWorker(WorkerSettings())
    worker._over = Script(script, worker)  # type: ignore[assignment]
    worker._dispatcher = dispatcher = Mock()

    worker._watch_lease()

    assert dispatcher.abandon.call_count == count


def test_house_keeping_is_done_in_steps(monkeypatch) -> None:
    monkeypatch.setattr(lifecycle, "CHUNK", 2)
    tasks = tasker.add_tasks([{"operation": "noop"} for _ in range(6)])
    past = timezone.now() - timedelta(days=1)
    old = Task.objects.filter(pk__in=[task.pk for task in tasks[:5]])
    old.update(status="aborted", hold=0, ended_at=past, expires_at=past)

    _, *steps = worker_module.tidying(alias(), options())

    assert steps[:3] == [2, 2, 1]
    assert [task.pk for task in Task.objects.all()] == [tasks[5].pk]


def test_long_house_keeping_does_not_cost_the_lease(settings, monkeypatch) -> None:
    settings.TASKER = {"LEASE": 1.0, "HEARTBEAT": 0.2}
    under_way, beats = threading.Event(), threading.Event()

    def endless(*_: Any) -> Iterator[None]:
        under_way.set()
        while not beats.wait(0.01):
            yield

    def beat(*_: Any) -> bool:
        if under_way.is_set():
            beats.set()
        return True

    monkeypatch.setattr(worker_module, "tidying", endless)
    monkeypatch.setattr(worker_module, "beat", beat)
    worker = TaskWorker(WorkerSettings(concurrency=1))
    worker.start()

    assert beats.wait(PATIENCE)
    worker.stop()
