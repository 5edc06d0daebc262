from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from django_tasker.registry import autodiscover, registry
from django_tasker.worker.settings import WorkerSettings
from django_tasker.worker.worker import TaskWorker


@pytest.fixture(autouse=True)
def own_operations(monkeypatch) -> None:
    """What a test decorates is forgotten after it."""
    autodiscover()
    monkeypatch.setattr(registry, "_assigned", dict(registry._assigned))


@pytest.fixture
def closed_async_thread(transactional_db) -> Iterator[None]:
    """For async tests: the thread that runs their synchronous work outlives them, its connections must not."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def run_all(transactional_db) -> Callable[..., None]:
    """run_all(**settings): runs the waiting tasks in this process, its children and its threads."""

    def run(**settings: Any) -> None:
        worker = TaskWorker(WorkerSettings(**{"burst": True, "concurrency": 1, "name": "here", **settings}))
        worker.start()
        assert worker.wait(60)

    return run


@pytest.fixture
def told() -> Iterator[list[tuple[str, Any]]]:
    """What Django's signals tell in this process: name and result, as it was when it was told."""
    from copy import copy

    from django.tasks import signals

    heard: list[tuple[str, Any]] = []
    receivers = {}
    for name in ("task_enqueued", "task_started", "task_finished"):

        def hear(sender, task_result, name=name, **_):
            heard.append((name, copy(task_result)))

        getattr(signals, name).connect(hear)
        receivers[name] = hear
    yield heard
    for name, hear in receivers.items():
        getattr(signals, name).disconnect(hear)
