"""The OpenAPI document, where drf-spectacular is installed; nothing otherwise."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

ViewType = TypeVar("ViewType", bound=type)

if TYPE_CHECKING or not find_spec("drf_spectacular"):

    def task_schema(view: ViewType) -> ViewType:
        return view

    def monitoring_schema(view: ViewType) -> ViewType:
        return view

    def stream_schema(view: ViewType) -> ViewType:
        return view

else:
    from .spectacular import monitoring_schema, stream_schema, task_schema

__all__ = ["monitoring_schema", "stream_schema", "task_schema"]
