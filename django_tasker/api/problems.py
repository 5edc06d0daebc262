"""Errors as problem documents: `application/problem+json` as in RFC 9457, with our `code` and `path`."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from ..errors import (
    DuplicateTask,
    InvalidQuery,
    InvalidTask,
    InvalidTaskState,
    TaskerError,
    TaskNotFound,
    UnknownEvent,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS: dict[type[TaskerError], int] = {
    InvalidQuery: 400,
    InvalidTask: 400,
    UnknownEvent: 400,
    TaskNotFound: 404,
    InvalidTaskState: 409,
    DuplicateTask: 409,
}


class PreconditionFailed(exceptions.APIException):
    """The task is not as the caller believed."""

    status_code = 412
    default_code = "precondition_failed"
    default_detail = "The task has changed since you read it: read it again."


class TooLarge(exceptions.APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = "The request is too large."


class NeedsAsgi(exceptions.APIException):
    """Waiting would occupy a worker of a WSGI server."""

    status_code = 501
    default_code = "needs_asgi"
    default_detail = "This server runs under WSGI and can't wait for tasks or stream events; serve it by ASGI."


def problem(status: int, code: str, detail: str, path: str | None = None, **more: Any) -> Response:
    """A response that says what is wrong."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    if path is not None:
        body["path"] = path
    return Response({**body, **more}, status=status, content_type=MEDIA_TYPE)


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's exception handler for our views; None lets an unforeseen error be one of the server."""
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    response = _response_for(error)
    if response is not None:
        set_rollback()
    return response


def _response_for(error: Exception) -> Response | None:
    if isinstance(error, TaskerError):
        return _of_ours(error)
    if isinstance(error, exceptions.APIException):
        return _of_framework(error)
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("The database can't be asked", exc_info=error)
        response = problem(503, "database_away", "The database can't be asked now; try again.")
        response["Retry-After"] = "5"
        return response
    return None


def _of_ours(error: TaskerError) -> Response | None:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        return None
    more = {"task": str(error.task.uuid)} if isinstance(error, DuplicateTask) else {}
    return problem(status, error.code, str(error), getattr(error, "path", None), **more)


def _of_framework(error: exceptions.APIException) -> Response:
    codes = error.get_codes()
    if isinstance(error.detail, dict):  # of a filter set: {"name": ["what", …]}
        faults = [(name, str(text)) for name, texts in error.detail.items() for text in texts]
        errors = [{"path": name, "detail": text} for name, text in faults]
        return problem(error.status_code, "invalid", faults[0][1], faults[0][0], errors=errors)
    detail = " ".join(map(str, error.detail)) if isinstance(error.detail, list) else str(error.detail)
    response = problem(error.status_code, codes if isinstance(codes, str) else "invalid", detail)
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    if (wait := getattr(error, "wait", None)) is not None:
        response["Retry-After"] = str(int(wait) + 1)
    return response
