"""`manage.py tasker …`: tasks from the shell. Arguments and work are in `management/shell`."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_tasker.errors import TaskerError

from ..shell.arguments import add_subcommands
from ..shell.output import Output

_WAITING = ("wait", "add")
_ERROR_WHILE_WAITING = 4  # 1 to 3 say how the task ended


class Command(BaseCommand):
    help = "Add, list, show, follow, steer and prune tasks."
    requires_system_checks: list[str] = []  # a look at a queue should not wait for the checks of the project

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_subcommands(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the subcommand; exit with the code that it returns."""
        out = Output(self.stdout, self.style, as_json=options["as_json"])
        try:
            code = options["function"](out, Namespace(**options))
        except TaskerError as error:
            returncode = _ERROR_WHILE_WAITING if options["subcommand"] in _WAITING else 1
            raise CommandError(str(error), returncode=returncode) from error
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # `… | head`: whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            if code:
                sys.exit(code)
