"""The form that adds a task by hand."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from .. import specs
from ..errors import DuplicateTask, InvalidTask
from ..facade import tasker
from ..models import Task
from .action_forms import JsonInput, PriorityInput


class OperationInput(forms.TextInput):
    """A text box that suggests the operations with a runner."""

    template_name = "django_tasker/admin/operation_input.html"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, {**(attrs or {}), "list": "tasker-operations"})
        return {**context, "operations": tasker.operations()}


class AddForm(forms.ModelForm):  # type: ignore[type-arg]
    """What `add_task` is asked for most; its refusals become errors of the fields."""

    data = JsonInput()  # type: ignore[assignment] # forms have an attribute of that name, not a field
    priority = PriorityInput(required=False)
    queue = forms.CharField(label=_("Queue"), required=False, help_text=_("Empty: the operation's, or default."))
    max_attempts = forms.IntegerField(label=_("Max attempts"), required=False, min_value=1)

    class Meta:
        model = Task
        fields = ("operation", "data", "priority", "queue", "run_at", "max_attempts", "run_timeout", "unique_key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "operation" in self.fields:
            self.fields["operation"].widget = OperationInput(attrs={"class": "vTextField", "autofocus": True})

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        try:
            # Refused here, so that the person can correct it; add_task asks the same again.
            specs.build(values.get("operation"), values.get("data"), self.options(values), {})
        except InvalidTask as error:
            field = str(error.path).split(".")[0].split("[")[0]
            self.add_error(field if field in self.fields else None, str(error))
        return values

    def options(self, values: dict[str, Any]) -> dict[str, Any]:
        """The options of `add_task` that were entered."""
        names = ("priority", "queue", "run_at", "max_attempts", "run_timeout", "unique_key")
        return {name: values.get(name) for name in names if values.get(name) not in (None, "")}

    def _post_clean(self) -> None:
        """Model validation is left out: `add_task` knows the rules, and the instance is its."""

    def save(self, commit: bool = True) -> Task:
        task: Task = self.instance
        return task

    def save_m2m(self) -> None:
        pass


def add(form: AddForm, user: str) -> Task:
    """Add what the form describes. Raises DuplicateTask."""
    values = form.cleaned_data
    return tasker.add_task(values["operation"], values["data"], **form.options(values), added_by=user[:150])


__all__ = ["AddForm", "DuplicateTask", "add"]
