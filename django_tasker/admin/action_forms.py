"""What each action asks for before it is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import Max, Min
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import InvalidTask
from ..models import Task
from ..specs import check_priority
from ..statuses import Status


class ActionForm(forms.Form):
    """Every action takes a reason, which goes into the history."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        help_text=gettext_lazy("Kept in the history, with your name."),
    )
    field_order: Sequence[str] = ("order", "priority", "delay", "run_at")

    def summary(self) -> str:
        """What was entered, for the history; "" when nothing was."""
        return ""


class AbortForm(ActionForm):
    """The reason is the task's `abort_reason` too."""

    def clean_reason(self) -> str:
        return str(self.cleaned_data["reason"]).replace("\0", "")


class PriorityForm(ActionForm):
    """A number, or the first or last place of the queue."""

    order = forms.ChoiceField(
        label=gettext_lazy("Order"),
        choices=[
            ("next", gettext_lazy("Run next")),
            ("last", gettext_lazy("Run last")),
            ("number", gettext_lazy("This priority:")),
        ],
        initial="next",
        widget=forms.RadioSelect,
    )
    priority = forms.CharField(
        label=gettext_lazy("Priority"),
        required=False,
        max_length=40,
        help_text=gettext_lazy(
            "A number, Infinity or -Infinity. The smallest runs first; among equals, the one added first."
        ),
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        try:
            values["priority"] = self._priority(str(values.get("order")), str(values.get("priority") or ""))
        except (ValueError, InvalidTask):
            self.add_error("priority", _("Enter a number, Infinity or -Infinity."))
        return values

    def _priority(self, order: str, text: str) -> float:
        if order == "number":
            return check_priority(float(text.strip()))
        waiting = Task.objects.filter(status=Status.NEW)
        if order == "next":
            first = waiting.aggregate(first=Min("priority"))["first"]
            return _beyond(0.0 if first is None else first, -1)
        last = waiting.aggregate(last=Max("priority"))["last"]
        return _beyond(0.0 if last is None else last, 1)

    def summary(self) -> str:
        return _("Priority: %(priority)s.") % {"priority": f"{self.cleaned_data['priority']:g}"}


def _beyond(priority: float, step: int) -> float:
    """The next whole number on one side; infinity where numbers are too far apart for that."""
    beyond = math.floor(priority) - 1 if step < 0 and math.isfinite(priority) else priority
    if step > 0 and math.isfinite(priority):
        beyond = math.ceil(priority) + 1
    return float(beyond) if float(beyond) != priority else math.copysign(math.inf, step)


class PostponeForm(ActionForm):
    """A time, or a while from now."""

    delay = forms.ChoiceField(
        label=gettext_lazy("Let it wait"),
        choices=[
            ("600", gettext_lazy("10 minutes")),
            ("3600", gettext_lazy("1 hour")),
            ("86400", gettext_lazy("1 day")),
            ("at", gettext_lazy("until this time:")),
            ("now", gettext_lazy("no longer")),
        ],
        initial="3600",
        widget=forms.RadioSelect,
    )
    run_at = forms.DateTimeField(
        label=gettext_lazy("Run at"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text=gettext_lazy("In the time zone of this site."),
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        delay = str(values.get("delay"))
        if delay == "at" and not values.get("run_at") and "run_at" not in self.errors:
            self.add_error("run_at", _("Enter a time."))
        if delay.isdigit():
            values["run_at"] = timezone.now() + timedelta(seconds=int(delay))
        elif delay == "now":
            values["run_at"] = None
        return values

    def summary(self) -> str:
        run_at: datetime | None = self.cleaned_data["run_at"]
        return _("Run at: %(time)s.") % {"time": run_at.isoformat(timespec="seconds") if run_at else _("now")}
