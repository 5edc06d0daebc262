"""The rows: columns, constraints, indexes and the querysets' vocabulary.

Nothing here decides: `lifecycle` alone writes `Task.status`, `admission` alone reads `hold` and `lane`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from . import query
from .json_values import Utf8Encoder
from .statuses import ACTIVE, ENDED, Ahead, OnStop, Outcome, Status
from .uuids import uuid7

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.checks import CheckMessage
    from django.db.backends.base.base import BaseDatabaseWrapper

    _FloatField = models.FloatField[float, float]
else:
    _FloatField = models.FloatField  # generic in the stubs only

_MYSQL_INFINITY = 1.7976931348623157e308


class PriorityField(_FloatField):
    """A float from -Infinity to Infinity, never NaN; the smallest runs first.

    MySQL's DOUBLE has no infinity, so there the largest finite doubles stand for it.
    """

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        if isinstance(value, float) and math.isnan(value):
            raise ValidationError(_("A priority can't be NaN."), code="nan")
        return value

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        if connection.vendor == "mysql" and isinstance(value, float) and math.isinf(value):
            return math.copysign(_MYSQL_INFINITY, value)
        return value

    def from_db_value(self, value: Any, _expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if connection.vendor == "mysql" and value is not None and abs(value) >= _MYSQL_INFINITY:
            return math.copysign(math.inf, value)
        return value


class UniqueWhereSet(models.UniqueConstraint):
    """Unique among the rows that carry a value: most tasks have no unique key, and pay for no index of them.

    A database without partial indexes gets an index of all rows: NULLs do not collide there either.
    """

    def __init__(self, field: str, *, name: str) -> None:
        super().__init__(fields=[field], name=name, condition=Q(**{f"{field}__isnull": False}))

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        path, _, _ = super().deconstruct()
        return path, tuple(self.fields), {"name": self.name}

    def _get_condition_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:
        if not schema_editor.connection.features.supports_partial_indexes:
            return None
        sql: str | None = super()._get_condition_sql(model, schema_editor)  # type: ignore[misc]
        return sql

    def check(self, model: type[models.Model], connection: BaseDatabaseWrapper) -> list[CheckMessage]:
        return _without_w036(super().check(model, connection))

    def _check(self, model: type[models.Model], connection: BaseDatabaseWrapper) -> list[CheckMessage]:
        return _without_w036(super()._check(model, connection))  # type: ignore[misc]  # its name before Django 6


def _without_w036(messages: list[CheckMessage]) -> list[CheckMessage]:
    """Without the warning that a constraint is not made for want of partial indexes."""
    return [each for each in messages if each.id != "models.W036"]


class TaskQuerySet(models.QuerySet["Task"]):
    """Tasks by where they are in their life, and by query."""

    def waiting(self) -> TaskQuerySet:
        return self.filter(status=Status.NEW)

    def running(self) -> TaskQuerySet:
        return self.filter(status=Status.RUNNING)

    def active(self) -> TaskQuerySet:
        return self.filter(status__in=ACTIVE)

    def ended(self) -> TaskQuerySet:
        return self.filter(status__in=ENDED)

    def aborting(self) -> TaskQuerySet:
        return self.filter(status=Status.RUNNING, abort_requested_at__isnull=False)

    def due(self, now: datetime) -> TaskQuerySet:
        return self.waiting().filter(Q(run_at__isnull=True) | Q(run_at__lte=now))

    def in_queue_order(self) -> TaskQuerySet:
        return self.order_by("priority", "id")

    def claimed_by(self, worker_id: int) -> TaskQuerySet:
        return self.running().filter(worker_id=worker_id)

    def matching(self, condition: dict[str, Any] | Q | None, *, allow_regex: bool = True) -> TaskQuerySet:
        """Those that a query (JSON object or Q) matches; None matches all. Raises InvalidQuery."""
        if condition is None:
            return self.all()
        if isinstance(condition, Q):
            return self.filter(condition)
        return self.filter(query.to_q(query.parse(condition, allow_regex=allow_regex)))


class Task(models.Model):
    """One task: an operation to run on data, and everything that is known of its life."""

    uuid = models.UUIDField(_("uuid"), default=uuid7, unique=True, editable=False)
    operation = models.CharField(_("operation"), max_length=200)
    queue = models.CharField(_("queue"), max_length=100, default="default")
    data = models.JSONField(_("data"), null=True, blank=True, encoder=Utf8Encoder)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.NEW)
    priority = PriorityField(_("priority"), default=0.0, help_text=_("The smallest runs first."))
    run_at = models.DateTimeField(_("run at"), null=True, blank=True, help_text=_("Not before this time."))

    # Templates of the operation are part of it; $ref stands unresolved.
    concurrency = models.JSONField(_("concurrency conditions"), default=list, blank=True)
    # Hash of the resolved conditions; 0: none. Tasks of one lane are refused together.
    lane = models.BigIntegerField(default=0, editable=False)
    # The stream a new task waits in: 0 the front, 1 until run_at, else a Stream's id; -1 when not new.
    hold = models.BigIntegerField(default=0, editable=False)

    run_timeout = models.FloatField(_("run timeout"), null=True, blank=True, help_text=_("Seconds."))
    run_until = models.CharField(
        _("run until"), max_length=100, null=True, blank=True, help_text=_("A cron expression.")
    )
    queue_timeout = models.JSONField(_("queue timeout"), null=True, blank=True)
    queue_deadline_at = models.DateTimeField(null=True, editable=False)
    max_attempts = models.PositiveIntegerField(_("max attempts"), default=1)
    retry_delay = models.FloatField(_("retry delay"), null=True, blank=True, help_text=_("Seconds."))
    on_stop = models.CharField(_("on stop"), max_length=10, choices=OnStop.choices, default=OnStop.POSTPONE)
    keep_for = models.FloatField(_("keep for"), null=True, blank=True, help_text=_("Seconds."))
    unique_key = models.CharField(_("unique key"), max_length=255, null=True, blank=True)
    # Digest of unique_key while the task is new or running, else NULL: unique on every database, in every collation.
    active_key = models.CharField(max_length=64, null=True, editable=False)
    added_by = models.CharField(_("added by"), max_length=150, null=True, blank=True)

    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    losses = models.PositiveIntegerField(_("losses"), default=0)
    # Claimed ahead of a free slot? A worker's loss is not charged to such a task; see `statuses.Ahead`.
    ahead = models.PositiveSmallIntegerField(default=Ahead.NO, editable=False)
    worker_id = models.BigIntegerField(null=True, editable=False)
    worker_name = models.CharField(_("worker"), max_length=200, null=True, blank=True)
    abort_requested_at = models.DateTimeField(_("abort requested at"), null=True, editable=False)
    abort_reason = models.TextField(_("abort reason"), null=True, blank=True)
    result = models.JSONField(_("result"), null=True, blank=True, encoder=Utf8Encoder)
    error = models.JSONField(_("error"), null=True, blank=True, encoder=Utf8Encoder)
    progress = models.JSONField(_("progress"), null=True, blank=True, encoder=Utf8Encoder)
    log_count = models.PositiveIntegerField(_("log entries"), default=0)
    log_bytes = models.PositiveBigIntegerField(default=0, editable=False)  # of all attempts, for the cap
    warning_count = models.PositiveIntegerField(_("warnings"), default=0)
    error_count = models.PositiveIntegerField(_("errors"), default=0)

    added_at = models.DateTimeField(_("added at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated at"))
    expires_at = models.DateTimeField(_("expires at"), null=True, editable=False)

    objects = TaskQuerySet.as_manager()

    logs: list[TaskLog]
    """The log entries, where the caller asked for them (`with_logs=True`)."""

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        permissions = [
            ("abort_task", "Can abort tasks"),
            ("prioritize_task", "Can prioritize and postpone tasks"),
            ("retry_task", "Can retry tasks"),
            ("pause_task", "Can pause and resume operations and queues"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="tasker_task_status"),
            models.CheckConstraint(
                condition=Q(status__in=ENDED, ended_at__isnull=False) | Q(status__in=ACTIVE, ended_at__isnull=True),
                name="tasker_task_ended_at",
            ),
            UniqueWhereSet("active_key", name="tasker_task_active_key"),
        ]
        indexes = [
            models.Index(
                fields=["hold", "priority", "id"],
                condition=Q(status=Status.NEW),
                name="tasker_task_claim",
            ),
            models.Index(fields=["worker_id"], condition=Q(status=Status.RUNNING), name="tasker_task_running"),
            models.Index(fields=["run_at"], condition=Q(status=Status.NEW, hold=1), name="tasker_task_run_at"),
            models.Index(
                fields=["queue_deadline_at"],
                condition=Q(status=Status.NEW, queue_deadline_at__isnull=False),
                name="tasker_task_deadline",
            ),
            models.Index(fields=["status", "id"], name="tasker_task_status_id"),
            models.Index(fields=["operation", "status", "hold"], name="tasker_task_operation"),
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="tasker_task_ended"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="tasker_task_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.uuid}"

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_aborting(self) -> bool:
        """Running, and told to stop."""
        return self.status == Status.RUNNING and self.abort_requested_at is not None


class TaskLog(models.Model):
    """One log entry. `seq` numbers the entries of a task 1, 2, 3 … through all its attempts."""

    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="log_entries", db_index=False, verbose_name=_("task")
    )
    seq = models.PositiveIntegerField(_("number"))
    attempt = models.PositiveIntegerField(_("attempt"))
    level = models.PositiveSmallIntegerField(_("level"))  # as in logging: 10 debug … 50 critical
    logger = models.CharField(_("logger"), max_length=200)
    message = models.TextField(_("message"))
    traceback = models.TextField(_("traceback"), null=True, blank=True)
    extra = models.JSONField(_("extra"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"))  # by the clock of the process that ran the task

    class Meta:
        verbose_name = _("log entry")
        verbose_name_plural = _("log entries")
        constraints = [models.UniqueConstraint(fields=["task", "seq"], name="tasker_log_task_seq")]

    def __str__(self) -> str:
        return f"#{self.seq} {self.message[:80]}"


class Attempt(models.Model):
    """An attempt that led back to new (or, by `retry_task`, was followed by another life).

    The latest attempt stands on the task's own row, so that a task which succeeds at once writes none.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="earlier_attempts", verbose_name=_("task"))
    number = models.PositiveIntegerField(_("attempt"))
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices)
    worker_name = models.CharField(_("worker"), max_length=200, null=True)
    started_at = models.DateTimeField(_("started at"), null=True)
    ended_at = models.DateTimeField(_("ended at"))
    error = models.JSONField(_("error"), null=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")

    def __str__(self) -> str:
        return f"{self.number} {self.outcome}"


class Worker(models.Model):
    """One live worker process; the row is removed when it stops or is found lost."""

    name = models.CharField(_("name"), max_length=200)
    hostname = models.CharField(_("host"), max_length=200)
    pid = models.PositiveIntegerField(_("process id"))
    # Equal for two processes exactly when one's pid means something to the other; "" when unknown.
    machine = models.CharField(max_length=100, default="", editable=False)
    queues = models.JSONField(_("queues"), null=True)  # list of names; NULL: all
    operations = models.JSONField(_("operations"), default=list)  # those it runs
    slots = models.JSONField(_("slots"), default=dict)  # executor name -> how many at a time
    running = models.PositiveIntegerField(_("running"), default=0)
    started_at = models.DateTimeField(_("started at"))
    heartbeat_at = models.DateTimeField(_("heartbeat at"))
    stopping_at = models.DateTimeField(_("stopping since"), null=True)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name


class Pause(models.Model):
    """An operation or a queue of which no worker starts tasks."""

    class Kind(models.TextChoices):
        OPERATION = "operation", _("operation")
        QUEUE = "queue", _("queue")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    name = models.CharField(_("name"), max_length=200)
    paused_at = models.DateTimeField(_("paused at"))
    paused_by = models.CharField(_("paused by"), max_length=150, null=True)

    class Meta:
        verbose_name = _("pause")
        verbose_name_plural = _("pauses")
        constraints = [models.UniqueConstraint(fields=["kind", "name"], name="tasker_pause_kind_name")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Gate(models.Model):
    """The one row that a pass locks before it may start tasks with conditions (where a database needs a row)."""

    def __str__(self) -> str:
        return f"gate {self.pk}"


class Stream(models.Model):
    """Waiting tasks that one reason refused, moved out of the way of others; see `admission`."""

    id = models.BigIntegerField(primary_key=True)  # hash of the reason; Task.hold points here
    reason = models.JSONField()  # {"scope", "query", "limit"}, {"assert"} or {"operation", "queue"}
    # What its rows have StreamKeys for: name of a list of paths -> the paths; and how far the next one has come.
    keyed = models.JSONField(default=dict)
    keying = models.JSONField(null=True)  # {"paths", "after": [priority as text, id]}
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.reason)


class StreamKey(models.Model):
    """A task in a stream, under the values that conditions of waiting tasks ask for; see `admission.keys`.

    It counts only while the task is new and in the stream `hold`. Written and read under the gate.
    """

    digest = models.BigIntegerField()  # hash of the paths and the task's values there
    priority = PriorityField()
    task_id = models.BigIntegerField()
    hold = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["digest", "priority", "task_id"], name="tasker_stream_key_place"),
            models.Index(fields=["task_id"], name="tasker_stream_key_task"),
        ]

    def __str__(self) -> str:
        return f"{self.digest} of task {self.task_id}"


class Event(models.Model):
    """Something that happened, kept for a few minutes for listeners in other processes.

    Written in the transaction of what happened, and only while somebody listens.
    """

    name = models.CharField(max_length=50)
    task_uuid = models.UUIDField(null=True)
    payload = models.JSONField(null=True)
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name


class Listener(models.Model):
    """Somebody listens to events: writers look here before they write Event rows."""

    pattern = models.CharField(max_length=200)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.pattern
