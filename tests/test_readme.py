"""What the README says is so: its code runs, its commands are understood, its table is that of the code."""

from __future__ import annotations

import shlex

import pytest
from django.core.management import load_command_class

from tests import readme

UUID = "0b6d3b1e-6a38-4f0e-9d5c-3f6c4b0f3a11"


def test_settings_table_is_that_of_the_code():
    text = readme.README.read_text()

    assert readme.with_table(text) == text, "run `make readme`"


def test_every_block_says_how_it_is_run():
    kinds = {kind.split(":")[0] for kind, _ in readme.python_blocks()}

    assert kinds == {"run", "run on Django 6", "fragment"}


@pytest.mark.parametrize("code", [code for kind, code in readme.python_blocks() if kind == "fragment"])
def test_fragments_are_valid_python(code):
    compile(code, "README.md", "exec")


@pytest.mark.parametrize("line", readme.shell_commands())
def test_commands_are_understood(line):
    name, *arguments = shlex.split(line.replace("$uuid", UUID), comments=True)
    app = "django_tasker" if name.startswith("tasker") else "django.core"

    parser = load_command_class(app, name).create_parser("manage.py", name)

    parser.parse_args(arguments)


@pytest.mark.sqlite_only
@pytest.mark.end_to_end
def test_code_runs_as_written(tmp_path):
    run = readme.Project(tmp_path).run_script()

    assert run.returncode == 0, run.stderr
    assert "1 reading 7" in run.stdout


@pytest.mark.sqlite_only
@pytest.mark.end_to_end
def test_tests_pass_as_written(tmp_path):
    run = readme.Project(tmp_path).manage("test", "books")

    assert run.returncode == 0, run.stderr
    assert "Ran 3 tests" in run.stderr
