"""The class that our admins extend: unfold's where that is installed as an app, else Django's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib import admin

if TYPE_CHECKING:
    from ..models import Task

    TaskModelAdmin = admin.ModelAdmin[Task]
elif apps.is_installed("unfold"):
    from unfold.admin import ModelAdmin as TaskModelAdmin
else:
    TaskModelAdmin = admin.ModelAdmin

__all__ = ["TaskModelAdmin"]
