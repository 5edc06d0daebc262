"""Pausing and resuming operations and queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib import messages
from django.contrib.admin import action as django_action
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import InvalidTask
from ..facade import tasker
from ..models import Pause, Task
from . import history
from .action_forms import ActionForm

if TYPE_CHECKING:
    from .task import TaskAdmin

CONFIRM = "tasker_confirm"
MAX_NAMES = 100


class PauseForm(ActionForm):
    """Which way, and why."""

    way = forms.ChoiceField(
        label=gettext_lazy("What to do"),
        choices=[("pause", gettext_lazy("Pause")), ("resume", gettext_lazy("Resume"))],
        initial="pause",
        widget=forms.RadioSelect,
    )
    field_order = ("way",)


@django_action(permissions=["pause"], description=gettext_lazy("Pause or resume operations"))
def pause(admin: TaskAdmin, request: HttpRequest, tasks: QuerySet[Task]) -> HttpResponse:
    """The operations of the chosen tasks, from the list's menu."""
    names = list(tasks.order_by("operation").values_list("operation", flat=True).distinct()[:MAX_NAMES])
    hidden = [("action", "pause"), ("select_across", request.POST.get("select_across", "0"))]
    hidden += [(ACTION_CHECKBOX_NAME, pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)]
    return _confirm(admin, request, Pause.Kind.OPERATION, names, hidden, request.get_full_path())


def view(admin: TaskAdmin, request: HttpRequest) -> HttpResponse:
    """One operation or queue, from a button: `?kind=operation&name=…&way=pause`."""
    if not admin.has_pause_permission(request):
        raise PermissionDenied
    given = request.POST if request.method == "POST" else request.GET
    kind, name = given.get("kind", ""), given.get("name", "")
    if kind not in Pause.Kind.values or not name or "\0" in name:
        raise Http404
    back = given.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        back = admin.site_url("app_list", app_label=admin.opts.app_label)
    hidden = [("kind", kind), ("name", name), ("next", back)]
    return _confirm(admin, request, Pause.Kind(kind), [name], hidden, back)


def _confirm(
    admin: TaskAdmin,
    request: HttpRequest,
    kind: Pause.Kind,
    names: list[str],
    hidden: list[tuple[str, str]],
    back: str,
) -> HttpResponse:
    if not admin.has_pause_permission(request):
        raise PermissionDenied
    is_sent = request.method == "POST" and CONFIRM in request.POST
    form = PauseForm(request.POST if is_sent else None, initial={"way": request.GET.get("way", "pause")})
    if is_sent and form.is_valid():
        try:
            _do(admin, request, kind, names, form)
        except InvalidTask as error:  # a name that no operation or queue can have
            admin.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(back)
    paused = set(Pause.objects.filter(kind=kind, name__in=names).values_list("name", flat=True))
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Pause or resume"),
        "opts": admin.opts,
        "form": form,
        "hidden": [*hidden, (CONFIRM, "1")],
        "back": back,
        "kind": kind,
        "names": [(name, name in paused) for name in names],
        "media": admin.media,
    }
    return TemplateResponse(request, "django_tasker/admin/pause.html", context)


def _do(admin: TaskAdmin, request: HttpRequest, kind: Pause.Kind, names: list[str], form: PauseForm) -> None:
    pausing = form.cleaned_data["way"] == "pause"
    before = list(Pause.objects.filter(kind=kind, name__in=names))
    for name in names:
        operation = name if kind == Pause.Kind.OPERATION else None
        queue = name if kind == Pause.Kind.QUEUE else None
        if pausing:
            tasker.pause(operation, queue, by=request.user.get_username()[:150])
        else:
            tasker.resume(operation, queue)
    pauses = list(Pause.objects.filter(kind=kind, name__in=names)) if pausing else before
    changed = [pause for pause in pauses if not pausing or pause not in before]
    entry = _("Paused.") if pausing else _("Resumed.")
    history.note(request, changed, entry, reason=form.cleaned_data["reason"], deleted=not pausing)
    text = _("Paused: %(names)s.") if pausing else _("Resumed: %(names)s.")
    admin.message_user(request, text % {"names": ", ".join(names)}, messages.SUCCESS)
