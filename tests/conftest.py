"""House fixtures. Fixtures of one part only live in that part's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.waiting import wait_until as _wait_until

if TYPE_CHECKING:
    from tests.workers import WorkerProcess

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture
def wait_until():
    """wait_until(fact, timeout=PATIENCE): the first true value of fact(), or a failure that shows the last one."""
    return _wait_until


@pytest.fixture(autouse=True)
def closed_notifiers():
    """Ends what a test left listening, so that its connections don't outlive the database."""
    yield
    from django_tasker import notify

    notify.close_all()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Before PostgreSQL drops the test database: waits for sessions of ended processes, and names any that stay."""
    yield
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:

        def others() -> list[tuple]:
            cursor.execute(
                "SELECT application_name, state, backend_start, query FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            return cursor.fetchall()

        try:
            _wait_until(lambda: not others(), timeout=10)
        except AssertionError:
            raise AssertionError(f"these sessions were left open by tests: {others()}") from None


@pytest.fixture
def database_url(transactional_db, settings) -> str:
    """DATABASE_URL of the running test's own database, for processes that a test starts."""
    from tests.processes import url_of

    return url_of(settings.DATABASES["default"])


@pytest.fixture
def start_worker(database_url: str) -> Iterator[Callable[..., WorkerProcess]]:
    """start_worker(*arguments, **TASKER options): a worker process on the test's database, ended after the test."""
    from tests.workers import WorkerProcess

    started: list[WorkerProcess] = []

    def start(*arguments: str, **options: object) -> WorkerProcess:
        started.append(WorkerProcess(database_url, *arguments, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.end()
