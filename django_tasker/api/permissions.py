"""Which permissions an action needs."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from .. import access


class TaskPermission(BasePermission):
    """Has the user what the view's `needs` names for this action? For one task, an object permission is enough."""

    def has_permission(self, request: Request, view: Any) -> bool:
        needed = view.needs.get(view.action, (access.VIEW,))
        return access.may(request.user, *needed, uuid=view.subject())
