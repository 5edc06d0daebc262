"""Runs the tests with other interpreters and other versions of Django, each in an environment of its own, on SQLite.

    python tests/matrix.py [--other] [--quick] [--list] [pytest arguments]

Interpreters are those on the PATH and those that pyenv has. Environments are kept as `.venv-<python>-<django>`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
DJANGOS = {"5.2": PYTHONS, "6.0": PYTHONS[1:], "6.1": PYTHONS[1:]}  # the versions of Python each runs on
QUICK = ["-m", "not end_to_end and not browser", "--maxfail=10"]


@dataclass(frozen=True)
class Cell:
    """One interpreter with one version of Django."""

    python: str
    django: str
    interpreter: str

    def __str__(self) -> str:
        return f"Python {self.python}, Django {self.django}"

    @property
    def venv(self) -> Path:
        return ROOT / f".venv-{self.python}-{self.django}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", action="store_true", help="only the cell at the other end of the matrix")
    parser.add_argument(
        "--quick", action="store_true", help="leave out tests that start processes or browsers; try laws less"
    )
    parser.add_argument("--list", action="store_true", help="only say which cells there are")
    options, pytest_arguments = parser.parse_known_args()
    cells = find_cells()
    if options.other:
        cells = other_end(cells)
    print("\n".join(map(str, cells)) or "No other interpreter found: nothing to run here.", flush=True)
    if options.list:
        return 0
    if options.quick:
        pytest_arguments = [*QUICK, *pytest_arguments]
        os.environ.setdefault("LAW_EXAMPLES", "30")
    return max([run_cell(cell, pytest_arguments) for cell in cells], default=0)


def find_cells() -> list[Cell]:
    found = {version: path for version in PYTHONS if (path := find_interpreter(version))}
    return [
        Cell(python, django, found[python])
        for django, pythons in DJANGOS.items()
        for python in pythons
        if python in found
    ]


def find_interpreter(version: str) -> str | None:
    """A python of this minor version that runs and can make environments; None if there is none."""
    candidates = [shutil.which(f"python{version}"), *pyenv_interpreters(version)]
    return next((path for path in candidates if path and is_usable(path, version)), None)


def pyenv_interpreters(version: str) -> list[str]:
    root = os.environ.get("PYENV_ROOT") or output_of(["pyenv", "root"])
    return sorted(map(str, Path(root).glob(f"versions/{version}.*/bin/python"))) if root else []


def is_usable(path: str, version: str) -> bool:
    # A pyenv shim of a version that is not switched on is found on the PATH, and fails when run.
    code = "import ensurepip, sqlite3, ssl, sys; print('%d.%d' % sys.version_info[:2])"
    return output_of([path, "-c", code]) == version


def output_of(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def other_end(cells: list[Cell]) -> list[Cell]:
    """The newest cell, or the oldest if this interpreter already runs the newest version of Django."""
    import django

    is_newest = "{}.{}".format(*django.VERSION[:2]) == list(DJANGOS)[-1]
    return (cells[:1] if is_newest else cells[-1:]) if len(cells) > 1 else []


def run_cell(cell: Cell, pytest_arguments: list[str]) -> int:
    print(f"\n===== {cell}", flush=True)
    if install(cell):
        return 1
    environment = {**os.environ, "DATABASE_URL": "", "CI": ""}
    command = [cell.venv / "bin" / "python", "tests/run.py", "--only", "sqlite", *pytest_arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def install(cell: Cell) -> int:
    """Set the environment up, unless it is newer than pyproject.toml; 0 when it is there."""
    stamp = cell.venv / ".installed"
    if stamp.exists() and stamp.stat().st_mtime >= (ROOT / "pyproject.toml").stat().st_mtime:
        return 0
    subprocess.run([cell.interpreter, "-m", "venv", cell.venv], check=True)
    pip = [cell.venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    code = subprocess.run([*pip, "-e", ".[dev]", f"Django=={cell.django}.*"], cwd=ROOT, check=False).returncode
    if code == 0:
        stamp.touch()
    return code


if __name__ == "__main__":
    sys.exit(main())
