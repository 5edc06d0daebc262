"""What all views have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.viewsets import GenericViewSet

from ..databases import alias
from ..models import Task
from . import problems
from .bodies import BoundedJSONParser
from .permissions import TaskPermission


class ByHeaderOnly(DefaultContentNegotiation):
    """`Accept` chooses; `format` is a parameter that nobody reads, and is refused as such."""

    settings: Any = SimpleNamespace(URL_FORMAT_OVERRIDE=None)


class TaskerViewSet(GenericViewSet[Any]):
    """JSON in, JSON out, problems as documents, and permissions by `needs`.

    Who may log in, and how often somebody may ask, are the project's settings of REST framework. A rate for the
    scopes "django_tasker.read" and "django_tasker.write" is kept where the project has one.
    """

    needs: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Action -> the permissions it needs; to view tasks, where none is named."""

    parser_classes = (BoundedJSONParser,)
    renderer_classes: Sequence[type[BaseRenderer]] = (JSONRenderer,)
    permission_classes = (TaskPermission,)
    content_negotiation_class = ByHeaderOnly
    metadata_class = None
    queryset = Task.objects.none()

    def get_queryset(self) -> QuerySet[Any]:
        return Task.objects.using(alias())

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return problems.handle

    def subject(self) -> UUID | None:
        """The only task that this request is about, if so: a permission for it is enough."""
        return self.kwargs.get("uuid")

    @property
    def throttle_scope(self) -> str | None:
        scope = f"django_tasker.{'read' if self.request.method in ('GET', 'HEAD') else 'write'}"
        return scope if scope in api_settings.DEFAULT_THROTTLE_RATES else None
