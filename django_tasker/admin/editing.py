"""The page that changes a task which has not started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import InvalidTask, InvalidTaskState
from ..facade import tasker
from ..models import Task
from . import history
from .action_forms import JsonInput, PriorityInput

if TYPE_CHECKING:
    from .task import TaskAdmin

FIELDS = ("data", "priority", "queue", "max_attempts", "run_timeout")


class EditForm(forms.Form):
    """What may be changed by hand; `update_task` checks it."""

    data = JsonInput()  # type: ignore[assignment] # forms have an attribute of that name, not a field
    priority = PriorityInput()
    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=100)
    max_attempts = forms.IntegerField(label=gettext_lazy("Max attempts"), min_value=1)
    run_timeout = forms.FloatField(
        label=gettext_lazy("Run timeout"), required=False, min_value=0, help_text=gettext_lazy("Seconds.")
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), required=False, max_length=1000)


def edit(admin: TaskAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Change a new task, for those with Django's change permission."""
    task = admin.get_object(request, object_id)
    if not admin.has_change_permission(request, task):
        raise PermissionDenied
    if task is None:
        return admin.not_found(request, object_id)
    form = EditForm(request.POST or None, initial={name: getattr(task, name) for name in FIELDS})
    if request.method == "POST" and form.is_valid() and _save(admin, request, task, form):
        return HttpResponseRedirect(admin.url("change", task.pk))
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Change"),
        "subtitle": str(task),
        "opts": admin.opts,
        "task": task,
        "form": form,
        "back": admin.url("change", task.pk),
        "media": admin.media,
    }
    return TemplateResponse(request, "django_tasker/admin/edit.html", context)


def _save(admin: TaskAdmin, request: HttpRequest, task: Task, form: EditForm) -> bool:
    """Write what differs; False when it was refused, which the form then says."""
    changes: dict[str, Any] = {name: form.cleaned_data[name] for name in FIELDS if name in form.changed_data}
    if not changes:
        return True
    try:
        tasker.update_task(task, **changes)
    except InvalidTaskState as error:
        admin.message_user(request, str(error), messages.WARNING)
        return True
    except InvalidTask as error:
        field = str(error.path).split(".")[0].split("[")[0]
        form.add_error(field if field in form.fields else None, str(error))
        return False
    history.note(
        request, [task], _("Changed: %(fields)s.") % {"fields": ", ".join(changes)}, reason=form["reason"].data
    )
    admin.message_user(request, _("The task was changed."), messages.SUCCESS)
    return True
