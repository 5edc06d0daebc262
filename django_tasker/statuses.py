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


class Ahead(models.IntegerChoices):
    """Was a task claimed ahead: before the slot that is to run it was free?

    When a worker is lost, such a task has hardly begun. It is LOST then without being charged a loss, and gets a slot
    at its next claim, so that what does kill workers is charged from then on.
    """

    NO = 0
    CLAIMED = 1
    LOST = 2


class Outcome(models.TextChoices):
    """How an attempt ended."""

    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    ABORTED = "aborted", _("aborted")
    RETRIED = "retried", _("retried")
    POSTPONED = "postponed", _("postponed")
    STOPPED = "stopped", _("stopped")
    LOST = "lost", _("lost")
