"""Lists that stay quick on a million rows: counts that stop at a bound, and rows without their large columns."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from ..models import Task
from ..statuses import Status

BOUND = 10_000
"""Rows that are counted and paged through; more are told as "more than"."""

LARGE = ("data", "result", "error", "concurrency")

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator


def bounded_count(tasks: QuerySet[Any]) -> int:
    """How many rows, at most `BOUND` + 1; the database stops looking there."""
    return tasks.order_by()[: BOUND + 1].count()


class BoundedPaginator(_Paginator):
    """Pages through the first `BOUND` rows."""

    @cached_property
    def found(self) -> int:
        if isinstance(self.object_list, QuerySet):
            return bounded_count(self.object_list)
        return len(self.object_list)

    @cached_property
    def count(self) -> int:
        return min(self.found, BOUND)

    @property
    def is_bounded(self) -> bool:
        """Are there more rows than the pages show?"""
        return self.found > BOUND


class TaskChangeList(ChangeList):
    """The list of tasks; rows come without the columns that may be megabytes."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Task]:
        found: QuerySet[Task] = super().get_queryset(request, exclude_parameters)
        return found.defer(*LARGE)

    @property
    def status(self) -> str:
        """The chosen status tab; "" for all."""
        return str(self.params.get("status__exact", ""))

    @property
    def is_narrowed(self) -> bool:
        """Is anything chosen besides the status tab, so that counts of whole statuses would mislead?"""
        others = [name for name in self.get_filters_params() if name != "status__exact"]
        return bool(others or self.query)

    def tabs(self) -> list[dict[str, Any]]:
        """The status tabs: label, link, and how many tasks of the status there are."""
        tabs = [self._tab("", None)]
        return tabs + [self._tab(str(status.value), status) for status in Status]

    def _tab(self, value: str, status: Status | None) -> dict[str, Any]:
        count = None
        if not self.is_narrowed:
            tasks = Task.objects.all() if status is None else Task.objects.filter(status=status)
            count = bounded_count(tasks)
        return {
            "value": value,
            "label": status.label if status else None,
            "selected": self.status == value,
            "link": self.get_query_string({"status__exact": value or None, "p": None, "o": None}),
            "count": None if count is None else min(count, BOUND),
            "is_more": count is not None and count > BOUND,
        }
