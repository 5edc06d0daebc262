"""What a child process is told so that it becomes like its worker, and how it becomes so.

Children are fresh interpreters (or forks of one), started by `python -c`: nothing of the worker's main module is
run again, no connection, thread or lock of the worker comes along.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from django.conf import UserSettingsHolder, settings

from ...conf import Options
from ...errors import ConfigurationError

_DATABASE_KEYS = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD")


@dataclass(slots=True)
class Setup:
    """The first message to a child."""

    options: Options
    parent: int  # process id of who started it
    argv: list[str]  # settings may look at the command
    databases: dict[str, dict[str, Any]]  # in tests these are others than the settings say


def make_setup(options: Options) -> Setup:
    """The worker's part.

    Raises:
        ConfigurationError: the settings were made by `settings.configure()`: a child can't import them.
    """
    settings_module()
    from django.db import connections

    databases = {
        alias: {key: entry[key] for key in _DATABASE_KEYS if key in entry}
        for alias, entry in connections.settings.items()
    }
    return Setup(options, os.getpid(), list(sys.argv), databases)


def settings_module() -> str:
    """The module that the project's settings come from."""
    holder: Any = getattr(settings, "_wrapped")  # noqa: B009 - mypy has no such attribute
    while isinstance(holder, UserSettingsHolder):  # override_settings lays one over another
        holder = holder.default_settings
    module = getattr(holder, "SETTINGS_MODULE", None)
    if not module:
        raise ConfigurationError(
            "Child processes can't get settings that were made by settings.configure(). Put them in a module that "
            'DJANGO_SETTINGS_MODULE names, or run tasks in threads: TASKER = {"EXECUTOR": "thread"}.'
        )
    return str(module)


def command(module: str, *arguments: int) -> list[str]:
    """The command line of a process that calls `main(*arguments)` of one of our modules, with our sys.path."""
    code = (
        f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; "
        f"main({', '.join(map(str, arguments))})"
    )
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-c", code, json.dumps(sys.path)]


def popen(arguments: list[str], fds: list[int]) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own: the terminal's Ctrl-C is for the worker to deal with."""
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        pass_fds=fds,
        start_new_session=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": settings_module()},
    )


def kill_group(pid: int) -> None:
    """Kill a child that has not been reaped yet, and the programs that it has started."""
    for kill in (os.kill, os.killpg):  # both: it may not lead its group yet
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


# -- in the child -------------------------------------------------------------------------------------------------


def leave_signals_to_worker() -> None:
    """Take no notice of SIGINT and SIGTERM: the worker decides."""
    # A function, since SIG_IGN would be inherited by the programs that runners start.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)


def die_with(parent: int) -> None:
    """Be killed when the process (on Linux: the thread) that started this one dies, even while stuck in C."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def load_project(setup: Setup) -> None:
    """Set up Django, on the worker's databases, and import the project's runners."""
    import django

    from ...registry import autodiscover

    sys.argv[:] = setup.argv
    for alias, values in setup.databases.items():
        if alias in settings.DATABASES:
            settings.DATABASES[alias].update(values)
    django.setup()
    autodiscover()
