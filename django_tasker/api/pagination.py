"""Pages by position, not by number: stable while tasks are added, and no slower at the millionth task.

A cursor holds the sort value and the id of the row at its edge. Rows that were added meanwhile stand before or after
the edge, so no row is given twice and none is left out; no row is counted or skipped over to find a page.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from ..errors import InvalidQuery
from ..models import Task
from .parameters import whole

DEFAULT_ORDERING = "-added_at"
ORDERINGS = {
    "added_at": None,  # ids are given in the order of adding, and are the primary key
    "priority": "priority",
    "operation": "operation",
    "status": "status",
    "run_at": "run_at",
    "started_at": "started_at",
    "ended_at": "ended_at",
    "updated_at": "updated_at",
}
"""What may be sorted by, and the column of it."""

PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_PAGE_SIZE_WITH_LOGS = 50


@dataclass(frozen=True, slots=True)
class Ordering:
    """One column, then the id; missing values come last."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Ordering:
        if text.removeprefix("-") not in ORDERINGS:
            known = ", ".join(ORDERINGS)
            raise InvalidQuery(
                f"ordering is {text[:50]!r}; it must be one of {known}, or that after -.", path="ordering"
            )
        return cls(text)

    @property
    def column(self) -> str | None:
        return ORDERINGS[self.text.removeprefix("-")]

    @property
    def is_nullable(self) -> bool:
        return self.column is not None and bool(Task._meta.get_field(self.column).null)

    def apply(self, tasks: QuerySet[Task], *, backwards: bool) -> QuerySet[Task]:
        descending = self.text.startswith("-") != backwards
        order: list[Any] = []
        if self.column is not None and self.is_nullable:
            nulls = {"nulls_first": True} if backwards else {"nulls_last": True}
            order.append(F(self.column).desc(**nulls) if descending else F(self.column).asc(**nulls))
        elif self.column is not None:
            order.append(f"-{self.column}" if descending else self.column)
        return tasks.order_by(*order, "-id" if descending else "id")

    def beyond(self, edge: Edge) -> Q:
        """Rows on the far side of an edge."""
        descending = self.text.startswith("-") != edge.backwards
        lookup = "lt" if descending else "gt"
        by_id = Q((f"id__{lookup}", edge.id))
        column = self.column
        if column is None:
            return by_id
        if edge.value is None:
            beside = Q((f"{column}__isnull", True)) & by_id
            return beside | Q((f"{column}__isnull", False)) if edge.backwards else beside
        beside = Q((column, edge.value)) & by_id
        found = Q((f"{column}__{lookup}", edge.value)) | beside
        return found | Q((f"{column}__isnull", True)) if self.is_nullable and not edge.backwards else found

    def value_of(self, task: Task) -> Any:
        return None if self.column is None else getattr(task, self.column)


@dataclass(frozen=True, slots=True)
class Edge:
    """The place that a cursor stands for."""

    ordering: Ordering
    value: Any
    id: int
    backwards: bool

    def encode(self) -> str:
        value = self.value
        if value is not None and not isinstance(value, str | float):
            value = value.isoformat()
        text = json.dumps([self.ordering.text, value, self.id, self.backwards], ensure_ascii=False)
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Edge:
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            order, value, pk, backwards = json.loads(raw.decode())
            ordering = Ordering.parse(order)
            if type(pk) is not int or not 0 < pk < 2**63 or type(backwards) is not bool:
                raise ValueError
            return cls(ordering, ordering_value(ordering, value), pk, backwards)
        except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error, ValidationError):
            raise InvalidQuery("This cursor is none of ours; take it from next or previous.", path="cursor") from None


def ordering_value(ordering: Ordering, value: Any) -> Any:
    """The value of a cursor as the column's own type. Raises ValueError or ValidationError."""
    if value is None and (ordering.column is None or ordering.is_nullable):
        return None
    if ordering.column is None or value is None:
        raise ValueError
    field: Any = Task._meta.get_field(ordering.column)
    checked = field.to_python(value)
    if isinstance(checked, str) and ("\x00" in checked or len(checked) > 200):
        raise ValueError
    if isinstance(checked, float) and math.isnan(checked):
        raise ValueError
    if hasattr(checked, "tzinfo") and (checked.tzinfo is None or not 1 < checked.year < 9999):
        raise ValueError
    return checked


class TaskPagination(BasePagination):
    """`next` and `previous` are links, null at the ends."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self._url = request.build_absolute_uri()
        parameters = request.query_params
        most = MAX_PAGE_SIZE_WITH_LOGS if getattr(view, "with_logs", False) else MAX_PAGE_SIZE
        size = whole(parameters, "page_size", min(PAGE_SIZE, most), 1, MAX_PAGE_SIZE)
        size = min(size, most)
        edge = Edge.decode(parameters["cursor"]) if parameters.get("cursor") else None
        self._ordering = self._ordering_of(parameters.get("ordering"), edge)
        backwards = edge is not None and edge.backwards
        tasks = self._ordering.apply(queryset, backwards=backwards)
        found = list((tasks if edge is None else tasks.filter(self._ordering.beyond(edge)))[: size + 1])
        has_more = len(found) > size
        page = found[:size][::-1] if backwards else found[:size]
        self._next = self._link(page[-1:], backwards=False, wanted=has_more or backwards)
        self._previous = self._link(page[:1], backwards=True, wanted=has_more if backwards else edge is not None)
        return page

    def _ordering_of(self, given: str | None, edge: Edge | None) -> Ordering:
        if edge is None:
            return Ordering.parse(given or DEFAULT_ORDERING)
        if given and given != edge.ordering.text:
            raise InvalidQuery(f"The cursor goes with ordering={edge.ordering.text}, not {given[:50]}.", path="cursor")
        return edge.ordering

    def _link(self, row: list[Task], *, backwards: bool, wanted: bool) -> str | None:
        if not wanted or not row:
            return None
        edge = Edge(self._ordering, self._ordering.value_of(row[0]), row[0].pk, backwards)
        return str(replace_query_param(self._url, "cursor", edge.encode()))

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next, "previous": self._previous, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        orderings = [sign + name for name in ORDERINGS for sign in ("", "-")]
        return [
            _parameter("cursor", {"type": "string"}, "The place to go on from, as `next` and `previous` have it."),
            _parameter("ordering", {"type": "string", "enum": orderings, "default": DEFAULT_ORDERING}, "Missing last."),
            _parameter(
                "page_size",
                {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE},
                f"With logs, at most {MAX_PAGE_SIZE_WITH_LOGS} come at a time.",
            ),
        ]


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
