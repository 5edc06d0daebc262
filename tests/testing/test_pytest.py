"""The fixtures of `django_tasker.testing.pytest`, in a project's own test run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.sqlite_only

CONFTEST = """\
pytest_plugins = ["django_tasker.testing.pytest"]
"""
TESTS = """\
import pytest

from django_tasker import tasker
from django_tasker.conf import options
from django_tasker.errors import ConfigurationError
from django_tasker.testing import assert_added, run_task

pytestmark = pytest.mark.django_db


def test_settings(tasker_settings, settings):
    tasker_settings(GRACE=1)
    settings.USE_TZ = True
    tasker_settings(MAX_LOSSES=7)
    assert (options().grace, options().max_losses) == (1, 7)
    with pytest.raises(ConfigurationError, match="did you mean 'GRACE'"):
        tasker_settings(GRAICE=1)


def test_settings_are_as_before():
    assert (options().grace, options().max_losses) == (30, 3)


def test_runners(tasker_runner):
    @tasker_runner("import-book", max_attempts=2)
    def import_book(task):
        return task.data

    tasker_runner("other", lambda task: "other")
    task = tasker.add_task("import-book", 5)
    assert task.max_attempts == 2
    assert run_task(task).result == 5
    tasker_runner("import-book", lambda task: "another")
    assert run_task(tasker.add_task("import-book")).result == "another"


def test_runners_are_as_before():
    assert not {"import-book", "other"} & set(tasker.operations())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_books.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = tests.settings\n")
    return tmp_path


def run_pytest(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "TASKER_TEST_FOLDER": str(project)},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_project_asks_for_the_fixtures_in_its_conftest(project: Path) -> None:
    done = run_pytest(project)

    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_may_be_loaded_before_django_is_set_up(project: Path) -> None:
    (project / "conftest.py").unlink()

    done = run_pytest(project, "-p", "django_tasker.testing.pytest")

    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_nobody_gets_the_fixtures_unasked(project: Path) -> None:
    (project / "conftest.py").unlink()

    done = run_pytest(project, "--fixtures")

    assert "tasker_" not in done.stdout
    assert done.returncode == 0
