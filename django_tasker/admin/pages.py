"""The pages and addresses of one task: each checks the permission, finds the task and hands over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse

from ..models import Task
from ..statuses import Status
from . import detail, logs
from .actions import ACTIONS
from .columns import duration_of, duration_text, number_text, progress_bar, status_badge
from .viewer import viewer

if TYPE_CHECKING:
    from .task import TaskAdmin


def task_page(
    admin: TaskAdmin, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
) -> HttpResponse:
    """All about one task. It is read, never posted to: changes are actions."""
    task = _seen(admin, request, object_id)
    if task is None:
        return admin.not_found(request, object_id)
    if request.method not in ("GET", "HEAD"):
        raise PermissionDenied
    shown = detail.attempts(task)
    context = {
        **_context(admin, request, task),
        "buttons": [
            action
            for action in ACTIONS.values()
            if action.can_hit(task) and getattr(admin, f"has_{action.permission}_permission")(request)
        ],
        "can_change": task.status == Status.NEW and admin.has_change_permission(request, task),
        "can_pause": admin.has_pause_permission(request),
        "attempts": shown,
        "timeline": detail.timeline(task, shown),
        "json_fields": detail.json_fields(task),
        "explanation": detail.explanation(task),
        "blocked": detail.blocked(task),
        "place_in_history": admin.url("history", task.pk),
        **(extra_context or {}),
    }
    return TemplateResponse(request, "django_tasker/admin/task.html", context)


def log_page(admin: TaskAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """The log viewer in the whole window."""
    task = _seen(admin, request, object_id)
    if task is None:
        return admin.not_found(request, object_id)
    return TemplateResponse(request, "django_tasker/admin/log.html", _context(admin, request, task))


def _context(admin: TaskAdmin, request: HttpRequest, task: Task) -> dict[str, Any]:
    duration = duration_of(task)
    return {
        **admin.admin_site.each_context(request),
        "title": str(task.operation),
        "subtitle": str(task.uuid),
        "opts": admin.opts,
        "media": admin.media,
        "task": task,
        "original": task,
        "badge": status_badge(task),
        "progress": progress_bar(task),
        "priority": number_text(task.priority),
        "duration": duration_text(duration.total_seconds()) if duration is not None else "",
        "is_new": task.status == Status.NEW,
        "viewer": viewer(admin, request, task),
    }


def logs_page(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view of one task's log: `view(task, query string)`; 404 when there is no such task."""

    def answer(admin: TaskAdmin, request: HttpRequest, object_id: str) -> HttpResponseBase:
        response = view(_found(admin, request, object_id), request.GET)
        response["Cache-Control"] = "no-store"
        return response

    return answer


logs_index = logs_page(logs.index)
logs_search = logs_page(logs.search)
logs_entries = logs_page(logs.page)


def logs_download(admin: TaskAdmin, request: HttpRequest, object_id: str) -> HttpResponseBase:
    return logs.download(request, _found(admin, request, object_id))


def json_file(admin: TaskAdmin, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
    """One JSON field of a task, whole, as a file."""
    task = _found(admin, request, object_id)
    if name not in ("data", "result", "error", "concurrency"):
        raise Http404
    text = json.dumps(getattr(task, name), ensure_ascii=False, indent=2)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="task-{task.uuid}-{name}.json"'
    return response


def _seen(admin: TaskAdmin, request: HttpRequest, object_id: str) -> Task | None:
    """The task, for those who may see it. Raises PermissionDenied."""
    task = admin.get_object(request, object_id)
    if not admin.has_view_or_change_permission(request, task):
        raise PermissionDenied
    return task


def _found(admin: TaskAdmin, request: HttpRequest, object_id: str) -> Task:
    task = _seen(admin, request, object_id)
    if task is None:
        raise Http404
    return task
