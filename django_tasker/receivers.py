"""Our own listeners: the log lines of life events, all in one place."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.dispatch import receiver

from . import signals

logger = logging.getLogger(__name__)


@receiver(signals.tasker_started, dispatch_uid="django_tasker.receivers.started")
def log_started(**_: Any) -> None:
    logger.info("worker started")


@receiver(signals.tasker_stopped, dispatch_uid="django_tasker.receivers.stopped")
def log_stopped(**_: Any) -> None:
    logger.info("worker stopped")


@receiver(signals.task_failed, dispatch_uid="django_tasker.receivers.failed")
def log_failed(uuid: UUID, error: dict[str, Any] | None = None, **_: Any) -> None:
    error = error or {}
    logger.error("task failed task_id=%s error=%s: %s", uuid, error.get("type"), error.get("message"))


@receiver(signals.task_aborted, dispatch_uid="django_tasker.receivers.aborted")
def log_aborted(uuid: UUID, reason: str | None = None, **_: Any) -> None:
    logger.info("task aborted task_id=%s reason=%s", uuid, reason)


@receiver(signals.task_retried, dispatch_uid="django_tasker.receivers.retried")
def log_retried(uuid: UUID, error: dict[str, Any] | None = None, **_: Any) -> None:
    logger.info("task retried task_id=%s error=%s", uuid, (error or {}).get("type"))
