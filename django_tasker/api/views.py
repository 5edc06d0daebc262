"""Tasks: list, search, add, read, change, act, follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from .. import access, lifecycle, specs
from ..databases import alias
from ..errors import InvalidQuery, InvalidTask, InvalidTaskState, TaskNotFound
from ..facade import tasker
from ..models import Task
from ..query.fields import nearest
from . import etags, parameters, serializers
from .base import TaskerViewSet
from .bodies import body_of, check_conditions, query_of, required_query
from .filters import QueryBackend, TaskFilterSet
from .loglines import ENTRIES_OF_ONE, attach_newest_logs, log_page
from .pagination import TaskPagination
from .schema import task_schema

SEARCH_LIMIT = 50
MAX_SEARCH_LIMIT = 200
MAX_SKIP = 10_000


@task_schema
class TaskViewSet(TaskerViewSet):
    """`tasks/` and everything below it."""

    filter_backends = (DjangoFilterBackend, QueryBackend)
    filterset_class = TaskFilterSet
    pagination_class = TaskPagination
    serializer_class = serializers.TaskSerializer
    lookup_field = "uuid"
    with_logs = False

    needs = {
        "create": (access.ADD,),
        "partial_update": (access.VIEW, access.CHANGE),
        "destroy": (access.VIEW, access.DELETE),
        "abort": (access.VIEW, access.ABORT),
        "abort_many": (access.VIEW, access.ABORT),
        "prioritize": (access.VIEW, access.PRIORITIZE),
        "prioritize_many": (access.VIEW, access.PRIORITIZE),
        "postpone": (access.VIEW, access.PRIORITIZE),
        "retry": (access.VIEW, access.RETRY),
        "retry_many": (access.VIEW, access.RETRY),
    }

    # -- reading ----------------------------------------------------------------------------------------------------

    def list(self, request: Request) -> Response:
        self.with_logs = parameters.flag(request.query_params, "with_logs")
        fields = parameters.names(request.query_params, "fields", serializers.FIELDS)
        level = parameters.level(request.query_params, "logs_max_level", "info")
        tasks = self.filter_queryset(without_unwanted(self.get_queryset(), fields))
        page: Sequence[Task] = self.paginate_queryset(tasks) or []
        return self.get_paginated_response(self._shown(page, fields, self.with_logs, level))

    def search(self, request: Request) -> Response:
        given = body_of(request, "query", "sort", "limit", "skip", "fields", "with_logs", "logs_max_level")
        fields = _field_list(given.get("fields"))
        with_logs = _default(given, "with_logs", False)
        if not isinstance(with_logs, bool):
            raise InvalidQuery(f"with_logs must be true or false, not {with_logs!r:.50}.", path="with_logs")
        level = parameters.level(
            {"logs_max_level": str(_default(given, "logs_max_level", ""))}, "logs_max_level", "info"
        )
        tasks = tasker.find_tasks(
            query_of(_default(given, "query", {})),
            sort=given.get("sort"),
            limit=specs.check_whole(_default(given, "limit", SEARCH_LIMIT), "limit", 0, MAX_SEARCH_LIMIT),
            skip=specs.check_whole(_default(given, "skip", 0), "skip", 0, MAX_SKIP),
        )
        return Response({"results": self._shown(tasks, fields, with_logs, level)})

    def count(self, request: Request) -> Response:
        given = body_of(request, "query")
        return Response({"count": tasker.count_tasks(query_of(_default(given, "query", {})))})

    def retrieve(self, request: Request, uuid: UUID) -> Response:
        parameters.refuse_unknown(request, ("fields", "with_logs", "logs_max_level"))
        fields = parameters.names(request.query_params, "fields", serializers.FIELDS)
        with_logs = parameters.flag(request.query_params, "with_logs")
        level = parameters.level(request.query_params, "logs_max_level", "info")
        task = tasker.get_task(uuid)
        etag = etags.etag_of(task)
        if etags.is_known(request, etag):
            return Response(status=304, headers={"ETag": etag})
        if with_logs:
            attach_newest_logs([task], level, ENTRIES_OF_ONE)
        return self._one(task, fields=fields, with_logs=with_logs)

    def logs(self, request: Request, uuid: UUID) -> Response:
        parameters.refuse_unknown(request, ("after", "max_level", "search", "limit"))
        return Response(log_page(uuid, request.query_params))

    def explain(self, request: Request, uuid: UUID) -> Response:
        parameters.refuse_unknown(request, ())
        return Response(tasker.explain_task(uuid).as_dict())

    # -- adding and changing ----------------------------------------------------------------------------------------

    def create(self, request: Request) -> Response:
        given = body_of(request, *serializers.ADDABLE)
        if "operation" not in given:
            raise InvalidTask("A task needs an operation.", path="operation")
        operation, data = given.pop("operation"), given.pop("data", None)
        known = tasker.operations()
        if operation not in known:
            hint = nearest(str(operation), known)
            raise InvalidTask(f"Unknown operation {operation!r:.100}; {hint}", path="operation")
        check_conditions(given.get("concurrency"))
        self._check_conflict(request, given)
        there = _carrier_of(given.get("unique_key"))
        if given.get("on_conflict", "") is None:
            del given["on_conflict"]
        task = tasker.add_task(operation, data, **given, added_by=request.user.get_username()[:150])
        return self._one(task, status=200 if task.uuid == there else 201)

    def _check_conflict(self, request: Request, given: dict[str, Any]) -> None:
        """To get another's task back, or to abort it, needs more than to add."""
        needed = {"return": access.VIEW, "replace": access.ABORT}.get(str(given.get("on_conflict")))
        if needed and not access.may(request.user, needed):
            raise PermissionDenied(f"on_conflict={given['on_conflict']} needs the permission {needed}.")

    def partial_update(self, request: Request, uuid: UUID) -> Response:
        changes = body_of(request, *serializers.CHANGEABLE, "updated_at")
        updated_at = changes.pop("updated_at", None)
        if {"priority", "run_at"} & changes.keys() and not access.may(request.user, access.PRIORITIZE, uuid=uuid):
            raise PermissionDenied(f"To change priority or run_at needs the permission {access.PRIORITIZE}.")
        check_conditions(changes.get("concurrency"))
        with transaction.atomic(using=alias()):
            task = _locked(uuid)
            etags.check_unchanged(request, task, updated_at)
            task = tasker.update_task(task, **changes)
        return self._one(task)

    def destroy(self, request: Request, uuid: UUID) -> Response:
        with transaction.atomic(using=alias()):
            task = _locked(uuid)
            etags.check_unchanged(request, task, None)
            if not tasker.delete_tasks({"uuid": str(uuid)}):
                raise InvalidTaskState(f"Task {uuid} is {task.status}; only ended ones can be deleted.")
        return Response(status=204)

    # -- acting -----------------------------------------------------------------------------------------------------

    def abort(self, request: Request, uuid: UUID) -> Response:
        tasker.abort_task(uuid, body_of(request, "reason").get("reason"))
        return self._one(tasker.get_task(uuid))

    def prioritize(self, request: Request, uuid: UUID) -> Response:
        tasker.prioritize_task(uuid, _required(body_of(request, "priority"), "priority"))
        return self._one(tasker.get_task(uuid))

    def postpone(self, request: Request, uuid: UUID) -> Response:
        run_at = _required(body_of(request, "run_at"), "run_at")
        tasker.postpone_task(uuid, None if run_at is None else specs.check_time(run_at, "run_at"))
        return self._one(tasker.get_task(uuid))

    def retry(self, request: Request, uuid: UUID) -> Response:
        body_of(request)
        tasker.retry_task(uuid)
        return self._one(tasker.get_task(uuid))

    def abort_many(self, request: Request) -> Response:
        given = body_of(request, "query", "reason")
        return Response({"count": tasker.abort_tasks(required_query(given), given.get("reason"))})

    def prioritize_many(self, request: Request) -> Response:
        given = body_of(request, "query", "priority")
        priority = _required(given, "priority")
        return Response({"count": tasker.prioritize_tasks(required_query(given), priority)})

    def retry_many(self, request: Request) -> Response:
        return Response({"count": tasker.retry_tasks(required_query(body_of(request, "query")))})

    # -- showing ----------------------------------------------------------------------------------------------------

    def _shown(self, tasks: Sequence[Task], fields: Sequence[str] | None, with_logs: bool, level: int) -> Any:
        if with_logs:
            attach_newest_logs(tasks, level)
        context = {"request": self.request, "fields": fields, "with_logs": with_logs}
        return serializers.TaskSerializer(tasks, many=True, context=context).data

    def _one(
        self, task: Task, *, fields: Sequence[str] | None = None, with_logs: bool = False, status: int = 200
    ) -> Response:
        wanted = None if fields is None else [*fields, "earlier_attempts"]
        context = {"request": self.request, "fields": wanted, "with_logs": with_logs}
        shown = serializers.TaskDetailSerializer(task, context=context)
        return Response(shown.data, status=status, headers={"ETag": etags.etag_of(task)})


