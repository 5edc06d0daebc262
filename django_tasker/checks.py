"""System checks: the TASKER setting, and what a database should be told for tasks to run well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

from . import conf
from .conditions import check_global
from .errors import InvalidTask

WAL_HINT = (
    'Set OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, '
    '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}.'
)


@register("django_tasker")
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The TASKER dict: unknown keys, wrong values, conditions that can't be read; and keys put into TASKS."""
    user = getattr(settings, "TASKER", {})
    hint = "See django_tasker.conf.DEFAULTS for the keys, their units and defaults."
    found: list[CheckMessage] = [Error(text, hint=hint, id="django_tasker.E001") for text in conf.problems(user)]
    if not found:
        try:
            check_global(conf.options().conditions)
        except InvalidTask as error:
            found.append(Error(f"TASKER['CONDITIONS'] can't be read: {error}", id="django_tasker.E002"))
    return found + list(_misplaced(user))


def _misplaced(user: Any) -> Iterator[CheckMessage]:
    tasks = getattr(settings, "TASKS", None)
    if isinstance(tasks, dict):
        for key in tasks:
            if key in conf.DEFAULTS:
                yield Warning(
                    f"TASKS has the key {key!r}, which belongs to TASKER.",
                    hint="TASKS is Django's own setting for django.tasks.",
                    id="django_tasker.W001",
                )


@register(Tags.database, "django_tasker")
def check_databases(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """SQLite's options, without which writers of several processes get in each other's way."""
    return [message for name in databases or () for message in _check_database(name)]


def _check_database(name: str) -> Iterator[CheckMessage]:
    connection = connections[name]
    if connection.vendor != "sqlite":
        return
    options = connection.settings_dict.get("OPTIONS", {})
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield Warning(
            f"The SQLite database {name!r} begins its transactions deferred: under load they fail as locked.",
            hint=WAL_HINT,
            id="django_tasker.W002",
        )
    if "journal_mode=wal" not in str(options.get("init_command", "")).lower().replace(" ", ""):
        yield Warning(
            f"The SQLite database {name!r} does not use a write-ahead log: readers and writers wait for each other.",
            hint=WAL_HINT,
            id="django_tasker.W003",
        )
