"""What each endpoint takes and answers, for drf-spectacular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from . import parameters, serializers
from .loglines import ENTRIES_OF_EACH, ENTRIES_OF_ONE, MAX_PAGE, PAGE
from .problems import MEDIA_TYPE
from .serializers import FIELDS

Decorator = Callable[[Any], Any]

_EXAMPLE_UUID = "7f8d2f0e-4a63-4c3c-9f0c-7d3c5f3b8a11"
_ERRORS = {
    400: "Something in the request is wrong; `path` says what.",
    401: "Nobody is logged in.",
    403: "A permission is missing.",
    404: "No task has this uuid.",
    406: "Only JSON is spoken.",
    409: "The task's status does not allow it, or its unique_key is taken.",
    412: "The task is not as the caller believed.",
    413: "The body is too large.",
    415: "Only JSON is understood.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "The database is away; `Retry-After` says when to come back.",
    501: "The server runs under WSGI, where waiting would occupy a worker.",
}
_ALWAYS = (400, 401, 403, 406, 429, 503)
_WITH_BODY = (413, 415)
_OF_ONE = (404,)


class PriorityExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A number or one of two names."""

    target_class = "django_tasker.api.serializers.PriorityField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"oneOf": [{"type": "number"}, {"type": "string", "enum": ["Infinity", "-Infinity"]}]}


class SparseExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A task of which `fields=` may leave out anything."""

    target_class = "django_tasker.api.serializers.TaskSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        schema.pop("required", None)
        return schema


def _described(
    operation_id: str,
    summary: str,
    answer: Any,
    *,
    request: Any = None,
    status: int = 200,
    also: tuple[int, ...] = (),
    answers: dict[Any, Any] | None = None,
    **more: Any,
) -> Decorator:
    errors = (*_ALWAYS, *also, *(_WITH_BODY if request is not None else ()))
    problem = serializers.ProblemSerializer
    responses: dict[Any, Any] = {**({} if answer is None else {status: answer}), **(answers or {})}
    responses |= {(code, MEDIA_TYPE): OpenApiResponse(problem, _ERRORS[code]) for code in errors}
    decorator: Decorator = extend_schema(
        operation_id=operation_id, summary=summary, request=request, responses=responses, tags=["tasker"], **more
    )
    return decorator


def _each(**decorators: Decorator) -> Decorator:
    """Decorate each action of a view set by its name."""

    def decorate(view: Any) -> Any:
        for name, decorator in decorators.items():
            setattr(view, name, decorator(getattr(view, name)))
        return view

    return decorate


def _query(name: str, kind: Any, description: str = "", **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)


def _header(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=description)


def _request_example(value: Any) -> list[OpenApiExample]:
    return [OpenApiExample("Example", value=value, request_only=True)]


def _shown(entries: int) -> list[OpenApiParameter]:
    logs = f"Put the newest log entries into `logs`, at most {entries} of a task."
    return [
        _query("fields", str, f"Only these, with commas: {', '.join(FIELDS)}."),
        _query("with_logs", bool, logs),
        _query("logs_max_level", str, "The most verbose level in `logs`.", default="info"),
    ]


_IF_MATCH = _header("If-Match", "The ETag as you read it; if the task has changed since, 412.")
_CHANGED = (404, 409, 412)
_ACTED = (404, 409)
_TASK = serializers.TaskDetailSerializer

task_schema: Decorator = _each(
    list=_described(
        "listTasks", "List tasks", serializers.TaskSerializer(many=True), parameters=_shown(ENTRIES_OF_EACH)
    ),
    create=_described(
        "addTask",
        "Add a task",
        OpenApiResponse(_TASK, "It was added."),
        request=serializers.TaskAddSerializer,
        status=201,
        answers={200: OpenApiResponse(_TASK, "With on_conflict=return: the one there is.")},
        also=(409,),
        description="Safe to repeat with a `unique_key`: at most one new or running task carries it.",
        examples=_request_example(
            {"operation": "import-book", "data": {"book": 7}, "priority": -5, "unique_key": "book-7"}
        ),
    ),
    search=_described(
        "searchTasks",
        "Search tasks by a query",
        serializers.SearchResultSerializer,
        request=serializers.SearchSerializer,
        examples=_request_example(
            {"query": {"data.book": {"$gte": 7}, "status": {"$in": ["new", "running"]}}, "sort": ["-data.book"]}
        ),
    ),
    count=_described(
        "countTasks",
        "Count the tasks that match a query",
        serializers.CountSerializer,
        request=serializers.CountQuerySerializer,
        examples=_request_example({"query": {"status": "failed"}}),
    ),
    retrieve=_described(
        "getTask",
        "Read a task",
        _TASK,
        also=_OF_ONE,
        answers={304: OpenApiResponse(description="It is as you know it.")},
        parameters=[*_shown(ENTRIES_OF_ONE), _header("If-None-Match", "An ETag that you have.")],
    ),
    partial_update=_described(
        "changeTask",
        "Change a new task",
        _TASK,
        request=serializers.TaskPatchSerializer,
        also=_CHANGED,
        parameters=[_IF_MATCH],
        description="Guarded by `If-Match`, or by `updated_at` in the body. null is the default.",
        examples=_request_example({"data": {"book": 8}, "run_timeout": 600}),
    ),
    destroy=_described(
        "deleteTask",
        "Delete an ended task",
        OpenApiResponse(description="It is gone."),
        status=204,
        also=_CHANGED,
        parameters=[_IF_MATCH],
    ),
    abort=_described(
        "abortTask",
        "Abort a task",
        _TASK,
        request=serializers.AbortSerializer,
        also=_ACTED,
        description="A new one at once; a running one is told to stop.",
        examples=_request_example({"reason": "wrong file"}),
    ),
    prioritize=_described(
        "prioritizeTask",
        "Give a new task another priority",
        _TASK,
        request=serializers.PrioritizeSerializer,
        also=_ACTED,
        examples=_request_example({"priority": "-Infinity"}),
    ),
    postpone=_described(
        "postponeTask",
        "Let a new task wait until a time",
        _TASK,
        request=serializers.PostponeSerializer,
        also=_ACTED,
        examples=_request_example({"run_at": "2030-01-31T07:00:00Z"}),
    ),
    retry=_described("retryTask", "Put an ended task back to new", _TASK, also=(*_ACTED, *_WITH_BODY)),
    abort_many=_described(
        "abortTasks",
        "Abort all tasks that match",
        serializers.CountSerializer,
        request=serializers.BulkAbortSerializer,
        examples=_request_example({"query": {"operation": "import-book", "status": "new"}, "reason": "wrong file"}),
    ),
    prioritize_many=_described(
        "prioritizeTasks",
        "Give all new tasks that match another priority",
        serializers.CountSerializer,
        request=serializers.BulkPrioritizeSerializer,
        examples=_request_example({"query": {"data.customer": "acme"}, "priority": -10}),
    ),
    retry_many=_described(
        "retryTasks",
        "Put all ended tasks that match back to new",
        serializers.CountSerializer,
        request=serializers.QuerySerializer,
        examples=_request_example({"query": {"status": "failed", "error.type": "OSError"}}),
    ),
    logs=_described(
        "getTaskLogs",
        "Read a task's log",
        serializers.LogPageSerializer,
        also=_OF_ONE,
        filters=False,
        parameters=[
            _query("after", {"type": "integer", "minimum": 0}, "The number of the last entry that you have."),
            _query("max_level", str, "The most verbose level.", default="debug"),
            _query("search", {"type": "string", "maxLength": 200}, "A part of the message."),
            _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE}),
        ],
    ),
    explain=_described(
        "explainTask", "Tell why a task is not running", serializers.ExplanationSerializer, also=_OF_ONE, filters=False
    ),
)

monitoring_schema: Decorator = _each(
    workers=_described("listWorkers", "List workers", serializers.WorkersSerializer),
    stats=_described("getStats", "Numbers for dashboards", serializers.StatsSerializer),
    operations=_described("listOperations", "List operations, and what is paused", serializers.OperationsSerializer),
    pause=_described(
        "pause",
        "Let no worker start tasks of an operation or a queue",
        serializers.OperationsSerializer,
        request=serializers.PauseSerializer,
        examples=_request_example({"operation": "import-book"}),
    ),
    resume=_described(
        "resume",
        "Undo a pause",
        serializers.OperationsSerializer,
        request=serializers.PauseSerializer,
        examples=_request_example({"queue": "nightly"}),
    ),
)


stream_schema: Decorator = _each(
    output=_described(
        "getTaskOutput",
        "Wait for a task's end",
        OpenApiResponse(serializers.OutputSerializer, "It has ended; `status` says how."),
        answers={202: OpenApiResponse(serializers.OutputSerializer, "It has not ended within the time.")},
        also=(404, 501),
        parameters=[
            _query(
                "timeout",
                {"type": "number", "minimum": 0, "maximum": parameters.MAX_WAIT, "default": 0},
                "Seconds to wait. More than 0 needs a server that speaks ASGI.",
            )
        ],
    ),
    events=_described(
        "streamEvents",
        "Stream what happens to tasks",
        None,
        answers={(200, "text/event-stream"): OpenApiResponse(str, "Server-sent events, named like `task.done`.")},
        also=(501,),
        parameters=[
            _query("pattern", str, "Events, like `task.done` or `task.<uuid>.*`; `*` stands for any text.", default="*")
        ],
        description="Nothing is missed from the comment `: listening` on. Ends with `lost` or `refused` if it must.",
    ),
)
