"""Views that wait, under ASGI, without a thread or a database connection of their own.

REST framework is synchronous: who asks, what for, and whether they may is settled in the request's thread as for any
view. An action that then has to wait returns `Pending`; its work is a coroutine, awaited in the event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from .. import access
from ..databases import alias
from ..listening.reading import in_database_thread
from . import problems
from .base import TaskerViewSet

T = TypeVar("T")


class Pending(HttpResponse):
    """The answer is still to be waited for."""

    def __init__(self, work: Callable[[], Awaitable[HttpResponseBase]]) -> None:
        super().__init__()
        self.work = work


class WaitingViewSet(TaskerViewSet):
    """Its actions are synchronous, and may return `Pending`."""

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        settle = super().as_view(actions, **initkwargs)

        async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            response = await sync_to_async(settle)(request, *args, **kwargs)
            if not isinstance(response, Pending):
                return response
            await sync_to_async(_release_connections)()
            answer = await response.work()
            for name, value in response.items():
                answer.setdefault(name, value) if name != "Content-Type" else None
            return answer

        for name, value in vars(settle).items():  # what Django and drf-spectacular look for
            setattr(view, name, value)
        for using in connections:
            transaction.non_atomic_requests(using=using)(view)
        return view

    def require_asgi(self, request: Request) -> None:
        if not isinstance(request._request, ASGIRequest):
            raise problems.NeedsAsgi


def _release_connections() -> None:
    """Give back what the request's thread used: it would be kept to the end of the request."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` in a context of its own, where database work is done in the thread that all coroutines share."""
    return await asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def still_may(request: Request, view: TaskerViewSet) -> bool:
    """May the user, as the database has them now, still view what they asked for?"""
    user, session, uuid = request.user, getattr(request, "session", None), view.subject()

    def ask() -> bool:
        return access.may(access.user_now(user, session), access.VIEW, uuid=uuid)

    return await apart(in_database_thread(alias(), ask))


def plain_problem(error: Exception) -> HttpResponse:
    """A problem document without REST framework's rendering."""
    response = problems.handle(error, {})
    assert response is not None
    return JsonResponse(response.data, status=response.status_code, content_type=problems.MEDIA_TYPE)
