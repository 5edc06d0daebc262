"""What the README says is so: its code runs, its commands are understood, its table is that of the code."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from django.core.management import load_command_class

from tests import readme
from tests.processes import ROOT

UUID = "0b6d3b1e-6a38-4f0e-9d5c-3f6c4b0f3a11"


def test_settings_table_is_that_of_the_code():
    text = readme.README.read_text()

    assert readme.with_table(text) == text, "run `make readme`"


def test_every_block_says_how_it_is_run():
    kinds = {kind.split(":")[0] for kind, _ in readme.python_blocks()}

    assert kinds == {"run", "fragment"}


@pytest.mark.parametrize("code", [code for kind, code in readme.python_blocks() if kind == "fragment"])
def test_fragments_are_valid_python(code):
    compile(code, "README.md", "exec")


@pytest.mark.parametrize("line", readme.shell_commands())
def test_commands_are_understood(line):
    name, *arguments = shlex.split(line.replace("$uuid", UUID), comments=True)
    app = "django_tasker" if name.startswith("tasker") else "django.core"

    parser = load_command_class(app, name).create_parser("manage.py", name)

    parser.parse_args(arguments)


@pytest.fixture
def books(tmp_path):
    """The project that the README's code makes, with its database: how to call its manage.py, and its environment."""
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "__init__.py").touch()
    files: dict[str, str] = {}
    for kind, code in readme.python_blocks():
        if kind.startswith("run: "):
            name = kind.removeprefix("run: ").replace("more_runners", "runners")
            files[name] = files.get(name, "") + code + "\n"
    for name, code in files.items():
        (tmp_path / (name if name.endswith(".py") else "script.py")).write_text(code)
    (tmp_path / "books_settings.py").write_text(
        'from example_project.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, "books"]\n'
    )
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "DJANGO_SETTINGS_MODULE": "books_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }
    return [sys.executable, str(ROOT / "manage.py")], environment


@pytest.mark.sqlite_only
@pytest.mark.end_to_end
def test_code_runs_as_written(books, tmp_path):
    manage, environment = books
    subprocess.run([*manage, "migrate", "-v0"], env=environment, cwd=tmp_path, check=True)

    with subprocess.Popen([*manage, "tasker_worker", "--grace", "1"], env=environment, cwd=tmp_path) as worker:
        try:
            script = "import django; django.setup(); exec(open('script.py').read())"
            run = subprocess.run(
                [sys.executable, "-c", script],
                env=environment,
                cwd=tmp_path,
                timeout=90,
                capture_output=True,
                text=True,
            )
        finally:
            worker.terminate()

    assert run.returncode == 0, run.stderr
    assert "1 reading 7" in run.stdout


@pytest.mark.sqlite_only
@pytest.mark.end_to_end
def test_tests_pass_as_written(books, tmp_path):
    manage, environment = books

    run = subprocess.run(
        [*manage, "test", "books"], env=environment, cwd=tmp_path, timeout=90, capture_output=True, text=True
    )

    assert run.returncode == 0, run.stderr
    assert "Ran 3 tests" in run.stderr
