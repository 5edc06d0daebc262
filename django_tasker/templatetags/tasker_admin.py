"""What the admin's templates need: times and statuses as in the list, and the dashboard of the app's index."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString

from ..admin.columns import progress_bar, status_badge, time_ago
from ..admin.dashboard import dashboard
from ..models import Task

register = template.Library()


@register.simple_tag
def tasker_time(moment: datetime | None) -> SafeString:
    """A moment, relative to now where scripts run."""
    return time_ago(moment)


@register.simple_tag
def tasker_status(task: Task) -> SafeString:
    """A task's status as a coloured word."""
    return status_badge(task)


@register.inclusion_tag("django_tasker/admin/dashboard.html", takes_context=True)
def tasker_dashboard(context: Any) -> dict[str, Any]:
    """The dashboard, for those who may view tasks; nothing for others."""
    request = context.request  # there in every RequestContext, with or without its context processor
    user = request.user
    if not (user.has_perm("django_tasker.view_task") or user.has_perm("django_tasker.change_task")):
        return {"may_view": False}
    return {
        **dashboard(),
        "may_view": True,
        "can_pause": user.has_perm("django_tasker.pause_task"),
        "request": request,
    }


@register.simple_tag
def tasker_progress(task: Task) -> SafeString:
    """A task's progress bar."""
    return progress_bar(task)
