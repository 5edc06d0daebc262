"""Following: `tasks/{uuid}/output/?timeout=` waits for a task's end, `events/?pattern=` streams what happens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import PermissionDenied
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from .. import access
from ..databases import alias
from ..errors import TaskAborted, TaskFailed, TaskNotFound, WaitTimeout
from ..facade import tasker
from ..listening import EventMessage, await_for_output
from ..listening.hubs import EventHub, FellBehind, event_hub
from ..listening.patterns import check_pattern, uuid_of
from ..listening.reading import in_database_thread
from ..models import Task
from . import parameters
from .schema import stream_schema
from .waiting import Pending, WaitingViewSet, apart, plain_problem, still_may

KEEP_ALIVE_SECONDS = 15.0
"""A silent stream says something so often, or proxies take it for dead."""


class EventStreamRenderer(JSONRenderer):
    """Lets `Accept: text/event-stream` pass; what is rendered at all is a problem document."""

    media_type = "text/event-stream"
    format = "json"


@stream_schema
class StreamViewSet(WaitingViewSet):
    """`tasks/{uuid}/output/` and `events/`."""

    http_method_names = ["get"]  # HEAD would wait as well, for nothing
    pagination_class = None
    filter_backends = ()
    renderer_classes = (JSONRenderer, EventStreamRenderer)

    def subject(self) -> UUID | None:
        uuid: UUID | None = self.kwargs.get("uuid")
        return uuid or uuid_of(self.request.query_params.get("pattern", ""))

    # -- the output of a task ---------------------------------------------------------------------------------------

    def output(self, request: Request, uuid: UUID) -> HttpResponseBase:
        parameters.refuse_unknown(request, ("timeout",))
        timeout = parameters.seconds(request.query_params, "timeout", 0, parameters.MAX_WAIT)
        task = tasker.get_task(uuid)
        if task.is_ended or not timeout:
            return Response(_output(task), status=_status(task))
        self.require_asgi(request)
        return Pending(partial(self._wait, request, uuid, timeout))

    async def _wait(self, request: Request, uuid: UUID, timeout: float) -> HttpResponse:
        try:
            await apart(_ended(uuid, timeout))
            task = await apart(in_database_thread(alias(), partial(tasker.get_task, uuid)))
        except TaskNotFound as error:  # deleted meanwhile
            return plain_problem(error)
        if not await still_may(request, self):
            return plain_problem(PermissionDenied())
        return JsonResponse(_output(task), status=_status(task), json_dumps_params={"ensure_ascii": False})

    # -- events -----------------------------------------------------------------------------------------------------

    def events(self, request: Request) -> HttpResponseBase:
        parameters.refuse_unknown(request, ("pattern",))
        pattern = check_pattern(request.query_params.get("pattern") or "*")
        self.require_asgi(request)
        return Pending(partial(self._stream, request, pattern))

    async def _stream(self, request: Request, pattern: str) -> StreamingHttpResponse:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingHttpResponse(
            self._lines(request, pattern), content_type="text/event-stream; charset=utf-8", headers=headers
        )

    async def _lines(self, request: Request, pattern: str) -> AsyncIterator[str]:
        try:
            async with event_hub(pattern) as hub:
                place, asked_at = hub.place, time.monotonic()
                yield ": listening\n\n"
                while True:
                    lines, place = await _next_lines(hub, place)
                    yield lines
                    if time.monotonic() >= asked_at + access.RECHECK_SECONDS:
                        if not await still_may(request, self):
                            yield _line("refused", {"code": "permission_denied"})
                            return
                        asked_at = time.monotonic()
        except FellBehind:
            yield _line("lost", {"code": "too_slow"})
        except (OperationalError, InterfaceError):
            yield _line("lost", {"code": "database_away"})


async def _ended(uuid: UUID, timeout: float) -> None:
    try:
        await await_for_output(uuid, timeout)
    except (TaskFailed, TaskAborted, WaitTimeout):
        pass  # the row says so


def _output(task: Task) -> dict[str, Any]:
    return {"status": task.status, "result": task.result, "error": task.error, "abort_reason": task.abort_reason}


def _status(task: Task) -> int:
    return 200 if task.is_ended else 202


async def _next_lines(hub: EventHub, place: int) -> tuple[str, int]:
    """The next events, or a comment after a while without any."""
    try:
        async with asyncio.timeout(min(KEEP_ALIVE_SECONDS, access.RECHECK_SECONDS)):
            batch, place = await hub.take(place)
    except TimeoutError:
        return ": still here\n\n", place
    return "".join(_event(event) for event in batch), place


def _event(event: EventMessage) -> str:
    return _line(event.name, {"uuid": None if event.uuid is None else str(event.uuid), "args": event.args})


def _line(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
