"""`manage.py tasker_worker`: runs tasks until it is told to stop. A shell around `worker.TaskWorker`."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import autoreload

from ...databases import alias
from ...errors import ConfigurationError
from ...registry import autodiscover
from ...worker.settings import WorkerSettings
from ...worker.shutdown import stop_on_signals
from ...worker.worker import TaskWorker


class Command(BaseCommand):
    """Runs tasks."""

    help = "Run tasks until SIGTERM or SIGINT; a second signal skips the time that running tasks get to end."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--concurrency", type=_positive, metavar="N", help="process or thread slots (default: one per CPU)")
        add("--executor", choices=["process", "thread"], help="what calls runners that don't say (default: process)")
        add("--queue", action="append", metavar="Q", help="serve only this queue; may be repeated")
        add("--operation", action="append", metavar="OP", help="run only this operation; may be repeated")
        add("--exclude", action="append", default=[], metavar="OP", help="don't run this operation; may be repeated")
        add("--burst", action="store_true", help="end when nothing more can start")
        add("--max-tasks", type=_positive, metavar="N", help="end after N tasks")
        add("--grace", type=_seconds, metavar="S", help="seconds that running tasks get when the worker stops")
        add("--name", help="name of the worker (default: host:pid)")
        add("--autoreload", action="store_true", help="start anew when the project's code changes; for development")

    def handle(self, *args: Any, **options: Any) -> None:
        if options.pop("autoreload"):
            autoreload.run_with_reloader(self._run, **options)
        else:
            self._run(**options)

    def _run(self, **options: Any) -> None:
        try:
            autodiscover()
            worker = TaskWorker(_settings(options))
            with stop_on_signals(worker):
                worker.start()
                if options["verbosity"] >= 1:
                    self.stderr.write(
                        f"Worker {worker.settings.display_name} runs {', '.join(worker.settings.kinds())}"
                    )
                worker.wait()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error


def _settings(options: dict[str, Any]) -> WorkerSettings:
    return WorkerSettings(
        using=alias(),
        concurrency=options["concurrency"],
        executor=options["executor"],
        queues=tuple(options["queue"]) if options["queue"] else None,
        operations=tuple(options["operation"]) if options["operation"] else None,
        exclude=tuple(options["exclude"]),
        burst=options["burst"],
        max_tasks=options["max_tasks"],
        grace=options["grace"],
        name=options["name"],
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or more seconds")
    return value
