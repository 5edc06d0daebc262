"""Shows django_tasker at work: index the installed packages, watch it in the terminal and in the admin."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from django_tasker import AbortController, tasker
from django_tasker.errors import TaskAborted, TaskFailed, WaitTimeout
from django_tasker.models import Task

from ... import demo
from ...packages import InstalledPackage


class Command(BaseCommand):
    help = "Index the installed packages with tasks: sets everything up, starts a worker and a web server."
    requires_migrations_checks = False
    interrupted: threading.Event

    def add_arguments(self, parser):
        env = os.environ
        parser.add_argument("--port", type=int, default=int(env.get("PORT", "8000")), help="of the web server [PORT]")
        parser.add_argument(
            "--packages", default=env.get("DEMO_PACKAGES", "40"), help="how many, by name, or 'all' [DEMO_PACKAGES]"
        )
        parser.add_argument(
            "--once",
            action="store_true",
            default=env.get("DEMO_ONCE", "") not in ("", "0"),
            help="no web server; end when all tasks have ended, with 1 if one failed [DEMO_ONCE]",
        )

    def handle(self, *, port: int, packages: str, once: bool, **options: Any) -> None:
        self.interrupted = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.interrupt)
        chosen = self.choose(packages)
        if not once:
            self.check_port(port)
        call_command("migrate", verbosity=0)
        try:
            self.run(chosen, None if once else port)
        except KeyboardInterrupt:
            if once:
                raise CommandError("Interrupted.", returncode=130) from None
            self.say("Stopped.")

    def interrupt(self, *_: Any) -> None:
        # An exception raised by a signal may strike where Python ignores it (in a __del__): remember it, too.
        self.interrupted.set()
        raise KeyboardInterrupt

    def check_interrupted(self, seconds: float = 0) -> None:
        if self.interrupted.wait(seconds):
            raise KeyboardInterrupt

    def run(self, packages: list[InstalledPackage], port: int | None) -> None:
        """The demo itself; without a port it ends by itself. Whatever was started is stopped at the end."""
        with contextlib.ExitStack() as running:
            tasks = demo.add_index_tasks(packages)
            summary = demo.add_summary_task()
            self.say(f"Added {len(tasks)} tasks, one for each package, and one that waits for all of them.")
            worker = running.enter_context(demo.process("tasker_worker", "--grace", "5"))
            if port:
                demo.create_admin()
                server = running.enter_context(demo.process("runserver", "--noreload", f"127.0.0.1:{port}"))
                self.say(f"Open http://127.0.0.1:{port}/admin/ (user admin, password admin). Ctrl-C stops everything.")
            self.follow(tasks[len(tasks) // 2], worker)
            failed = self.wait_for_all([*tasks, summary], worker)
            self.show_results(summary)
            if port:
                self.say("All tasks have ended; the web server goes on until Ctrl-C.")
                while server.poll() is None:
                    self.check_interrupted(0.5)
            if failed:
                raise CommandError(f"{failed} tasks failed.")

    def choose(self, packages: str) -> list[InstalledPackage]:
        try:
            chosen = demo.chosen_packages(packages)
        except ValueError as error:
            raise CommandError(f"DEMO_PACKAGES is {packages!r}, neither a number from 1 nor 'all'.") from error
        if not chosen:
            raise CommandError("There is no package to index.")
        return chosen

    def check_port(self, port: int) -> None:
        try:
            demo.check_port(port)
        except OSError as error:
            raise CommandError(f"Port {port} is taken; choose another: PORT={port + 1} make demo") from error

    def follow(self, task: Task, worker: subprocess.Popen[bytes]) -> None:
        """Show the log of one task as it grows, until it ends or the worker does."""
        self.say(f"The log of one of them, {task.operation} {task.data['package']}:")
        controller = AbortController()
        threading.Thread(target=lambda: (worker.wait(), controller.abort("the worker ended")), daemon=True).start()
        for entry in tasker.listen_task_logs(task.uuid, from_beginning=True, abort_signal=controller.signal):
            self.stdout.write(f"  {entry.seq:>5} {entry.message}")

    def wait_for_all(self, tasks: list[Task], worker: subprocess.Popen[bytes]) -> int:
        """How many failed or were aborted, once all have ended."""
        failed = 0
        for number, task in enumerate(tasks, start=1):
            failed += not self.is_done(task, worker)
            if number % 10 == 0 or number == len(tasks):
                self.say(f"{number} of {len(tasks)} tasks have ended.")
        return failed

    def is_done(self, task: Task, worker: subprocess.Popen[bytes]) -> bool:
        while True:
            self.check_interrupted()
            try:
                tasker.wait_for_task_output_data(task.uuid, timeout=2)
                return True
            except WaitTimeout:
                if worker.poll() is not None:
                    raise CommandError(f"The worker has ended with exit code {worker.returncode}.") from None
            except (TaskFailed, TaskAborted) as error:
                self.stderr.write(f"{task.operation} {task.data}: {error}")
                return False

    def show_results(self, summary: Task) -> None:
        result = tasker.get_task(summary.uuid).result
        for line in demo.results_table(result) if result else []:
            self.stdout.write(line)

    def say(self, text: str) -> None:
        self.stdout.write(self.style.SUCCESS(text))
        self.stdout.flush()
