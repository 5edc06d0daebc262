from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.workers import WorkerProcess


@pytest.fixture
def start_worker(database_url: str) -> Iterator[Callable[..., WorkerProcess]]:
    """start_worker(*arguments, **TASKER options): a worker process on the test's database, ended after the test."""
    started: list[WorkerProcess] = []

    def start(*arguments: str, **options: object) -> WorkerProcess:
        started.append(WorkerProcess(database_url, *arguments, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.end()
