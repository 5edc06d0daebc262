"""The tests' settings with django-unfold installed."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

INSTALLED_APPS = ["unfold", *INSTALLED_APPS]  # noqa: F405
