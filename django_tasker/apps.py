"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoTaskerConfig(AppConfig):
    """Registers checks, receivers and the runners that the project's apps define."""

    name = "django_tasker"
    label = "django_tasker"
    verbose_name = _("Tasks")
    # Django 5.2 defaults to 32-bit keys and 6.0 to 64-bit ones: without this, migrations would differ.
    default_auto_field = "django.db.models.BigAutoField"
