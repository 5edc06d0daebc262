"""What the README says of django.tasks runs as written."""

from __future__ import annotations

import pytest

from tests import readme

pytest.importorskip("django.tasks", reason="django.tasks came with Django 6.0")

pytestmark = pytest.mark.sqlite_only


def test_code_for_django_6_runs_as_written(tmp_path):
    run = readme.Project(tmp_path, "run on Django 6").run_script()

    assert run.returncode == 0, run.stderr
