"""What each action asks for before it is done."""

from __future__ import annotations

import json
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
from ..json_values import Utf8Encoder
from ..models import Task
from ..specs import check_priority
from ..statuses import Status


class PriorityInput(forms.CharField):
    """A float, infinite ones too, which a number box of a browser would refuse."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault(
            "help_text",
            gettext_lazy(
                "A number, Infinity or -Infinity. The smallest runs first; among equals, the one added first."
            ),
        )
        super().__init__(label=gettext_lazy("Priority"), max_length=40, **kwargs)

    def clean(self, value: Any) -> float | None:
        text = str(super().clean(value) or "").strip()
        if not text:
            return None
        try:
            return check_priority(float(text))
        except (ValueError, InvalidTask):
            raise forms.ValidationError(_("Enter a number, Infinity or -Infinity."), code="invalid") from None

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, float):
            return str(value).replace("inf", "Infinity")
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.clean(data) != initial)
        except forms.ValidationError:
            return True


class JsonInput(forms.JSONField):
    """JSON that is shown as it is stored, legible; what can't be sent to a browser stays escaped."""

    widget = forms.Textarea(attrs={"rows": 10, "cols": 80, "class": "vLargeTextField", "dir": "ltr"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(label=gettext_lazy("Data"), required=False, encoder=Utf8Encoder, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False, indent=2).encode(errors="backslashreplace").decode()
        text = super().prepare_value(value)
        return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


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
    priority = PriorityInput(required=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        order = values.get("order")
        if order == "number" and values.get("priority") is None and "priority" not in self.errors:
            self.add_error("priority", _("Enter a number, Infinity or -Infinity."))
        if order in ("next", "last"):
            values["priority"] = self._end_of_queue(order)
        return values

    def _end_of_queue(self, order: str) -> float:
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
