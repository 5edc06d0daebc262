"""The demo's counting: real sources, broken sources, names that are no packages."""

from __future__ import annotations

import pytest

from example_project.sources.indexing import Counts, Unreadable, count_file
from example_project.sources.packages import installed_package, installed_packages

pytestmark = pytest.mark.sqlite_only

SOURCE = """\
import os, sys
from pathlib import Path

class Shelf:
    def short(self): pass

    async def long(self):
        a = "\\d"

        return a
"""


def write(tmp_path, content: bytes):
    path = tmp_path / "module.py"
    path.write_bytes(content)
    return path


def test_counts_are_those_of_the_source(tmp_path):
    path = write(tmp_path, SOURCE.encode())

    counts = count_file(path, "here/module.py")

    assert counts == Counts(1, 10, 2, 1, 2, "here/module.py:7 long", 4)


@pytest.mark.parametrize(
    "content",
    [
        b"def broken(:",
        b"\x00",
        b"s = '\xff'",
        b"# coding: no-such-codec\n",
        b"x = " + b"(" * 5000,
        b"-" * 100_000 + b"1",
    ],
)
def test_invalid_source_is_unreadable_not_fatal(tmp_path, content):
    path = write(tmp_path, content)

    with pytest.raises(Unreadable):
        count_file(path, "module.py")


def test_declared_encoding_is_obeyed(tmp_path):
    path = write(tmp_path, "# coding: latin-1\ns = 'é'\n".encode("latin-1"))

    assert count_file(path, "module.py").lines == 2


def test_sum_keeps_the_longest_function():
    short = Counts(longest_function="a", longest_function_lines=3)
    long = Counts(longest_function="b", longest_function_lines=9)

    assert (short + long).longest_function == "b"


@pytest.mark.parametrize("name", ["..", "/etc", "no_such_package", "", "django/db"])
def test_only_installed_packages_are_found(name):
    with pytest.raises(LookupError):
        installed_package(name)


def test_packages_come_by_name():
    names = [package.name for package in installed_packages(20)]

    assert names == sorted(names, key=str.lower)
    assert len(names) == 20
