"""Reads README.md: the code in it, which can be run, and the settings table that is made from `conf.py`.

python -m tests.readme    writes the table anew
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
import tokenize
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
CONF = ROOT / "django_tasker" / "conf.py"
BEGIN = "<!-- settings: made from django_tasker/conf.py by `make readme` -->\n"
END = "<!-- end of settings -->"


def settings_table() -> str:
    """The table of settings: key, default and the comment that stands beside it in `conf.DEFAULTS`."""
    comments = comments_by_line()
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key, value in defaults().items():
        default = ast.unparse(value)
        if isinstance(value, ast.Constant) and isinstance(value.value, int) and not isinstance(value.value, bool):
            default = f"{value.value:_}"
        meaning = comments.get(value.end_lineno, "").replace("|", "\\|")
        rows.append(f"| `{ast.literal_eval(key)}` | `{default}` | {meaning} |")
    return "\n".join(rows) + "\n"


def defaults() -> dict[ast.expr, ast.expr]:
    for node in ast.parse(CONF.read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "DEFAULTS":
            assert isinstance(node.value, ast.Dict)
            return {key: value for key, value in zip(node.value.keys, node.value.values, strict=True) if key}
    raise LookupError("conf.py has no DEFAULTS")


def comments_by_line() -> dict[int | None, str]:
    with CONF.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    return {token.start[0]: token.string.lstrip("# ") for token in tokens}


def with_table(text: str) -> str:
    """README's text with the table as it should be."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + settings_table() + END + rest.split(END, 1)[1]


def python_blocks() -> list[tuple[str, str]]:
    """What stands in the comment above each block of Python ('' without one), and its code."""
    pattern = r"(?:^[ ]*<!-- ([^\n]*) -->\n)?^[ ]*```python\n(.*?)^[ ]*```$"
    found = re.findall(pattern, README.read_text(), re.MULTILINE | re.DOTALL)
    return [(kind, textwrap.dedent(code)) for kind, code in found]


def shell_commands() -> list[str]:
    """Every command line of the README that begins with `python manage.py`."""
    return re.findall(r"^[ ]*\$ python manage\.py (.*)$", README.read_text(), re.MULTILINE)


class Project:
    """The project that blocks of one kind (`run`) make, in a folder."""

    def __init__(self, folder: Path, kind: str = "run") -> None:
        for name, code in files(kind).items():
            path = folder / (name if name.endswith(".py") else "script.py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
        (folder / "books" / "__init__.py").touch()
        (folder / "books_settings.py").write_text(
            "from example_project.settings import *\n"
            'INSTALLED_APPS = [*INSTALLED_APPS, "books"]\n'
            'TASKS = {"default": {"BACKEND": "django_tasker.backend.TaskerBackend"}}\n'
        )
        environment = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "books_settings",
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        }
        self._where: dict[str, Any] = {"env": environment, "cwd": folder}
        self._manage = [sys.executable, str(ROOT / "manage.py")]

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of its manage.py."""
        return self._run([*self._manage, *arguments])

    def run_script(self) -> subprocess.CompletedProcess[str]:
        """Run what is marked as `script`, while a worker runs."""
        migrated = self.manage("migrate", "-v0")
        assert migrated.returncode == 0, migrated.stderr
        script = "import django; django.setup(); exec(open('script.py').read())"
        with subprocess.Popen([*self._manage, "tasker_worker", "--grace", "1"], **self._where) as worker:
            try:
                return self._run([sys.executable, "-c", script])
            finally:
                worker.terminate()

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, **self._where, timeout=90, capture_output=True, text=True, check=False)


def files(kind: str) -> dict[str, str]:
    """File name, or `script`, -> its code: blocks of a kind with the same name follow one another."""
    found: dict[str, str] = {}
    for comment, code in python_blocks():
        found_kind, _, name = comment.partition(": ")
        if found_kind == kind:
            name = name.replace("more_runners", "runners")
            found[name] = found.get(name, "") + code + "\n"
    return found


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
