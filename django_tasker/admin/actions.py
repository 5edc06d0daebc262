"""What can be done with tasks: for each action who may, which tasks it can hit, what it asks for, and the deed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from .. import specs
from ..errors import DuplicateTask, InvalidTask, InvalidTaskState, TaskNotFound
from ..facade import UPDATABLE, tasker
from ..models import Task
from ..registry import registry
from ..statuses import ACTIVE, ENDED, Status
from .action_forms import AbortForm, ActionForm, PostponeForm, PriorityForm

Deed = Callable[[Sequence[Task], Mapping[str, Any], str], list[Task]]
"""Does it to a chunk of tasks, with the form's values, for a user; returns those it did hit."""


@dataclass(frozen=True)
class Action:
    """One action; `permission` is the ability that `has_<permission>_permission` of the admin checks."""

    name: str
    label: Any
    permission: str
    eligible: Q
    refused: Any  # why it can't hit the others
    deed: Deed
    will: Any  # "%(count)d task will …"
    did: Any  # "%(count)d task was …"
    entry: Any  # what the history says
    form: type[ActionForm] = ActionForm
    note: Any = ""
    is_dangerous: bool = False

    @property
    def menu_name(self) -> str:
        """Its name in the list's menu, where our deletion takes the place of Django's own."""
        return "delete_selected" if self.name == "delete" else self.name

    def can_hit(self, task: Task) -> bool:
        """May it be offered for this task?"""
        return _holds(self.eligible, task)


_NEW = Q(status=Status.NEW)
_ENDED = Q(status__in=ENDED)
_ABORTABLE = Q(status__in=ACTIVE, abort_requested_at__isnull=True)


def _holds(condition: Q, task: Task) -> bool:
    if condition == _NEW:
        return task.status == Status.NEW
    if condition == _ENDED:
        return task.is_ended
    return condition == Q() or (task.status in ACTIVE and task.abort_requested_at is None)


def _each(tasks: Iterable[Task], do: Callable[[Task], object]) -> list[Task]:
    """Do it to each; those that changed meanwhile are passed over."""
    hit = []
    for task in tasks:
        try:
            do(task)
        except (InvalidTaskState, TaskNotFound, DuplicateTask, InvalidTask):
            continue
        hit.append(task)
    return hit


def _abort(tasks: Sequence[Task], values: Mapping[str, Any], user: str) -> list[Task]:
    reason = values["reason"] or f"aborted by {user}"
    return _each(tasks, lambda task: tasker.abort_task(task, reason))


def _prioritize(tasks: Sequence[Task], values: Mapping[str, Any], user: str) -> list[Task]:
    wanted = {task.pk for task in tasks}
    tasker.prioritize_tasks(Q(pk__in=wanted), values["priority"])
    now = Task.objects.filter(pk__in=wanted, status=Status.NEW).values_list("pk", "priority")
    hit = {pk for pk, priority in now if priority == values["priority"]}
    return [task for task in tasks if task.pk in hit]


def _postpone(tasks: Sequence[Task], values: Mapping[str, Any], user: str) -> list[Task]:
    return _each(tasks, lambda task: tasker.postpone_task(task, values["run_at"]))


def _retry(tasks: Sequence[Task], values: Mapping[str, Any], user: str) -> list[Task]:
    return _each(tasks, tasker.retry_task)


def _duplicate(tasks: Sequence[Task], values: Mapping[str, Any], user: str) -> list[Task]:
    return _each(tasks, lambda task: tasker.add_task(task.operation, task.data, **duplicate_options(task, user)))


def duplicate_options(task: Task, user: str) -> dict[str, Any]:
    """The options of `add_task` that make the same task again: all but its unique key and its time."""
    names = [name for name in UPDATABLE if name not in ("run_at", "concurrency")]
    # add_task adds the operation's own conditions once more.
    assigned = registry.get(task.operation)
    template = specs.check_concurrency((assigned.defaults.get("concurrency") if assigned else None) or [])
    own = [condition for condition in task.concurrency if condition not in template]
    return {**{name: getattr(task, name) for name in names}, "concurrency": own, "added_by": user[:150]}


def _delete(tasks: Sequence[Task], values: Mapping[str, Any], user: str) -> list[Task]:
    wanted = {task.pk for task in tasks}
    tasker.delete_tasks(Q(pk__in=wanted))
    left = set(Task.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    return [task for task in tasks if task.pk not in left]


ABORT = Action(
    "abort",
    _("Abort"),
    "abort",
    _ABORTABLE,
    _("they have ended, or are aborting already"),
    _abort,
    ngettext_lazy("%(count)d task will be aborted.", "%(count)d tasks will be aborted.", "count"),
    ngettext_lazy("%(count)d task was aborted.", "%(count)d tasks were aborted.", "count"),
    _("Aborted."),
    AbortForm,
    _("New tasks are aborted at once; running ones get their abort signal."),
    is_dangerous=True,
)
PRIORITIZE = Action(
    "prioritize",
    _("Prioritize"),
    "prioritize",
    _NEW,
    _("they are not new any more"),
    _prioritize,
    ngettext_lazy("%(count)d task will get another priority.", "%(count)d tasks will get another priority.", "count"),
    ngettext_lazy("%(count)d task was prioritized.", "%(count)d tasks were prioritized.", "count"),
    _("Prioritized."),
    PriorityForm,
)
POSTPONE = Action(
    "postpone",
    _("Postpone"),
    "prioritize",
    _NEW,
    _("they are not new any more"),
    _postpone,
    ngettext_lazy("%(count)d task will be postponed.", "%(count)d tasks will be postponed.", "count"),
    ngettext_lazy("%(count)d task was postponed.", "%(count)d tasks were postponed.", "count"),
    _("Postponed."),
    PostponeForm,
)
RETRY = Action(
    "retry",
    _("Retry"),
    "retry",
    _ENDED,
    _("they have not ended"),
    _retry,
    ngettext_lazy("%(count)d task will be put back to new.", "%(count)d tasks will be put back to new.", "count"),
    ngettext_lazy("%(count)d task was put back to new.", "%(count)d tasks were put back to new.", "count"),
    _("Put back to new."),
    note=_("Their logs and attempts are kept. One whose unique key is taken by another task stays as it is."),
)
DUPLICATE = Action(
    "duplicate",
    _("Duplicate"),
    "add",
    Q(),
    "",
    _duplicate,
    ngettext_lazy("%(count)d task will be added once more.", "%(count)d tasks will be added once more.", "count"),
    ngettext_lazy("%(count)d task was added once more.", "%(count)d tasks were added once more.", "count"),
    _("Duplicated."),
    note=_("New tasks with the same operation, data and options, but without a unique key; due at once."),
)
DELETE = Action(
    "delete",
    _("Delete"),
    "delete",
    _ENDED,
    _("they have not ended"),
    _delete,
    ngettext_lazy("%(count)d task will be deleted.", "%(count)d tasks will be deleted.", "count"),
    ngettext_lazy("%(count)d task was deleted.", "%(count)d tasks were deleted.", "count"),
    _("Deleted."),
    note=_("Their logs and attempts go with them. This can't be undone."),
    is_dangerous=True,
)
ACTIONS = {action.name: action for action in (ABORT, PRIORITIZE, POSTPONE, RETRY, DUPLICATE, DELETE)}
