"""URLs with an admin site of the project's own, beside which Django's default one does not exist."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import path

from django_tasker.admin import TaskAdmin
from django_tasker.models import Task

site = AdminSite(name="ops")
site.register(Task, TaskAdmin)

urlpatterns = [path("ops/", site.urls)]
