"""What the database itself refuses, whoever writes to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from django_tasker import tasker
from django_tasker.models import Task, TaskLog

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()


@pytest.fixture
def task() -> Task:
    return tasker.add_task("import")


@pytest.mark.parametrize(
    "values",
    [
        {"status": "strange"},
        {"status": "strange", "ended_at": NOW},
        *({"status": status} for status in ("done", "failed", "aborted")),
        *({"status": status, "ended_at": NOW} for status in ("new", "running")),
    ],
)
def test_status_that_is_none_or_does_not_fit_its_end(task: Task, values: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.filter(pk=task.pk).update(**values)


@pytest.mark.parametrize("status", ["done", "failed", "aborted"])
def test_status_that_fits_its_end(task: Task, status: str) -> None:
    assert Task.objects.filter(pk=task.pk).update(status=status, hold=-1, ended_at=NOW) == 1


def test_second_active_task_of_a_unique_key(task: Task) -> None:
    first, second = tasker.add_task("import", unique_key="a"), tasker.add_task("import", unique_key="b")

    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.filter(pk=second.pk).update(active_key=Task.objects.get(pk=first.pk).active_key)

    assert Task.objects.filter(pk__in=[first.pk, second.pk]).update(active_key=None) == 2


def test_second_log_entry_of_a_number(task: Task) -> None:
    entry = {"seq": 1, "attempt": 1, "level": 20, "logger": "t", "message": "m", "created_at": NOW}
    TaskLog.objects.create(task=task, **entry)

    with pytest.raises(IntegrityError), transaction.atomic():
        TaskLog.objects.create(task=task, **entry)

    TaskLog.objects.create(task=tasker.add_task("import"), **entry)
