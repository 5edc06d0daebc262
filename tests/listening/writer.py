"""A process of its own that changes rows and tells of it, as workers do; commands come as lines of JSON.

Run as `python -m tests.listening.writer`. Each command is [name, argument…] and is answered by one line.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from uuid import UUID

import django


def emit(names: list[str], uuid: str, args: dict[str, Any]) -> float:
    """Tell of some happenings of a task in one transaction; return when it had committed."""
    from django.db import transaction

    from django_tasker import events

    with transaction.atomic():
        events.emit([events.Happening(name, UUID(uuid), args) for name in names], topics=["queue"], using="default")
    return time.time()


def touch() -> float:
    """Change a row and wake whoever waits for the queue."""
    from django.db import transaction

    from django_tasker import events
    from django_tasker.models import Gate

    with transaction.atomic():
        Gate.objects.all().delete()
        Gate.objects.create()
        events.emit([], topics=["queue"], using="default")
    return time.time()


def log(uuid: str, first: int, count: int, level: int = 20) -> None:
    """Write entries of a task in batches of 100, a transaction each."""
    from tests.listening.rows import add_logs

    for start in range(first, first + count, 100):
        add_logs(UUID(uuid), start, min(100, first + count - start), level)


def end(uuid: str, status: str, values: dict[str, Any]) -> None:
    from tests.listening.rows import end_task

    end_task(UUID(uuid), status, **values)


def main() -> None:
    from tests import settings  # noqa: F401 - lets PyMySQL stand in before Django asks

    django.setup()
    print('"ready"', flush=True)
    for line in sys.stdin:
        name, *args = json.loads(line)
        print(json.dumps(globals()[name](*args)), flush=True)


if __name__ == "__main__":
    main()
