"""A worker that starts anew when the project's code changes: Django's autoreloader around an ordered stop.

Two processes: the one that was started only waits, and passes signals on; its child runs the worker in a thread and
looks for changed files in the main thread. When some have, the child stops the worker in order, ends with Django's
exit code for "again", and is started again. `autoreload.run_with_reloader` would kill the child at every signal, and
end it in the middle of every task at every change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType

from django.utils import autoreload

from .shutdown import SIGNALS, stop_on_signals
from .worker import TaskWorker

AGAIN = 3
"""The exit code by which Django's reloader asks to be started again."""


def run_with_reloader(worker: TaskWorker, run: Callable[[], None]) -> None:
    """Run `worker` until a signal, with the code as it is on disk. Does not return in the process that only waits.

    Args:
        run: starts the worker and waits for its end; what it raises is shown, and the next change waited for.
    """
    if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
        _watch(worker, run)
    else:
        sys.exit(_supervise())


# -- the process that waits -------------------------------------------------------------------------------------------


def _supervise() -> int:
    """Start children until one has ended for good; return its exit code."""
    child: subprocess.Popen[bytes] | None = None
    is_stopping = False

    def stop(*_: int | FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = True
        if child is not None:
            child.send_signal(signal.SIGTERM)  # does nothing once it has ended

    for number in SIGNALS:
        signal.signal(number, stop)
    environment = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    while not is_stopping:
        # Ctrl-C reaches the child as well, and must not end it before it has set its handlers: hence preexec_fn.
        child = subprocess.Popen(
            autoreload.get_child_arguments(), env=environment, close_fds=False, preexec_fn=_ignore_interrupts
        )
        if is_stopping:  # the signal came before there was a child to pass it to
            child.send_signal(signal.SIGTERM)
        code = child.wait()
        if code != AGAIN:
            return 0 if is_stopping and code == -signal.SIGTERM else code if code >= 0 else 128 - code
    return 0


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# -- the process that works -------------------------------------------------------------------------------------------


def _watch(worker: TaskWorker, run: Callable[[], None]) -> None:
    """Run the worker in a thread until a signal; or until files have changed, with SystemExit."""
    reloader = autoreload.get_reloader()
    may_start = threading.Lock()
    is_over = False

    def run_once() -> None:
        with may_start:
            if is_over:
                return
            worker.start()
        run()

    with stop_on_signals(worker, then=reloader.stop, numbers=(signal.SIGTERM,)):
        # The parent hears Ctrl-C and tells us once. No SIG_IGN: programs that runners start would inherit it.
        signal.signal(signal.SIGINT, lambda *_: None)
        try:
            autoreload.start_django(reloader, run_once)
        finally:
            with may_start:
                is_over = True
            worker.stop()
