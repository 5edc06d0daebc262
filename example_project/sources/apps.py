"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class SourcesConfig(AppConfig):
    """Nothing to do at start: django_tasker finds `runners.py` by itself."""

    name = "example_project.sources"
    label = "sources"
    verbose_name = "Source trees"
    default_auto_field = "django.db.models.BigAutoField"
