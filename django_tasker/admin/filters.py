"""The filters beside the list of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib.admin import ListFilter, ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _

from ..conditions import FRONT, LATER
from ..models import Task
from ..statuses import Status
from . import values


class ValueFilter(SimpleListFilter):
    """Chooses one of the values that a field has."""

    offered: Callable[[], list[str]]

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        names = type(self).offered()
        chosen = self.used_parameters.get(self.parameter_name or "")
        if chosen and chosen not in names:
            names = [*names, str(chosen)]
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        value = (self.value() or "").replace("\0", "")  # which PostgreSQL refuses
        return queryset.filter(**{str(self.parameter_name): value}) if value else queryset


class OperationFilter(ValueFilter):
    title = _("operation")
    parameter_name = "operation"
    offered = staticmethod(values.operations)


class QueueFilter(ValueFilter):
    title = _("queue")
    parameter_name = "queue"
    offered = staticmethod(values.queues)


class WorkerFilter(ValueFilter):
    title = _("worker")
    parameter_name = "worker_name"
    offered = staticmethod(values.workers)


class WaitsFilter(SimpleListFilter):
    """What new tasks wait for, as the last pass over the queue found it."""

    title = _("what they wait for")
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return [("condition", _("a condition")), ("time", _("its time")), ("slot", _("a free slot"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        waiting = queryset.filter(status=Status.NEW)
        if self.value() == "condition":
            return waiting.filter(hold__gt=LATER)
        if self.value() == "time":
            return waiting.filter(hold=LATER)
        return waiting.filter(hold=FRONT) if self.value() == "slot" else queryset


class TroubleFilter(SimpleListFilter):
    """Tasks that logged warnings or errors."""

    title = _("warnings and errors")
    parameter_name = "has"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return [("warnings", _("has warnings")), ("errors", _("has errors"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if self.value() == "warnings":
            return queryset.filter(warning_count__gt=0)
        return queryset.filter(error_count__gt=0) if self.value() == "errors" else queryset


class RangeFilter(ListFilter):
    """Two boxes, from and to, both included; an entry that can't be read is left out."""

    template = "django_tasker/admin/range_filter.html"
    field: ClassVar[str]
    input_type: ClassVar[str] = "text"
    help_text: Any = ""
    placeholders: ClassVar[tuple[str, str]] = ("", "")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.names:
            given = params.pop(name, None)
            if given:
                self.used_parameters[name] = given[-1] if isinstance(given, list) else given

    @property
    def parameter_name(self) -> str:
        """One name for both boxes; unfold asks every filter for one."""
        return self.field

    @property
    def names(self) -> tuple[str, str]:
        return f"{self.field}_from", f"{self.field}_to"

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.names)

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        """One choice: the form with what is entered, and what it must carry along."""
        kept = {name: value for name, value in changelist.params.items() if name not in (*self.names, "p")}
        yield {
            "selected": not self.used_parameters,
            "query_string": changelist.get_query_string(dict.fromkeys(self.names)),
            "display": _("All"),
            "inputs": [
                {"name": name, "value": self.used_parameters.get(name, ""), "label": label, "placeholder": hint}
                for name, label, hint in zip(self.names, (_("From"), _("To")), self.placeholders, strict=True)
            ],
            "input_type": self.input_type,
            "help": self.help_text,
            "kept": kept,
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        for name, lookup in zip(self.names, ("gte", "lte"), strict=True):
            value = self.read(str(self.used_parameters.get(name, "")).strip())
            if value is not None:
                queryset = queryset.filter(**{f"{self.field}__{lookup}": value})
        return queryset

    def read(self, text: str) -> Any:
        raise NotImplementedError


class PriorityFilter(RangeFilter):
    title = _("priority")
    field = "priority"
    placeholders = ("-Infinity", "Infinity")
    help_text = _("The smallest runs first.")

    def read(self, text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if value == value else None  # NaN is no bound


class TimeFilter(RangeFilter):
    """A day, or a day and a time in the zone that the admin shows."""

    input_type = "datetime-local"

    def read(self, text: str) -> datetime | None:
        try:
            day = parse_date(text)
            moment = datetime(day.year, day.month, day.day) if day else parse_datetime(text)  # noqa: DTZ001
            if moment is not None and timezone.is_naive(moment):
                moment = timezone.make_aware(moment)
            return moment.astimezone(UTC) if moment else None
        except (ValueError, OverflowError):  # the first and the last day there are may not be a day in UTC
            return None


class AddedFilter(TimeFilter):
    title = _("time added")
    field = "added_at"


class EndedFilter(TimeFilter):
    title = _("time ended")
    field = "ended_at"
