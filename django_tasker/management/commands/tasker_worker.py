"""`manage.py tasker_worker`: runs tasks until it is told to stop. A shell around `worker.TaskWorker`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...databases import alias
from ...errors import ConfigurationError
from ...worker.reloading import run_with_reloader
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
        try:
            worker = TaskWorker(_settings(options))
            run = partial(self._run, worker, options["verbosity"])
            if options["autoreload"]:
                run_with_reloader(worker, run)
            else:
                with stop_on_signals(worker):
                    run()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error

    def _run(self, worker: TaskWorker, verbosity: int) -> None:
        worker.start()
        if verbosity >= 1:
            self.stderr.write(f"Worker {worker.settings.display_name} runs {', '.join(worker.settings.kinds())}")
        worker.wait()


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