def without_unwanted(tasks: QuerySet[Task], fields: Sequence[str] | None) -> QuerySet[Task]:
    """Leave the large columns in the database that the caller has no use for."""
    if fields is None:
        return tasks
    return tasks.defer(*(name for name in serializers.JSON_COLUMNS if name not in fields))


def _field_list(given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise InvalidQuery(f"fields must be a list of names, not {given!r:.100}.", path="fields")
    return parameters.names({"fields": ",".join(given)}, "fields", serializers.FIELDS)


def _default(given: dict[str, Any], name: str, value: Any) -> Any:
    return value if given.get(name) is None else given[name]


def _required(given: dict[str, Any], name: str) -> Any:
    if name not in given:
        raise InvalidTask(f"{name} is needed.", path=name)
    return given[name]


def _locked(uuid: UUID) -> Task:
    """The task's row, kept as it is until the transaction ends."""
    task = Task.objects.using(alias()).select_for_update().filter(uuid=uuid).first()
    if task is None:
        raise TaskNotFound(f"No task has the uuid {uuid}.")
    return task


def _carrier_of(unique_key: Any) -> UUID | None:
    """The new or running task that carries the key."""
    if unique_key is None:
        return None
    specs.check_name(unique_key, "unique_key", 255)
    carriers = Task.objects.using(alias()).filter(active_key=lifecycle.active_key_of(unique_key))
    return carriers.values_list("uuid", flat=True).first()
