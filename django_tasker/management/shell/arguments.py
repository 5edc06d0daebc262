"""The subcommands of `manage.py tasker` and their arguments; each names the function that does the work."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from ...statuses import ENDED, OnStop, Status
from . import changing, reading, values, waiting
from .output import LEVELS

SMALLEST_FIRST = "the smallest runs first; a number, Infinity or -Infinity"
_NEGATIVE = re.compile(r"-(\d|\.\d|inf)", re.IGNORECASE)


def add_subcommands(parser: ArgumentParser) -> None:
    subcommands = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")

    def subcommand(name: str, function: Callable[..., Any], summary: str) -> ArgumentParser:
        made: ArgumentParser = subcommands.add_parser(name, help=summary, description=summary)
        made._negative_number_matcher = _NEGATIVE  # so that -Infinity is a value, as -5 is
        made.set_defaults(function=function)
        made.add_argument("--json", action="store_true", dest="as_json", help="print JSON, an object a line")
        return made

    _add(subcommand("add", changing.add, "Add a task and print its uuid."))
    _list(subcommand("list", reading.list_tasks, "List tasks, newest first."))
    _show(subcommand("show", reading.show, "Show everything about a task."))
    _logs(subcommand("logs", reading.logs, "Show the log entries of a task."))
    _wait(
        subcommand(
            "wait",
            waiting.wait,
            "Wait until tasks have ended. Exit code: 0 done, 1 failed, 2 aborted, 3 timed out, 4 no such task.",
        )
    )
    _abort(subcommand("abort", changing.abort, "Abort tasks: new ones at once, running ones by their signal."))
    _prioritize(subcommand("prioritize", changing.prioritize, "Give tasks another priority: the smallest runs first."))
    _postpone(subcommand("postpone", changing.postpone, "Put tasks off until a time."))
    _targets(subcommand("retry", changing.retry, "Put ended tasks back into the queue."))
    _update(subcommand("update", changing.update, "Change the options of a task that has not started."))
    _targets(subcommand("delete", changing.delete, "Delete ended tasks."))
    _one(subcommand("explain", reading.explain, "Explain why a task is not running."))
    _place(subcommand("pause", changing.pause, "Let no worker start tasks of an operation or a queue."))
    _place(subcommand("resume", changing.resume, "Let workers start tasks of it again."))
    subcommand("stats", reading.stats, "Show counts of tasks, queues, workers and what is paused.")
    _prune(subcommand("prune", changing.prune, "Delete ended tasks past their retention."))


def _add(parser: ArgumentParser) -> None:
    parser.add_argument("operation", help="what to run")
    parser.add_argument("data", nargs="?", type=values.json_value, help="its data as JSON; - reads standard input")
    _task_options(parser)
    unset = argparse.SUPPRESS
    parser.add_argument("--unique-key", default=unset, help="at most one new or running task carries it")
    parser.add_argument(
        "--on-conflict",
        default=unset,
        choices=("raise", "return", "replace"),
        help="what to do if a task with this unique key is there",
    )
    parser.add_argument("--wait", action="store_true", help="wait for its end; exit code and output as of `wait`")
    _timeout(parser)


def _task_options(parser: ArgumentParser) -> None:
    """Options that stay unset when not given, so that the operation's defaults hold."""

    def option(name: str, help: str, **kwargs: Any) -> None:
        parser.add_argument(name, default=argparse.SUPPRESS, help=help, **kwargs)

    option("--priority", SMALLEST_FIRST, type=values.priority)
    option("--queue", "name of the queue")
    option("--run-at", "not before: 2030-01-31T07:00, or +5m", type=values.moment, metavar="TIME")
    option("--concurrency", "concurrency conditions, a JSON list", type=values.json_list, metavar="JSON")
    option("--run-timeout", "seconds, or like 5m", type=values.seconds, metavar="DURATION")
    option("--run-until", "must have ended by then: a cron expression", metavar="CRON")
    option("--queue-timeout", 'like {"after": 60, "then": "abort"}', type=values.json_object, metavar="JSON")
    option("--max-attempts", "how often to try", type=values.count, metavar="N")
    option("--retry-delay", "before the second attempt: seconds, or like 5m", type=values.seconds, metavar="DURATION")
    option("--on-stop", "what becomes of it if its worker stops", choices=OnStop.values)
    option("--keep-for", "once ended: seconds, or like 7d", type=values.seconds, metavar="DURATION")


def _list(parser: ArgumentParser) -> None:
    _query(parser)
    parser.add_argument("--status", action="append", choices=Status.values, help="may be repeated")
    parser.add_argument("--operation", action="append", help="may be repeated")
    parser.add_argument("--queue", action="append", help="may be repeated")
    parser.add_argument("--sort", type=lambda text: text.split(","), default=["-added_at"], help="fields; - descends")
    parser.add_argument("--limit", type=values.count, default=20, help="at most so many [20]")
    parser.add_argument("--skip", type=values.count, default=0, help="leave out the first so many")


def _show(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--logs", action="store_true", help="with its log entries")
    _max_level(parser, default="info")


def _logs(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--follow", "-f", action="store_true", help="go on with new entries until the task ends")
    parser.add_argument("--after", type=values.count, default=0, metavar="SEQ", help="only entries after this number")
    parser.add_argument("--search", default="", help="only entries whose message contains this")
    _max_level(parser, default="debug")


def _wait(parser: ArgumentParser) -> None:
    parser.add_argument("uuids", nargs="+", type=values.uuid, metavar="UUID")
    _timeout(parser)


def _abort(parser: ArgumentParser) -> None:
    _targets(parser)
    parser.add_argument("--reason", help="kept with the task")


def _prioritize(parser: ArgumentParser) -> None:
    _targets(parser)
    parser.add_argument("priority", type=values.priority, metavar="PRIORITY", help=SMALLEST_FIRST)


def _postpone(parser: ArgumentParser) -> None:
    parser.add_argument("uuids", nargs="+", type=values.uuid, metavar="UUID")
    parser.add_argument("run_at", type=values.moment, metavar="TIME", help="2030-01-31T07:00, or +5m")


def _update(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--data", type=values.json_value, default=argparse.SUPPRESS, metavar="JSON", help="new data")
    _task_options(parser)


def _place(parser: ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--operation")
    group.add_argument("--queue")


def _prune(parser: ArgumentParser) -> None:
    _query(parser)
    parser.add_argument("--status", action="append", choices=[str(status) for status in ENDED], help="may be repeated")
    parser.add_argument(
        "--older-than",
        type=values.seconds,
        metavar="DURATION",
        help="those that ended so long ago, like 30d, whatever their retention",
    )
    parser.add_argument("--dry-run", action="store_true", help="only count")


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("uuid", type=values.uuid, metavar="UUID")


def _targets(parser: ArgumentParser) -> None:
    parser.add_argument("uuids", nargs="*", type=values.uuid, metavar="UUID")
    _query(parser)
    parser.add_argument("--yes", "-y", action="store_true", help="don't ask before a query changes tasks")


def _query(parser: ArgumentParser) -> None:
    parser.add_argument("--query", type=values.json_object, metavar="JSON", help='like {"data.book": 7}')


def _timeout(parser: ArgumentParser) -> None:
    parser.add_argument("--timeout", type=values.seconds, metavar="DURATION", help="give up after seconds, or like 5m")


def _max_level(parser: ArgumentParser, *, default: str) -> None:
    parser.add_argument(
        "--max-level", choices=list(LEVELS.values()), default=default, help=f"most verbose level shown [{default}]"
    )
