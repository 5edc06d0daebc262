"""Shapes of what is sent and taken. Values that are taken are checked by the core, which knows more than a shape."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from django.db import models
from rest_framework import serializers

from ..models import Attempt, Task, TaskLog, Worker
from ..statuses import OnStop, Status

LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
JSON_COLUMNS = ("data", "concurrency", "queue_timeout", "result", "error", "progress")


class PriorityField(serializers.Field[float, Any, Any, Any]):
    """A number, or "Infinity" and "-Infinity", for which JSON has no number."""

    def to_representation(self, value: float) -> float | str:
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value

    def to_internal_value(self, data: Any) -> Any:
        return data


class AnyJSONField(serializers.JSONField):
    """Any JSON, null included: "any or null" would be described as a choice of which null fits both."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{name: value for name, value in options.items() if name != "allow_null"})


Model = TypeVar("Model", bound=models.Model)


class JSONModelSerializer(serializers.ModelSerializer[Model]):
    """Shows JSON columns as any JSON."""

    serializer_field_mapping = {**serializers.ModelSerializer.serializer_field_mapping, models.JSONField: AnyJSONField}


class LogSerializer(JSONModelSerializer[TaskLog]):
    """One log entry; `seq` numbers the entries of a task 1, 2, 3 …"""

    level_name = serializers.SerializerMethodField()

    class Meta:
        model = TaskLog
        fields = (
            *("seq", "attempt", "level", "level_name", "logger", "message"),
            *("traceback", "extra", "created_at"),
        )
        read_only_fields = fields

    def get_level_name(self, entry: TaskLog) -> str:
        return LEVELS[max((known for known in LEVELS if known <= entry.level), default=10)]


class AttemptSerializer(JSONModelSerializer[Attempt]):
    """An attempt that led back to new."""

    class Meta:
        model = Attempt
        fields = ("number", "outcome", "worker_name", "started_at", "ended_at", "error")
        read_only_fields = fields


class TaskSerializer(JSONModelSerializer[Task]):
    """A task as it is now."""

    priority = PriorityField(read_only=True, help_text="The smallest runs first.")
    is_aborting = serializers.BooleanField(read_only=True, help_text="Running, and told to stop.")
    logs = LogSerializer(many=True, read_only=True, required=False, help_text="With `with_logs`: the newest entries.")

    class Meta:
        model = Task
        fields = (
            *("uuid", "operation", "queue", "data", "status", "is_aborting", "priority", "run_at", "concurrency"),
            *("run_timeout", "run_until", "queue_timeout", "max_attempts", "retry_delay", "on_stop", "keep_for"),
            *("unique_key", "added_by", "attempt", "losses", "worker_name", "abort_requested_at", "abort_reason"),
            *("result", "error", "progress", "log_count", "warning_count", "error_count"),
            *("added_at", "started_at", "ended_at", "updated_at", "expires_at", "logs"),
        )
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        """Only the wanted ones (`fields` of the context), and `logs` only where they were fetched."""
        wanted = self.context.get("fields")
        fields = super().get_fields()
        if wanted is not None:
            fields = {name: field for name, field in fields.items() if name in wanted or name == "logs"}
        if not self.context.get("with_logs", True):
            fields.pop("logs")
        return fields


FIELDS = tuple(name for name in TaskSerializer.Meta.fields if name != "logs")
"""What `fields=` may name."""


class TaskDetailSerializer(TaskSerializer):
    """A task, with the attempts that led back to new."""

    earlier_attempts = AttemptSerializer(many=True, read_only=True, required=False)

    class Meta:
        model = Task
        fields = (*TaskSerializer.Meta.fields, "earlier_attempts")
        read_only_fields = fields


class ConditionSerializer(serializers.Serializer[Any]):
    """The task may start while at most `limit` other tasks of the scope match the query."""

    scope = serializers.ChoiceField(choices=["running", "queued_before", "active"])
    query = serializers.DictField()
    limit = serializers.IntegerField(min_value=0)


