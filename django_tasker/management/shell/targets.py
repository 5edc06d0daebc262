"""Which tasks a subcommand is to change: uuids, or a query with a count and a question first."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from django_tasker import tasker

from .output import Output


def change(
    out: Output,
    options: Namespace,
    *,
    participle: str,
    statuses: tuple[str, ...],
    one: Callable[[UUID], Any],
    many: Callable[[dict[str, Any]], int],
) -> None:
    """Change the tasks that the options name and say how many.

    Args:
        participle: what is done to them, as in "Aborted 3 tasks."
        statuses: those that can be changed at all; a query is narrowed to them before it is counted.
        one: changes one task; many: those of a query, and returns how many.
    """
    check_targets(options)
    if options.query is None:
        for uuid in options.uuids:
            one(uuid)
        count = len(options.uuids)
    else:
        query = {"$and": [options.query, {"status": {"$in": list(statuses)}}]}
        confirm(options, participle, tasker.count_tasks(query))
        count = many(query)
    out.either({"count": count}, f"{participle.capitalize()} {tasks(count)}.")


def check_targets(options: Namespace) -> None:
    if bool(options.uuids) == (options.query is not None):
        raise CommandError("Give either uuids or --query, one of the two.")


def confirm(options: Namespace, participle: str, count: int) -> None:
    """Ask before many tasks change, where somebody sits there to answer."""
    if options.yes or not count or not sys.stdin.isatty():
        return
    verb = "is" if count == 1 else "are"
    if input(f"{tasks(count).capitalize()} {verb} to be {participle}. Go on? [y/N] ").strip().lower() not in (
        "y",
        "yes",
    ):
        raise CommandError("Nothing was changed.")


def tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"
