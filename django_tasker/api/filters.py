"""Filters of the list: one a field and comparison, paths into JSON, and `query=` for everything else."""

from __future__ import annotations

import json
import math
from typing import Any

import django_filters
from django import forms
from django.db import models
from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from ..conf import options
from ..errors import InvalidQuery
from ..models import PriorityField, Task
from ..query.fields import JSON_FIELDS
from ..statuses import ENDED, Status
from . import parameters
from .bodies import json_of, query_of

EXACT = ["exact", "in"]
TEXT = ["exact", "in", "startswith", "contains"]
RANGE = ["exact", "gt", "gte", "lt", "lte"]
TIME = ["gt", "gte", "lt", "lte"]
MAYBE_RANGE = [*RANGE, "isnull"]
MAYBE_TIME = [*TIME, "isnull"]

PATH_OPERATORS = ("ne", "gt", "gte", "lt", "lte", "in", "nin", "exists", "contains", "startswith", "regex")
"""What may follow `__` after a path into JSON."""
OTHERS = ("query", "ordering", "cursor", "page_size", "fields", "with_logs", "logs_max_level")
"""Parameters of the list that are no filters of fields."""


class _WholeField(forms.IntegerField):
    def __init__(self, **values: Any) -> None:
        super().__init__(**{**values, "min_value": -(2**31), "max_value": 2**31 - 1})


class _PriorityFormField(forms.FloatField):
    """A float, or "Infinity" and "-Infinity"; never NaN."""

    def to_python(self, value: Any) -> Any:
        if value in ("Infinity", "-Infinity"):
            return math.inf if value == "Infinity" else -math.inf
        return super().to_python(value)

    def validate(self, value: Any) -> None:
        if value is None or not math.isinf(value):
            super().validate(value)


class _TimeField(filters.IsoDateTimeFilter.field_class):  # type: ignore[misc]
    """A time that stays one in every time zone."""

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        if cleaned is not None and not 1 < cleaned.year < 9999:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return cleaned


class WholeFilter(django_filters.NumberFilter):  # type: ignore[misc]
    field_class = _WholeField

    def get_max_validator(self) -> None:
        return None


class SecondsFilter(django_filters.NumberFilter):  # type: ignore[misc]
    field_class = forms.FloatField

    def get_max_validator(self) -> None:
        return None


class PriorityFilter(SecondsFilter):
    field_class = _PriorityFormField


class TimeFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]
    field_class = _TimeField


class TaskFilterSet(filters.FilterSet):  # type: ignore[misc]
    """`operation=a`, `operation__in=a,b`, `error_count__gte=1`, `added_at__lt=2030-01-31T07:00:00Z`, …"""

    is_ended = django_filters.BooleanFilter(method="filter_ended", label="done, failed or aborted")
    is_aborting = django_filters.BooleanFilter(method="filter_aborting", label="running, and told to stop")

    class Meta:
        model = Task
        fields = {
            "uuid": EXACT,
            "operation": TEXT,
            "queue": TEXT,
            "status": EXACT,
            "priority": RANGE,
            "on_stop": ["exact"],
            "unique_key": TEXT,
            "added_by": TEXT,
            "worker_name": TEXT,
            "abort_reason": ["contains"],
            **dict.fromkeys(("attempt", "max_attempts", "losses"), RANGE),
            **dict.fromkeys(("log_count", "warning_count", "error_count"), RANGE),
            **dict.fromkeys(("run_timeout", "retry_delay", "keep_for"), MAYBE_RANGE),
            **dict.fromkeys(("added_at", "updated_at"), TIME),
            **dict.fromkeys(("run_at", "started_at", "ended_at", "abort_requested_at"), MAYBE_TIME),
        }
        filter_overrides = {
            PriorityField: {"filter_class": PriorityFilter},
            models.PositiveIntegerField: {"filter_class": WholeFilter},
            models.FloatField: {"filter_class": SecondsFilter},
            models.DateTimeField: {"filter_class": TimeFilter},
            models.TextField: {"filter_class": django_filters.CharFilter},
        }

    def filter_ended(self, tasks: QuerySet[Task], name: str, value: bool) -> QuerySet[Task]:
        return tasks.filter(status__in=ENDED) if value else tasks.exclude(status__in=ENDED)

    def filter_aborting(self, tasks: QuerySet[Task], name: str, value: bool) -> QuerySet[Task]:
        aborting = Q(status=Status.RUNNING, abort_requested_at__isnull=False)
        return tasks.filter(aborting) if value else tasks.exclude(aborting)


class QueryBackend(BaseFilterBackend):
    """`query={"data.book": 7}`, and for short `data.book=7` or `data.book__gte=7`; refuses parameters nobody reads."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        paths = [name for name in request.query_params if is_path(name)]
        parameters.refuse_unknown(request, [*TaskFilterSet.base_filters, *OTHERS, *paths])
        for name in paths:
            for text in request.query_params.getlist(name):
                queryset = queryset.matching(_path_query(name, text), allow_regex=options().allow_regex)
        if query := request.query_params.get("query"):
            queryset = queryset.matching(query_of(json_of(query, "query")), allow_regex=options().allow_regex)
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        description = (
            "A query: a JSON object. Paths into data, result, error and progress can be parameters of their own as "
            f"well: `data.book=7`, `data.book__gte=7` (also {', '.join(PATH_OPERATORS)})."
        )
        schema = {"type": "string", "example": '{"data.book": {"$gte": 7}}'}
        return [{"name": "query", "in": "query", "required": False, "description": description, "schema": schema}]


def is_path(name: str) -> bool:
    return name.partition(".")[0] in JSON_FIELDS


def _path_query(name: str, text: str) -> dict[str, Any]:
    """The query of one such parameter; its value is JSON, or else a text as it stands."""
    path, separator, operator = name.rpartition("__")
    if not separator or operator not in PATH_OPERATORS:
        path, operator = name, "eq"
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        value = text
    try:
        return query_of({path: {f"${operator}": value}}, path=name)
    except InvalidQuery as error:
        raise InvalidQuery(str(error), path=name) from error
