"""The app's configuration."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.utils.translation import gettext_lazy as _


class DjangoTaskerConfig(AppConfig):
    """Registers checks, receivers and what queries need on new connections."""

    name = "django_tasker"
    label = "django_tasker"
    verbose_name = _("Tasks")
    # Django 5.2 defaults to 32-bit keys and 6.0 to 64-bit ones: without this, migrations would differ.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db import connections

        from . import checks, receivers  # noqa: F401 - they register themselves
        from .query.sqlite import install

        def install_on(*, connection: Any, **_: Any) -> None:
            install(connection)

        connection_created.connect(install_on, weak=False, dispatch_uid="django_tasker.query")
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None:  # opened before we were ready
                install(connection)
