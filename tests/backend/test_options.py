"""The entry in TASKS: its system checks, and which functions a worker finds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

tasks = pytest.importorskip("django.tasks", reason="django.tasks came with Django 6.0")

from django.core.checks import run_checks  # noqa: E402

from django_tasker.backend import TaskerBackend, discover  # noqa: E402
from tests.processes import ROOT  # noqa: E402

pytestmark = [pytest.mark.sqlite_only, pytest.mark.django_db]


def entry(**values):
    return {"default": {"BACKEND": "django_tasker.backend.TaskerBackend", **values}}


def found(settings, **options):
    """The messages of Django's checks about such OPTIONS."""
    settings.TASKS = entry(OPTIONS=options)
    return [(message.id, message.msg) for message in run_checks() if message.id and message.id.startswith("django_t")]


def test_settings_of_the_tests_are_fine():
    assert [message for message in run_checks() if "TASKS" in str(message.msg)] == []


def test_every_option_there_is_is_fine(settings):
    condition = {"scope": "running", "query": {"operation": {"$ref": "operation"}}, "limit": 0}

    assert not found(
        settings,
        executor="thread",
        max_attempts=3,
        retry_delay=10,
        run_timeout=60,
        run_until="0 7 * * *",
        queue_timeout={"after": 60, "then": "abort"},
        concurrency=[condition],
        on_stop="abort",
        keep_for=3600,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_attemps": 3}, "did you mean 'max_attempts'?"),
        ({"max_attempts": 0}, "max_attempts must be a whole number from 1"),
        ({"run_timeout": "soon"}, "run_timeout"),
        ({"executor": "coroutine"}, "executor must be one of process, thread, not 'coroutine'"),
        ({"priority": 3}, "Unknown option 'priority'"),
        ({"concurrency": [{"scope": "walking"}]}, "concurrency[0]"),
    ],
)
def test_wrong_option_is_found_by_the_checks(settings, options, message):
    [(identity, text)] = found(settings, **options)

    assert identity == "django_tasker.E003"
    assert text.startswith("TASKS['default']['OPTIONS']: ")
    assert message in text


def test_options_that_are_no_dict_are_found_by_the_checks():
    backend = TaskerBackend("mine", {"OPTIONS": {}})
    backend.options = ["executor"]

    assert ["must be a dict" in message.msg for message in backend.check()] == [True]


def test_app_that_is_not_installed_is_found_by_the_checks(settings):
    backend = TaskerBackend("mine", {})
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_tasker"]

    assert [message.id for message in backend.check()] == ["django_tasker.E004"]


# -- what a worker finds ----------------------------------------------------------------------------------------------


@pytest.fixture
def unseen_app(settings, tmp_path, monkeypatch):
    """An installed app with a `tasks` module that nobody has imported."""
    app = tmp_path / "unseen_app"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "tasks.py").write_text("from django.tasks import task\n\n\n@task\ndef new():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "unseen_app"]
    yield "unseen_app.tasks"
    for name in ("unseen_app", "unseen_app.tasks"):
        sys.modules.pop(name, None)


def test_tasks_of_installed_apps_are_imported_and_assigned(unseen_app, monkeypatch):
    from django_tasker.registry import registry

    discover()

    assert f"{unseen_app}.new" in registry.operations()


def test_nothing_is_imported_for_the_backends_of_others(unseen_app, settings):
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}

    discover()

    assert unseen_app not in sys.modules


def test_functions_may_be_decorated_before_the_models_are_there(tmp_path):
    app = tmp_path / "early_app"
    app.mkdir()
    (app / "__init__.py").write_text("from . import tasks\n")
    (app / "tasks.py").write_text("from django.tasks import task\n\n\n@task\ndef early():\n    pass\n")
    (tmp_path / "early_settings.py").write_text(
        'from tests.settings import *\nINSTALLED_APPS = ["early_app", *INSTALLED_APPS]\n'
    )
    code = (
        "import django; django.setup(); from django_tasker.registry import registry; "
        "assert 'early_app.tasks.early' in registry.operations()"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "early_settings", "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
