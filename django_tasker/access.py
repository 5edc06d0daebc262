"""Who may do what: one answer for REST, server-sent events and websockets.

Permissions are Django's own. A backend that knows permissions of single objects may add tasks to what a user's
global permissions allow; it can't take any away.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.utils.crypto import constant_time_compare

from .databases import alias
from .models import Task

VIEW = "django_tasker.view_task"
ADD = "django_tasker.add_task"
CHANGE = "django_tasker.change_task"
DELETE = "django_tasker.delete_task"
ABORT = "django_tasker.abort_task"
PRIORITIZE = "django_tasker.prioritize_task"
RETRY = "django_tasker.retry_task"
PAUSE = "django_tasker.pause_task"

RECHECK_SECONDS = 60.0
"""How often a door that stays open asks again."""


def is_known(user: Any) -> bool:
    """Is this somebody who is logged in and may be?"""
    return user is not None and user.is_authenticated and user.is_active


def may(user: Any, *permissions: str, uuid: UUID | None = None) -> bool:
    """Has `user` all these permissions: for every task or, if `uuid` is given, at least for that one?"""
    if not is_known(user):
        return False
    lacking = [permission for permission in permissions if not user.has_perm(permission)]
    if not lacking or uuid is None:
        return not lacking
    task = Task.objects.using(alias()).filter(uuid=uuid).first()
    return task is not None and all(user.has_perm(permission, task) for permission in lacking)


def user_now(user: Any, session: Any = None) -> Any:
    """`user` as the database has it now, with no permission remembered; None if they can't be let in any more.

    Args:
        session: of the request. If the user was taken from it, they must still be logged in there.
    """
    if not is_known(user):
        return None
    if session is not None and session.get(SESSION_KEY) == str(user.pk):
        return _user_of_session(session.session_key)
    fresh = get_user_model()._default_manager.filter(pk=user.pk).first()
    return fresh if is_known(fresh) else None


def _user_of_session(key: str | None) -> Any:
    """Who is logged in, by a session read anew: a logout or another password ends it."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    path = session.get(BACKEND_SESSION_KEY)
    if path not in settings.AUTHENTICATION_BACKENDS:
        return None
    user: Any = load_backend(path).get_user(get_user_model()._meta.pk.to_python(session[SESSION_KEY]))
    if not is_known(user):
        return None
    if hasattr(user, "get_session_auth_hash"):
        known = session.get(HASH_SESSION_KEY) or ""
        if not constant_time_compare(known, user.get_session_auth_hash()):
            return None
    return user
