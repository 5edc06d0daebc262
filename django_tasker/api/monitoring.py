"""What surrounds tasks: workers, operations and their pauses, numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from .. import access
from ..conf import options
from ..databases import alias
from ..errors import InvalidTask
from ..facade import tasker
from ..models import Pause, Worker
from ..query.fields import nearest
from ..registry import registry
from . import parameters, serializers
from .base import TaskerViewSet
from .bodies import body_of
from .schema import monitoring_schema


def alive_since() -> datetime:
    """A worker with an older heartbeat is lost."""
    return timezone.now() - timedelta(seconds=options().lease)


@monitoring_schema
class MonitoringViewSet(TaskerViewSet):
    """`workers/`, `operations/` and `stats/`."""

    pagination_class = None
    filter_backends = ()
    needs = {"pause": (access.VIEW, access.PAUSE), "resume": (access.VIEW, access.PAUSE)}

    def workers(self, request: Request) -> Response:
        parameters.refuse_unknown(request, ())
        workers = Worker.objects.using(alias()).order_by("id")
        shown = serializers.WorkerSerializer(workers, many=True, context={"alive_since": alive_since()})
        return Response({"results": shown.data})

    def stats(self, request: Request) -> Response:
        parameters.refuse_unknown(request, ())
        return Response(tasker.stats())

    def operations(self, request: Request) -> Response:
        parameters.refuse_unknown(request, ())
        return Response(_operations())

    def pause(self, request: Request) -> Response:
        given = self._named(request)
        tasker.pause(**given, by=request.user.get_username()[:150])
        return Response(_operations())

    def resume(self, request: Request) -> Response:
        tasker.resume(**self._named(request))
        return Response(_operations())

    def _named(self, request: Request) -> dict[str, Any]:
        """The operation, which the project must have, or the queue."""
        given = body_of(request, "operation", "queue")
        operation = given.get("operation")
        known = {*tasker.operations(), *_pauses(Pause.Kind.OPERATION)}
        if operation is not None and (not isinstance(operation, str) or operation not in known):
            hint = nearest(str(operation), sorted(known))
            raise InvalidTask(f"Unknown operation {operation!r:.100}; {hint}", path="operation")
        return given


def _operations() -> dict[str, Any]:
    """Operations in this project's code, on live workers or paused; and paused queues."""
    pauses, queues = _pauses(Pause.Kind.OPERATION), _pauses(Pause.Kind.QUEUE)
    live = Worker.objects.using(alias()).filter(heartbeat_at__gte=alive_since(), stopping_at=None)
    served = [operation for operations in live.values_list("operations", flat=True) for operation in operations]
    names = sorted({*tasker.operations(), *served, *pauses})
    return {
        "results": [_operation(name, served, pauses.get(name)) for name in names],
        "paused_queues": [_paused(pause) | {"queue": pause.name} for pause in queues.values()],
    }


def _pauses(kind: Pause.Kind) -> dict[str, Pause]:
    return {pause.name: pause for pause in Pause.objects.using(alias()).filter(kind=kind).order_by("name")}


def _operation(name: str, served: Iterable[str], pause: Pause | None) -> dict[str, Any]:
    assigned = registry.get(name)
    return {
        "operation": name,
        "executor": assigned.kind if assigned else None,
        "workers": sum(each == name for each in served),
        "is_paused": pause is not None,
        **(_paused(pause) if pause else {"paused_at": None, "paused_by": None}),
    }


def _paused(pause: Pause) -> dict[str, Any]:
    return {"paused_at": pause.paused_at, "paused_by": pause.paused_by}
