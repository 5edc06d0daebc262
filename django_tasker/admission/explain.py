"""Why a task is not running: the same questions that a pass asks, answered for one task, with the tasks in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import Q, QuerySet

from .. import query
from ..assertions import Assertions
from ..conditions import Condition, check_global, resolve
from ..conf import Options
from ..databases import database
from ..models import Pause, Stream, Task, Worker
from ..statuses import Status

SHOWN = 20
"""Tasks named that fill a condition."""


@dataclass
class Reason:
    """One thing that keeps a task from starting.

    `kind`: not_due, paused_operation, paused_queue, no_worker, condition, assertion, busy or ended.
    """

    kind: str
    message: str
    condition: dict[str, Any] | None = None
    count: int | None = None
    limit: int | None = None
    tasks: list[str] = field(default_factory=list)  # uuids, at most 20, in queue order


@dataclass
class Explanation:
    """What is known of a task that waits; `reasons` is empty when it may start at the next pass."""

    uuid: str
    status: str
    place: int | None  # new, due tasks ahead of it in queue order
    reasons: list[Reason]
    conditions: list[dict[str, Any]]  # every condition with its count, limit and whether it holds
    warnings: list[str]  # conditions that can never hold, and the like
    held_by: dict[str, Any] | None = None  # the reason whose stream it waits in; a trace of the last refusal

    def as_dict(self) -> dict[str, Any]:
        """As JSON: the same keys."""
        return asdict(self)


def explain(task: Task, *, using: str, options: Options, assertions: Assertions) -> Explanation:
    """Explain a task as it is now. Reads a bounded number of rows, and counts with the database."""
    return _Explainer(task, using, options, assertions).explain()


class _Explainer:
    def __init__(self, task: Task, using: str, options: Options, assertions: Assertions) -> None:
        self._task = task
        self._using = using
        self._options = options
        self._assertions = assertions
        self._now: datetime = database(using).now(connections[using])
        self._tasks: QuerySet[Task] = Task.objects.using(using)
        self._shown: list[dict[str, Any]] = []

    def explain(self) -> Explanation:
        task = self._task
        if task.status != Status.NEW:
            word = "has ended" if task.is_ended else "is running"
            reasons = [Reason("ended" if task.is_ended else "running", f"The task {word}: {task.status}.")]
            return Explanation(str(task.uuid), task.status, None, reasons, [], [])
        reasons = [*self._plain(), *self._conditions()]
        place = self._ahead().count()
        return Explanation(
            str(task.uuid),
            task.status,
            place,
            reasons or list(self._busy(place)),
            self._shown,
            list(self._lint()),
            self._held_by(),
        )

    # -- reasons that are no conditions ---------------------------------------------------------------------------

    def _plain(self) -> Iterator[Reason]:
        task = self._task
        if task.run_at is not None and task.run_at > self._now:
            yield Reason("not_due", f"It is not due before {task.run_at.isoformat()}.")
        paused = set(Pause.objects.using(self._using).values_list("kind", "name"))
        if ("operation", task.operation) in paused:
            yield Reason("paused_operation", f"The operation {task.operation!r} is paused.")
        if ("queue", task.queue) in paused:
            yield Reason("paused_queue", f"The queue {task.queue!r} is paused.")
        if not self._workers():
            message = f"No live worker runs the operation {task.operation!r} of the queue {task.queue!r}."
            yield Reason("no_worker", message)

    def _workers(self) -> list[Worker]:
        lease = self._options.lease
        return [
            worker
            for worker in Worker.objects.using(self._using)
            if (self._now - worker.heartbeat_at).total_seconds() <= lease
            and worker.stopping_at is None
            and self._task.operation in worker.operations
            and (worker.queues is None or self._task.queue in worker.queues)
        ]

    def _busy(self, place: int) -> Iterator[Reason]:
        if place:
            yield Reason("busy", f"It may start; {place} new tasks are ahead of it in the queue.", count=place)
        else:
            yield Reason("busy", "It may start: it is the first in the queue, and waits for a free slot.", count=0)

    # -- conditions -----------------------------------------------------------------------------------------------

    def _conditions(self) -> Iterator[Reason]:
        for condition in self._all_conditions():
            reason = self._assertion(condition) if condition.assertion else self._count(condition)
            if reason is not None:
                yield reason

    def _all_conditions(self) -> list[Condition]:
        own = resolve(self._task.concurrency, self._task)
        return own + [g.resolve(self._task) for g in check_global(self._options.conditions) if g.applies(self._task)]

    def _assertion(self, condition: Condition) -> Reason | None:
        assert condition.assertion is not None
        answer = self._assertions.ask(condition.assertion)
        self._shown.append({"condition": condition.reason, "holds": answer.holds, "message": answer.reason})
        if answer.holds:
            return None
        return Reason("assertion", answer.reason or "It does not hold.", condition=condition.reason)

    def _count(self, condition: Condition) -> Reason | None:
        matching = self._scope(condition).filter(query.to_q(condition.node)).exclude(pk=self._task.pk)
        count = matching.count()
        holds = count <= condition.limit
        shown = {"condition": condition.reason, "count": count, "limit": condition.limit, "holds": holds}
        self._shown.append(shown)
        if holds:
            return None
        tasks = [str(uuid) for uuid in matching.order_by("priority", "id").values_list("uuid", flat=True)[:SHOWN]]
        message = f"{count} other tasks ({condition.scope}) match its condition; at most {condition.limit} may."
        return Reason("condition", message, condition.reason, count, condition.limit, tasks)

    def _scope(self, condition: Condition) -> QuerySet[Task]:
        running, ahead = Q(status=Status.RUNNING), self._is_ahead()
        scope = {"running": running, "queued_before": ahead, "active": running | ahead}[condition.scope]
        return self._tasks.filter(scope)

    def _is_ahead(self) -> Q:
        task = self._task
        due = Q(run_at__isnull=True) | Q(run_at__lte=self._now)
        before = Q(priority__lt=task.priority) | Q(priority=task.priority, id__lt=task.pk)
        return Q(status=Status.NEW) & due & before

    def _ahead(self) -> QuerySet[Task]:
        return self._tasks.filter(self._is_ahead())

    # -- what can never hold --------------------------------------------------------------------------------------

    def _lint(self) -> Iterator[str]:
        for condition in self._all_conditions():
            if condition.assertion is not None:
                continue
            stuck = self._never_runs(condition)
            if stuck:
                yield stuck

    def _never_runs(self, condition: Condition) -> str | None:
        """What fills the condition and can't go away by itself.

        Tasks wait only for what is ahead of them or runs, so the circles that can be are those of two conditions of
        which each is filled by tasks that no worker runs, or that are paused.
        """
        if condition.scope == "running":
            return None
        blockers = list(self._ahead().filter(query.to_q(condition.node))[: condition.limit + SHOWN])
        served = {operation for worker in Worker.objects.using(self._using) for operation in worker.operations}
        stranded = [other for other in blockers if other.operation not in served]
        if len(stranded) > condition.limit:
            return (
                f"It waits for tasks of the operation {stranded[0].operation!r}, which no live worker runs, "
                f"like {stranded[0].uuid}."
            )
        if condition.limit == 0 and condition.predicate(self._task) and len(blockers) >= SHOWN:
            return (
                "It matches its own condition, and so do the tasks ahead of it: they run one after another, "
                "and this one last."
            )
        return None

    def _held_by(self) -> dict[str, Any] | None:
        if self._task.hold <= 1:
            return None
        reason: dict[str, Any] | None = (
            Stream.objects.using(self._using).filter(pk=self._task.hold).values_list("reason", flat=True).first()
        )
        return reason
