"""Tasks for queries: rows and objects with every column a query can name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from django_tasker.models import Task

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def new_task(**values: Any) -> Task:
    """An unsaved task; `ended_at` follows from its status, as the database demands."""
    values = {"operation": "op", "added_at": NOW, "updated_at": NOW, **values}
    if values.get("status") in ("done", "failed", "aborted"):
        values.setdefault("ended_at", NOW)
    return Task(**values)


@pytest.fixture
def add(db: None) -> Callable[..., Task]:
    """add(data=…, …): a row, as the database gives it back."""

    def add(**values: Any) -> Task:
        task = new_task(**values)
        task.save()
        return Task.objects.get(pk=task.pk)

    return add
