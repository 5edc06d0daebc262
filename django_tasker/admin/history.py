"""Entries in the admin's history: who did what to which task, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.http import HttpRequest


def note(
    request: HttpRequest, objects: Sequence[Any], message: str, *, reason: str = "", deleted: bool = False
) -> None:
    """Write one entry for each object, with the user of the request and the reason."""
    if not objects:
        return
    text = " ".join(part for part in (message, reason.strip()) if part)
    LogEntry.objects.log_actions(request.user.pk, objects, DELETION if deleted else CHANGE, change_message=text)  # type: ignore[arg-type]
