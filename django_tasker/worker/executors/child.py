"""A child process: takes one assignment at a time from its worker, runs it, and reports.

It has two sockets. The main thread reads assignments from one and answers there; a second thread reads abort
requests from the other, and ends the process when the worker is gone.
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any
from uuid import UUID

from ... import logs
from ...abort import call_listeners
from ...conf import Options
from ...tracebacks import error_of
from ..connections import IdleTidier, close_connections
from ..messages import Assignment, Ended, Entry
from ..run import Run, resolve
from ..ticker import Ticker
from .pipes import Pipe
from .setup import Setup, die_with, leave_signals_to_worker, load_project

logger = logging.getLogger(__name__)

MAX_BATCH_ENTRIES = 500

# Kinds of messages to the worker.
READY, BROKEN, LOG, PROGRESS, ENDED = range(5)


def main(work_fd: int, control_fd: int) -> None:
    """Of a child that is a fresh interpreter."""
    leave_signals_to_worker()
    work, control = Pipe(socket.socket(fileno=work_fd)), Pipe(socket.socket(fileno=control_fd))
    setup: Setup = work.receive()
    if setup is None:
        os._exit(1)
    die_with(setup.parent)
    try:
        load_project(setup)
    except BaseException as error:
        work.send((BROKEN, error_of(error)))
        os._exit(1)
    serve(work, control, setup.options)


def serve(work: Pipe, control: Pipe, options: Options) -> None:
    """Run assignments until the worker says that it is enough; does not return."""
    if sys.stderr is not None:
        faulthandler.enable()  # a segfault tells its place there
    logs.install(options.log_level_number)
    child = Child(work, options)
    os.register_at_fork(after_in_child=child.become_bystander)
    threading.Thread(target=child.watch, args=[control], name="tasker-control", daemon=True).start()
    work.send((READY,))
    try:
        while (message := work.receive()) is not None:
            child.run(message)
    except BaseException:
        # A signal handler that a runner left behind raised where it must not: what was sent may be half a message.
        logger.exception("child process ends")
        os._exit(1)
    _exit()


def _exit() -> None:
    """End in order, but wait for no thread that a runner has left behind."""
    close_connections()
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(0)


class Child:
    """Runs assignments one after the other in the main thread."""

    def __init__(self, work: Pipe, options: Options) -> None:
        self._work = work
        self._options = options
        self._sink = PipeSink(work, options.log_flush_seconds)
        self._tidier = IdleTidier()
        self._lock = threading.Lock()
        self._current: Run | None = None
        self._early_aborts: dict[tuple[int, int], str] = {}  # they came before their assignment
        self._is_bystander = False

    def become_bystander(self) -> None:
        """In a process that a runner has forked: nothing of it is reported, it would garble what we send."""
        self._is_bystander = True
        self._sink.is_muted = True
        logs.set_process_capture(None)

    def run(self, message: tuple[Any, ...]) -> None:
        """Run one assignment and report its end, whatever happens."""
        run, reference = self._begin(message)
        try:
            ended = self._call(run, reference)
        except BaseException as error:  # a signal handler that the runner left behind
            ended = run.raised(error)
        if self._is_bystander:
            os._exit(0)  # it came back from the runner as well: there is nothing for it to do here
        run.finish(ended)

    def _begin(self, message: tuple[Any, ...]) -> tuple[Run, str | None]:
        id_, uuid, *values, reference = message
        run = Run(Assignment(id_, UUID(bytes=uuid), *values), self._sink)
        with self._lock:
            self._current = run
            early = run.key in self._early_aborts
            reason = self._early_aborts.get(run.key)
            self._early_aborts.clear()
        if early:
            run.controller.abort(reason)
        return run, reference

    def _call(self, run: Run, reference: str | None) -> Ended:
        self._tidier.before_run()
        logs.set_process_capture(run.capture)
        try:
            run.task.abort_signal.raise_if_aborted()
            result = resolve(run.assignment.operation, reference=reference)(run.task)
        except BaseException as error:
            ended = run.raised(error)
        else:
            ended = run.returned(result, self._options)
        logs.set_process_capture(None)
        signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm that was left on would ring in the next run
        self._tidier.after_run()
        return ended

    def watch(self, control: Pipe) -> None:
        """In a thread: pass on abort requests; end with the worker."""
        while (message := control.receive()) is not None:
            key, reason = message
            with self._lock:
                run = self._current
                if run is None or run.key != key:
                    self._early_aborts[key] = reason
                    continue
            call_listeners(run.controller.mark(reason))
        # The worker is gone. Whatever runs here, and the programs it has started, must not go on without it.
        os.killpg(0, signal.SIGKILL)


class PipeSink:
    """The child's end of the worker's sink.

    A run's first entry, and the first after a pause, goes out at once: it may be the last before a crash. Then it
    is batches.
    """

    def __init__(self, work: Pipe, flush_seconds: float) -> None:
        self._work = work
        self._flush_seconds = flush_seconds
        self._ticker = Ticker(flush_seconds)
        self._lock = threading.RLock()
        self._entries: list[tuple[Any, ...]] = []
        self._flushed_at = 0.0
        self.is_muted = False

    def started(self, key: tuple[int, int]) -> None:
        pass  # the worker knows when it sent the assignment

    def log(self, key: tuple[int, int], entries: list[Entry]) -> None:
        with self._lock:
            self._entries += [(e.created, e.level, e.logger, e.message, e.traceback, e.extra, e.size) for e in entries]
            if len(self._entries) >= MAX_BATCH_ENTRIES or time.monotonic() - self._flushed_at > self._flush_seconds:
                self._flush()
            elif len(self._entries) == len(entries):
                self._ticker.soon(self._flush)

    def _flush(self) -> None:
        with self._lock:
            if self._entries:
                entries, self._entries = self._entries, []
                self._flushed_at = time.monotonic()
                self._send(LOG, entries)

    def _send(self, *message: Any) -> None:
        if not self.is_muted:
            self._work.send(message)

    def progress(self, key: tuple[int, int], progress: dict[str, Any]) -> None:
        self._flush()
        self._send(PROGRESS, progress)

    def ended(self, ended: Ended) -> None:
        self._flush()
        self._flushed_at = 0.0
        e = ended
        self._send(ENDED, e.kind, e.result, e.error, e.reason, e.delay, e.until, e.logs_dropped, e.ended)
