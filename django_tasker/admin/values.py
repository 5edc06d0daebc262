"""The values that filters offer, found without reading a large table."""

from __future__ import annotations

from collections.abc import Iterable

from ..models import Pause, Task, Worker

MAX_OFFERED = 50
RECENT = 500
"""Newest tasks that are looked at for values which no index lists."""


def operations() -> list[str]:
    """The operations of all tasks, by one look into the index for each; at most `MAX_OFFERED`."""
    found: list[str] = []
    while len(found) < MAX_OFFERED:
        rest = Task.objects.filter(operation__gt=found[-1]) if found else Task.objects.all()
        following = rest.order_by("operation").values_list("operation", flat=True).first()
        if following is None or following in found:  # a collation may sort two names as one
            break
        found.append(following)
    return found


def queues() -> list[str]:
    """The queues that workers serve, that are paused, and that the newest tasks are in."""
    served = [name for worker in Worker.objects.all() for name in worker.queues or ()]
    paused = Pause.objects.filter(kind=Pause.Kind.QUEUE).values_list("name", flat=True)
    return _offered([*served, *paused, *_recent("queue")])


def workers() -> list[str]:
    """The live workers, and those that ran the newest tasks."""
    return _offered([*Worker.objects.values_list("name", flat=True), *_recent("worker_name")])


def _recent(field: str) -> Iterable[str | None]:
    return Task.objects.order_by("-id").values_list(field, flat=True)[:RECENT]


def _offered(names: Iterable[str | None]) -> list[str]:
    return sorted({name for name in names if name})[:MAX_OFFERED]
