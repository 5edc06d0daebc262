"""The page between choosing an action and its deed: what it will hit, what it can't, and what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import action as django_action
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..models import Task
from . import history
from .action_forms import ActionForm
from .actions import ACTIONS, DELETE, Action

if TYPE_CHECKING:
    from .task import TaskAdmin

CHUNK = 500
CONFIRM = "tasker_confirm"


def check_permission(admin: TaskAdmin, request: HttpRequest, action: Action) -> None:
    """Raises PermissionDenied."""
    if not getattr(admin, f"has_{action.permission}_permission")(request):
        raise PermissionDenied


def refuse_forged(admin: TaskAdmin, request: HttpRequest) -> None:
    """A POST that asks for an action which the user may not do is answered with 403, not with an empty menu."""
    names = request.POST.getlist("action")
    for action in ACTIONS.values():
        if action.menu_name in names:
            check_permission(admin, request, action)


def menu_function(action: Action) -> Any:
    """An action for the `actions` of a model admin; Django offers it to those who have its permission."""

    def run(model_admin: TaskAdmin, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse:
        return in_bulk(model_admin, request, action, queryset)

    run.__name__ = action.menu_name
    return django_action(permissions=[action.permission], description=action.label)(run)


def in_bulk(admin: TaskAdmin, request: HttpRequest, action: Action, tasks: QuerySet[Task]) -> HttpResponse:
    """An action of the list's menu, for the chosen tasks or all that match."""
    across = request.POST.get("select_across") == "1"
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    hidden = [("action", action.menu_name), ("select_across", "1" if across else "0")]
    hidden += [(ACTION_CHECKBOX_NAME, pk) for pk in (selected[:1] if across else selected)]
    return _confirm(admin, request, action, tasks, hidden=hidden, back=request.get_full_path())


def on_object(admin: TaskAdmin, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
    """A button of a task's own page."""
    action = ACTIONS.get(name)
    task = admin.get_object(request, object_id)
    if action is None or task is None:
        return admin.not_found(request, object_id)
    check_permission(admin, request, action)
    back = admin.url("changelist" if action is DELETE else "change", *(() if action is DELETE else (task.pk,)))
    return _confirm(admin, request, action, Task.objects.filter(pk=task.pk), hidden=[], back=back, task=task)


def _confirm(
    admin: TaskAdmin,
    request: HttpRequest,
    action: Action,
    tasks: QuerySet[Task],
    *,
    hidden: list[tuple[str, str]],
    back: str,
    task: Task | None = None,
) -> HttpResponse:
    is_sent = request.method == "POST" and CONFIRM in request.POST
    form = action.form(request.POST if is_sent else None)
    if is_sent and form.is_valid():
        _do(admin, request, action, tasks, form)
        return HttpResponseRedirect(back)
    total, hit = tasks.count(), tasks.filter(action.eligible).count()
    context = {
        **admin.admin_site.each_context(request),
        "title": action.label,
        "subtitle": str(task) if task else None,
        "opts": admin.opts,
        "action": action,
        "task": task,
        "form": form,
        "hidden": [*hidden, (CONFIRM, "1")],
        "back": back if task is None or action is not DELETE else admin.url("change", task.pk),
        "hit": hit,
        "missed": total - hit,
        "will": action.will % {"count": hit},
        "examples": [] if task else list(tasks.filter(action.eligible).only("id", "uuid", "operation", "status")[:10]),
        "media": admin.media,
    }
    return TemplateResponse(request, "django_tasker/admin/action.html", context)


def _do(admin: TaskAdmin, request: HttpRequest, action: Action, tasks: QuerySet[Task], form: ActionForm) -> None:
    ids = list(tasks.filter(action.eligible).order_by("id").values_list("id", flat=True))
    total = len(ids) if action.eligible == action.eligible.__class__() else tasks.count()
    values, user = form.cleaned_data, request.user.get_username()
    what = " ".join(part for part in (str(action.entry), form.summary()) if part)
    count = 0
    for chunk in _chunks(ids):
        done = action.deed(chunk, values, user)
        history.note(request, done, what, reason=values.get("reason", ""), deleted=action is DELETE)
        count += len(done)
    _tell(admin, request, action, count, total - count)


def _chunks(ids: list[int]) -> Iterator[list[Task]]:
    for start in range(0, len(ids), CHUNK):
        yield list(Task.objects.filter(id__in=ids[start : start + CHUNK]).order_by("id"))


def _tell(admin: TaskAdmin, request: HttpRequest, action: Action, count: int, missed: int) -> None:
    if count:
        admin.message_user(request, action.did % {"count": count}, messages.SUCCESS)
    if missed > 0:
        text: Any = ngettext("%(count)d task was left as it is", "%(count)d tasks were left as they are", missed)
        why = f": {action.refused}." if action.refused else "."
        admin.message_user(request, text % {"count": missed} + why, messages.WARNING)
    if not count and missed <= 0:
        admin.message_user(request, _("There was no such task any more."), messages.WARNING)
