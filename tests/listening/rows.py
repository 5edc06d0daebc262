"""Rows as lifecycle and the log writer leave them, written directly: these tests are about who hears of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from django_tasker import lifecycle
from django_tasker.events import Happening, emit
from django_tasker.models import Task, TaskLog


def make_task(status: str = "running", **values: Any) -> Task:
    now = timezone.now()
    ended_at = now if status in ("done", "failed", "aborted") else None
    return Task.objects.create(
        operation="sample", status=status, added_at=now, updated_at=now, ended_at=ended_at, hold=-1, **values
    )


def add_logs(uuid: UUID, first: int, count: int, level: int = 20) -> None:
    """Entries `first` … of a task, in one transaction."""
    with transaction.atomic():
        pk = Task.objects.values_list("pk", flat=True).get(uuid=uuid)
        now = timezone.now()
        TaskLog.objects.bulk_create(
            TaskLog(task_id=pk, seq=seq, attempt=1, level=level, logger="t", message=f"line {seq}", created_at=now)
            for seq in range(first, first + count)
        )
        emit([], topics=[f"task:{uuid}"], using="default")


def end_task(uuid: UUID, status: str, **values: Any) -> None:
    with transaction.atomic():
        Task.objects.filter(uuid=uuid).update(status=status, ended_at=timezone.now(), **values)
        emit([Happening("task.ended", uuid, {"status": status})], topics=["queue", f"task:{uuid}"], using="default")


def delete_unheard(uuid: UUID) -> None:
    """End a task as if nobody had heard of it, and delete it as ended tasks are."""
    with transaction.atomic():
        task = Task.objects.filter(uuid=uuid)
        task.update(status="done", ended_at=timezone.now())
        lifecycle.delete_ended(task, using="default")