class QueueTimeoutSerializer(serializers.Serializer[Any]):
    """What becomes of a task that has waited too long."""

    after = serializers.FloatField(min_value=0, help_text="Seconds.")
    then = serializers.ChoiceField(choices=["abort", "prioritize"])
    priority = PriorityField(required=False)


class TaskChangeSerializer(serializers.Serializer[Any]):
    """What may be changed of a new task."""

    data = AnyJSONField(required=False)  # type: ignore[assignment]
    priority = PriorityField(required=False, allow_null=True, help_text="The smallest runs first.")
    queue = serializers.CharField(required=False, max_length=100, allow_null=True)
    run_at = serializers.DateTimeField(required=False, allow_null=True)
    concurrency = ConditionSerializer(many=True, required=False, allow_null=True)
    run_timeout = serializers.FloatField(required=False, allow_null=True, help_text="Seconds.")
    run_until = serializers.CharField(required=False, allow_null=True, help_text="A cron expression.")
    queue_timeout = QueueTimeoutSerializer(required=False, allow_null=True)
    max_attempts = serializers.IntegerField(required=False, min_value=1, allow_null=True)
    retry_delay = serializers.FloatField(required=False, min_value=0, allow_null=True, help_text="Seconds.")
    on_stop = serializers.ChoiceField(required=False, choices=OnStop.choices, allow_null=True)
    keep_for = serializers.FloatField(required=False, min_value=0, allow_null=True, help_text="Seconds.")


class TaskPatchSerializer(TaskChangeSerializer):
    """Changes, and the state that they are meant for."""

    updated_at = serializers.DateTimeField(required=False, help_text="As you read it; another one is refused.")


class TaskAddSerializer(TaskChangeSerializer):
    """A task to add."""

    operation = serializers.CharField(max_length=200, help_text="One that the project has a runner for.")
    unique_key = serializers.CharField(required=False, max_length=255, allow_null=True)
    on_conflict = serializers.ChoiceField(
        required=False,
        choices=["raise", "return", "replace"],
        help_text="When a new or running task carries the unique_key. To replace needs the permission to abort.",
    )


CHANGEABLE = tuple(TaskChangeSerializer().fields)
ADDABLE = tuple(TaskAddSerializer().fields)


class AbortSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_null=True, max_length=10_000)


class PrioritizeSerializer(serializers.Serializer[Any]):
    priority = PriorityField(help_text="The smallest runs first.")


class PostponeSerializer(serializers.Serializer[Any]):
    run_at = serializers.DateTimeField(allow_null=True, help_text="null: due now.")


class QuerySerializer(serializers.Serializer[Any]):
    query = serializers.DictField(help_text="{} matches all tasks.")


class BulkAbortSerializer(QuerySerializer, AbortSerializer):
    pass


class BulkPrioritizeSerializer(QuerySerializer, PrioritizeSerializer):
    pass


class SearchSerializer(serializers.Serializer[Any]):
    query = serializers.DictField(required=False, help_text="All tasks, if there is none.")
    sort = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Fields or dotted paths, `-` before them: descending."
    )
    limit = serializers.IntegerField(required=False, min_value=0, max_value=200)
    skip = serializers.IntegerField(required=False, min_value=0, max_value=10_000)
    fields_ = serializers.ListField(child=serializers.ChoiceField(choices=FIELDS), required=False)
    with_logs = serializers.BooleanField(required=False)
    logs_max_level = serializers.CharField(required=False)

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        fields["fields"] = fields.pop("fields_")  # an attribute of this name is the serializer's own
        return fields


class SearchResultSerializer(serializers.Serializer[Any]):
    results = TaskSerializer(many=True, read_only=True)


class CountQuerySerializer(serializers.Serializer[Any]):
    query = serializers.DictField(required=False, help_text="All tasks, if there is none.")


class CountSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(read_only=True)


