"""On Django 5.2, which has no django.tasks."""

from __future__ import annotations

import importlib

import django
import pytest
from django.core.exceptions import ImproperlyConfigured

pytestmark = pytest.mark.sqlite_only


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django has django.tasks from 6.0 on")
def test_backend_says_which_django_it_needs():
    with pytest.raises(ImproperlyConfigured, match=r"django\.tasks, which came with Django 6\.0; this is 5\.2"):
        importlib.import_module("django_tasker.backend")


def test_app_is_complete_without_it():
    importlib.import_module("django_tasker.runners")
