"""Settings of the tests: the example project's, on the database that DATABASE_URL names."""

from __future__ import annotations

import json
import os
import tempfile

if os.environ.get("DATABASE_URL", "").startswith(("mysql:", "mariadb:")):
    import pymysql

    pymysql.version_info = (2, 2, 8, "final", 0)  # Django asks for the version of mysqlclient
    pymysql.install_as_MySQLdb()

from example_project.databases import database
from example_project.settings import *  # noqa: F403

_folder = os.environ.setdefault("TASKER_TEST_FOLDER", tempfile.mkdtemp(prefix="tasker-tests-"))
# Its runners module is found like any app's.
INSTALLED_APPS = [*INSTALLED_APPS, "tests"]  # noqa: F405
DATABASES = {"default": database(os.environ.get("DATABASE_URL") or f"sqlite:///{_folder}/tests.sqlite3")}
SECRET_KEY = "tests"
DEBUG = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING_CONFIG = None
SILENCED_SYSTEM_CHECKS = ["models.W037"]  # MySQL has no conditional indexes; ours only save space there
# The defaults, whatever the example project chose, but for what a test asks of a process that it starts.
TASKER: dict = json.loads(os.environ.get("TASKER_TEST_OPTIONS", "{}"))

# Django 6.0 and later have django.tasks; the functions are in tests/tasks.py.
TASKS = {
    "default": {"BACKEND": "django_tasker.backend.TaskerBackend", "QUEUES": ["default", "mail"]},
    "patient": {
        "BACKEND": "django_tasker.backend.TaskerBackend",
        "QUEUES": [],
        "OPTIONS": {"executor": "thread", "max_attempts": 2, "retry_delay": 0, "run_timeout": 60},
    },
    "immediate": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
}
