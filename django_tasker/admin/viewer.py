"""What the log viewer in the browser is told: addresses, and its texts in the reader's language."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.urls import get_script_prefix
from django.utils.translation import gettext as _

from ..models import Task

if TYPE_CHECKING:
    from .task import TaskAdmin


def viewer(admin: TaskAdmin, request: HttpRequest, task: Task) -> dict[str, Any]:
    """The context of `log_viewer.html`."""
    # Only where the site runs under ASGI can a websocket answer; whether it does, the viewer finds out.
    socket = f"{get_script_prefix()}ws/tasker/tasks/{task.uuid}/logs/" if isinstance(request, ASGIRequest) else ""
    return {
        "url": admin.url("logs", task.pk),
        "download_url": admin.url("logs_download", task.pk),
        "full_url": admin.url("log", task.pk),
        "page_url": admin.url("change", task.pk),
        "socket": socket,
        "started_at": (task.started_at or task.added_at).isoformat(),
        "status": task.status,
        "texts": json.dumps(_texts(), ensure_ascii=False),
        "levels": [(0, _("all levels")), (20, _("info and above")), (30, _("warnings and errors")), (40, _("errors"))],
    }


def _texts() -> dict[str, str]:
    return {
        "all": _("All"),
        "allLoggers": _("all loggers"),
        "attempt": _("Attempt {n}"),
        "copied": _("Copied"),
        "empty": _("Nothing was logged yet."),
        "emptyEnded": _("Nothing was logged."),
        "emptyFilter": _("No line matches the filter."),
        "ended": _("Ended"),
        "extra": _("Fields"),
        "found": _("{n} of {count}"),
        "foundNone": _("Nothing found"),
        "foundSome": _("{count} found"),
        "line": _("Link to line {n}"),
        "lines": _("{n} lines"),
        "live": _("Live"),
        "newLines": _("New lines: {n}"),
        "polling": _("Live (polling)"),
        "reconnecting": _("Connection lost; reconnecting"),
        "connecting": _("Connecting"),
        "showAll": _("Show all {n} characters"),
        "traceback": _("Traceback"),
        "denied": _("You may not see this log any more."),
    }
