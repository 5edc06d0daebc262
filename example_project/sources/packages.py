"""Finds the installed packages and their Python files."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InstalledPackage:
    """A package in site-packages; `size` is the bytes of its Python files."""

    name: str
    files: tuple[Path, ...]
    size: int


def site_packages() -> Path:
    return Path(sysconfig.get_path("purelib"))


def installed_packages(limit: int | None = None) -> list[InstalledPackage]:
    """The first `limit` packages by name (None: all), those without any Python file left out."""
    folders = (path for path in site_packages().iterdir() if is_package(path))
    names = sorted((path.name for path in folders), key=str.lower)
    return [installed_package(name) for name in names[:limit]]


def installed_package(name: str) -> InstalledPackage:
    """One package by its name; LookupError if there is none (a name is no path: '..' finds nothing)."""
    folder = site_packages() / name
    if folder.parent != site_packages() or not is_package(folder):
        raise LookupError(f"no package {name!r} is installed")
    files = tuple(sorted(path for path in folder.rglob("*.py") if path.is_file()))
    return InstalledPackage(name, files, sum(path.stat().st_size for path in files))


def is_package(path: Path) -> bool:
    return path.name.isidentifier() and (path / "__init__.py").is_file()
