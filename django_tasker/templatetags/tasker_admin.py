"""What the admin's templates need: times and statuses as in the list, and the dashboard of the app's index.

The admin is imported inside the tags: unfold loads all tag libraries while its own admin is only half imported.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString

from ..models import Task

register = template.Library()


@register.simple_tag
def tasker_time(moment: datetime | None) -> SafeString:
    """A moment, relative to now where scripts run."""
    from ..admin.columns import time_ago

    return time_ago(moment)


@register.simple_tag
def tasker_status(task: Task) -> SafeString:
    """A task's status as a coloured word."""
    from ..admin.columns import status_badge

    return status_badge(task)


@register.simple_tag
def tasker_progress(task: Task) -> SafeString:
    """A task's progress bar."""
    from ..admin.columns import progress_bar

    return progress_bar(task)


@register.inclusion_tag("django_tasker/admin/dashboard.html", takes_context=True)
def tasker_dashboard(context: Any) -> dict[str, Any]:
    """The dashboard, for those who may view tasks; nothing for others."""
    from ..admin.dashboard import dashboard

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
