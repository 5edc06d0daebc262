"""Tasks as conditions see them: the columns that queries ask for, without the cost of a model instance."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.db.models import QuerySet

from ..models import Task

KEPT = frozenset(["id", "status", "started_at", "operation", "queue", "data"])
"""Read of every running task; more when a query asks for it."""

WAITING = KEPT | {"attempt", "lane", "losses", "ahead", "updated_at", "concurrency", "uuid", "unique_key"}
"""Read of a new task: what tells its conditions, and whether it has changed since."""

EVERYTHING = frozenset(field.attname for field in Task._meta.concrete_fields)


class Facts:
    """A task's columns as attributes. One that was not read with the others is read when it is asked for."""

    id: int
    status: str
    attempt: int
    lane: int
    priority: float
    losses: int
    ahead: int
    concurrency: Any
    started_at: Any
    updated_at: Any

    def __init__(self, using: str, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._using = using

    def __getattr__(self, name: str) -> Any:
        if name not in EVERYTHING:
            raise AttributeError(name)
        value = Task.objects.using(self._using).filter(id=self.id).values_list(name, flat=True).first()
        self.__dict__[name] = value
        return value

    def changed(self, **values: Any) -> Facts:
        """A copy with other values."""
        return Facts(self._using, {**self.__dict__, **values})


def read(tasks: QuerySet[Task], names: Collection[str]) -> Iterator[Facts]:
    """The rows of a query set, with these columns."""
    names = tuple(names)
    for values in tasks.values_list(*names):
        yield Facts(tasks.db, dict(zip(names, values, strict=True)))
