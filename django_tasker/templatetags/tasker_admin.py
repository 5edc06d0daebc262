"""What the admin's templates need: times and statuses as in the list, and the dashboard of the app's index."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from ..admin.columns import status_badge, time_ago
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
