"""The life of a task: its statuses and the moves between them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Where a task is in its life."""

    NEW = "new", _("new")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    ABORTED = "aborted", _("aborted")


ACTIVE = (Status.NEW, Status.RUNNING)
ENDED = (Status.DONE, Status.FAILED, Status.ABORTED)

MOVES: dict[Status, tuple[Status, ...]] = {
    Status.NEW: (Status.RUNNING, Status.ABORTED, Status.FAILED),
    Status.RUNNING: (Status.DONE, Status.FAILED, Status.ABORTED, Status.NEW),
    Status.DONE: (Status.NEW,),
    Status.FAILED: (Status.NEW,),
    Status.ABORTED: (Status.NEW,),
}
"""Which status may follow which. An ended task becomes new only by `retry_task`."""


class OnStop(models.TextChoices):
    """What becomes of a running task whose worker stops or is lost."""

    POSTPONE = "postpone", _("postpone")
    ABORT = "abort", _("abort")


class Outcome(models.TextChoices):
    """How an attempt ended."""

    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    ABORTED = "aborted", _("aborted")
    RETRIED = "retried", _("retried")
    POSTPONED = "postponed", _("postponed")
    STOPPED = "stopped", _("stopped")
    LOST = "lost", _("lost")
