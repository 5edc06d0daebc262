"""What is written again after a failure, because nobody knows whether the first time counted."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from django_tasker import tasker
from django_tasker.conf import options
from django_tasker.databases import in_transaction
from django_tasker.lifecycle import Held
from django_tasker.models import Task, TaskLog
from django_tasker.testing import assigned_runner, override_tasker, run_task
from django_tasker.worker import recorder
from django_tasker.worker.held import HeldTask
from django_tasker.worker.messages import Ended, Entry
from django_tasker.worker.recorder import Recorder, Report
from tests.worker.sinks import assignment

WORKER = 7


@pytest.fixture
def held(transactional_db: None) -> HeldTask:
    task = tasker.add_task("noop", run_at=timezone.now() + timedelta(hours=1))
    now = timezone.now()
    Task.objects.filter(pk=task.pk).update(status="running", hold=-1, attempt=1, worker_id=WORKER, started_at=now)
    its = Held(task.pk, task.uuid, "noop", 1, WORKER, 1, None, None, "postpone", 0, now)
    return HeldTask(its, assignment("noop"), "thread", 0, 0, 0, 0, options().abort_grace)


@pytest.fixture
def answers_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction is committed, its answer is lost, and it is run again."""

    def twice(using: str, work: Any) -> Any:
        in_transaction(using, work)
        return in_transaction(using, work)

    monkeypatch.setattr(recorder, "in_transaction", twice)


def entries(*texts: str) -> list[Entry]:
    return [Entry(time.time(), 20, "tests", text) for text in texts]


def test_entries_are_stored_once_when_the_answer_to_their_commit_was_lost(held: HeldTask, answers_lost: None) -> None:
    writer = Recorder("default", WORKER, max_losses=3)

    lost = writer.write([Report(held, entries("one", "two"))])

    assert lost == []
    assert list(TaskLog.objects.order_by("seq").values_list("seq", "message")) == [(1, "one"), (2, "two")]


def test_an_end_whose_answer_was_lost_stands(held: HeldTask, answers_lost: None) -> None:
    writer = Recorder("default", WORKER, max_losses=3)
    ended = Ended(*held.key, "done", result="5", ended=time.time())

    writer.write([Report(held, entries("one"), ended=ended)])

    task = Task.objects.get(pk=held.held.id)
    assert (task.status, task.result, task.log_count) == ("done", 5, 1)
    assert TaskLog.objects.count() == 1


@pytest.fixture
def first_tries_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction is undone once, as by a deadlock, and run again."""

    def again(using: str, work: Any) -> Any:
        with transaction.atomic(using=using):
            work()
            transaction.set_rollback(True, using=using)
        return in_transaction(using, work)

    monkeypatch.setattr(recorder, "in_transaction", again)


def test_dropped_entries_are_noted_once_when_the_write_is_repeated(held: HeldTask, first_tries_undone: None) -> None:
    writer = Recorder("default", WORKER, max_losses=3)
    ended = Ended(*held.key, "done", result="5", ended=time.time(), logs_dropped=9)

    writer.write([Report(held, entries("one"), ended=ended)])

    assert [entry.message[:6] for entry in TaskLog.objects.order_by("seq")] == ["one", "9 more"]
    assert Task.objects.get(pk=held.held.id).log_count == 2


def test_the_cap_of_bytes_spans_the_attempts_of_a_task(transactional_db: None) -> None:
    def fails(task: Any) -> None:
        task.logger.info("x" * 600)
        raise ValueError

    with assigned_runner("fails", fails), override_tasker(LOG_MAX_BYTES=1000, RETRY_DELAY=0):
        task = tasker.add_task("fails", max_attempts=2)
        first, second = run_task(task).logs, run_task(task).logs

    assert [entry.message[:5] for entry in first] == ["xxxxx"]
    assert [entry.message for entry in second[1:]] == ["1 more log entries were dropped: the task's cap was reached."]