class LogPageSerializer(serializers.Serializer[Any]):
    """Entries in order; ask again `after` the `last_seq`, at once while there is `more`."""

    results = LogSerializer(many=True, read_only=True)
    last_seq = serializers.IntegerField(read_only=True)
    more = serializers.BooleanField(read_only=True)
    status = serializers.ChoiceField(choices=Status.choices, read_only=True)


class OutputSerializer(serializers.Serializer[Any]):
    """How a task has ended, or that it has not."""

    status = serializers.ChoiceField(choices=Status.choices, read_only=True)
    result = AnyJSONField(read_only=True)
    error = AnyJSONField(read_only=True)
    abort_reason = serializers.CharField(read_only=True, allow_null=True)


class ReasonSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    message = serializers.CharField()
    condition = AnyJSONField()
    count = serializers.IntegerField(allow_null=True)
    limit = serializers.IntegerField(allow_null=True)
    tasks = serializers.ListField(child=serializers.UUIDField())


class ExplanationSerializer(serializers.Serializer[Any]):
    """Why a task is not running."""

    uuid = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Status.choices)
    place = serializers.IntegerField(allow_null=True)
    reasons = ReasonSerializer(many=True)
    conditions = serializers.ListField(child=AnyJSONField())
    warnings = serializers.ListField(child=serializers.CharField())
    held_by = AnyJSONField()


class WorkerSerializer(JSONModelSerializer[Worker]):
    is_live = serializers.SerializerMethodField(help_text="It gave a heartbeat within the lease.")

    class Meta:
        model = Worker
        fields = (
            *("name", "hostname", "pid", "queues", "operations", "slots", "running"),
            *("started_at", "heartbeat_at", "stopping_at", "is_live"),
        )
        read_only_fields = fields

    def get_is_live(self, worker: Worker) -> bool:
        return bool(worker.heartbeat_at >= self.context["alive_since"])


class WorkersSerializer(serializers.Serializer[Any]):
    results = WorkerSerializer(many=True, read_only=True)


class OperationSerializer(serializers.Serializer[Any]):
    operation = serializers.CharField()
    executor = serializers.ChoiceField(choices=["process", "thread", "coroutine"], allow_null=True)
    workers = serializers.IntegerField(help_text="Live workers that run it.")
    is_paused = serializers.BooleanField()
    paused_at = serializers.DateTimeField(allow_null=True)
    paused_by = serializers.CharField(allow_null=True)


class PausedQueueSerializer(serializers.Serializer[Any]):
    queue = serializers.CharField()
    paused_at = serializers.DateTimeField()
    paused_by = serializers.CharField(allow_null=True)


class OperationsSerializer(serializers.Serializer[Any]):
    results = OperationSerializer(many=True)
    paused_queues = PausedQueueSerializer(many=True)


class PauseSerializer(serializers.Serializer[Any]):
    """Either an operation or a queue."""

    operation = serializers.CharField(required=False, max_length=200)
    queue = serializers.CharField(required=False, max_length=100)


class PausedSerializer(serializers.Serializer[Any]):
    operations = serializers.ListField(child=serializers.CharField())
    queues = serializers.ListField(child=serializers.CharField())


class StatsSerializer(serializers.Serializer[Any]):
    tasks = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()), help_text="Operation → status → how many."
    )
    queues = serializers.DictField(child=serializers.IntegerField(), help_text="Queue → how many new tasks wait in it.")
    oldest_waiting_at = serializers.DateTimeField(allow_null=True)
    workers = serializers.ListField(child=serializers.DictField())
    paused = PausedSerializer()


class ProblemFaultSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """What is wrong, as in RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="The kind of error; stable.")
    detail = serializers.CharField(help_text="For people.")
    path = serializers.CharField(required=False, help_text="The value that is at fault.")
    task = serializers.UUIDField(required=False, help_text="The task that carries the unique_key.")
    errors = ProblemFaultSerializer(many=True, required=False)  # type: ignore[assignment]
