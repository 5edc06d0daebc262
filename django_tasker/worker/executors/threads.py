"""Runs runners in threads of this process.

A run that is aborted gets its signal, then RunAborted raised in its thread, again and again; one that is stuck in C
past its grace is given up: its thread is left alone, and another takes its place.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from typing import Any

from ... import logs
from ...abort import call_listeners
from ...conf import Options
from ...errors import RunAborted
from ...registry import Registry
from ...registry import registry as project_registry
from ..connections import IdleTidier, close_connections
from ..messages import Assignment, Ended, Sink
from ..run import Run, resolve
from .base import Executor
from .interrupt import clear_raised, raise_run_aborted
from .schedule import Schedule
from .waiting import Waiting

logger = logging.getLogger(__name__)

FIRST_RAISE_SECONDS = 0.2
"""What a runner gets to leave by its signal alone."""
NEXT_RAISE_SECONDS = 1.0
LEAST_GRACE_SECONDS = 0.5
"""What a runner gets to end by what was raised in it, even without any grace."""
STOP_SECONDS = 1.0
"""How long `stop()` waits for its threads."""

_NOTHING = object()


class ThreadExecutor(Executor):
    """At most `slots` threads, started when they are needed."""

    kind = "thread"

    def __init__(self, slots: int, options: Options, sink: Sink, registry: Registry = project_registry) -> None:
        super().__init__(slots, options, sink, registry)
        self._condition = threading.Condition()  # guards all below
        self._waiting = Waiting()
        self._running: dict[tuple[int, int], ThreadRun] = {}
        self._threads: set[_SlotThread] = set()
        self._is_started = False
        self._is_stopped = False
        self._schedule = Schedule("tasker-thread-aborts")

    def start(self) -> None:
        if not self._is_started:
            self._is_started = True
            logs.install(self.options.log_level_number)

    def submit(self, assignment: Assignment) -> None:
        with self._condition:
            if self._is_stopped:
                raise RuntimeError("The executor was stopped.")
            self._waiting.add(assignment)
            self._provide()

    def _provide(self) -> None:
        """Wake an idle thread, or start one; with the condition held."""
        if len(self._waiting) > len(self._threads) - len(self._running) and len(self._threads) < self.slots:
            thread = _SlotThread(self)
            self._threads.add(thread)
            thread.start()
        else:
            self._condition.notify()

    def take(self, thread: _SlotThread) -> ThreadRun | None:
        """The next run for a thread of ours; waits for it. None: the thread is to end."""
        with self._condition:
            while thread in self._threads and not self._is_stopped:
                assignment = self._waiting.take()
                if assignment is not None:
                    run = ThreadRun(Run(assignment, self.sink), thread)
                    self._running[assignment.key] = run
                    return run
                self._condition.wait()
        return None

    def leave(self, active: ThreadRun) -> None:
        """A run is over: its slot is free."""
        with self._condition:
            if self._running.get(active.run.key) is active:
                del self._running[active.run.key]

    # -- abort ------------------------------------------------------------------------------------------------

    def abort(self, key: tuple[int, int], reason: str, grace: float) -> None:
        with self._condition:
            waiting = self._waiting.remove(key)
            active = self._running.get(key)
        if waiting is not None:
            run = Run(waiting, self.sink)
            run.controller.abort(reason)
            run.finish(run.aborted())
        elif active is not None:
            listeners = active.run.controller.mark(reason)
            if listeners:
                # A user's listener may take its time: the caller must not.
                threading.Thread(target=call_listeners, args=[listeners], daemon=True).start()
            self._schedule.after(min(grace, FIRST_RAISE_SECONDS), functools.partial(self._raise, active))
            self._schedule.after(max(grace, LEAST_GRACE_SECONDS), functools.partial(self._give_up, active))

    def _raise(self, active: ThreadRun) -> None:
        if not active.run.is_finished:
            active.interrupt()
            self._schedule.after(NEXT_RAISE_SECONDS, functools.partial(self._raise, active))

    def _give_up(self, active: ThreadRun) -> None:
        """The grace is over. What still runs can't be stopped: a new thread takes the slot."""
        with self._condition:
            if self._running.get(active.run.key) is not active:
                return
            del self._running[active.run.key]
            self._threads.discard(active.thread)
            if self._waiting:
                self._provide()
        active.interrupt()  # ends the thread, should it ever come back to Python
        if active.run.finish(active.run.died("Its thread could not be stopped, and was abandoned.", kind="Stuck")):
            logger.error("thread abandoned task=%s operation=%s", active.run.task.uuid, active.run.task.operation)

    # -- end --------------------------------------------------------------------------------------------------

    def withdraw(self) -> list[Assignment]:
        with self._condition:
            return self._waiting.clear()

    def stop(self) -> None:
        with self._condition:
            if self._is_stopped:
                return
            self._is_stopped = True
            self._waiting.clear()
            running = list(self._running.values())
            threads = list(self._threads)
            self._condition.notify_all()
        self._schedule.stop()
        for active in running:
            active.run.finish(active.run.died("Its worker stopped.", kind="Stopped"))
            active.run.controller.abort("its worker stopped")
            active.interrupt()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._is_started:
            logs.uninstall()


class ThreadRun:
    """A run in a thread, which may be interrupted exactly while its runner is being called."""

    __slots__ = ("_thread_id", "run", "thread")

    def __init__(self, run: Run, thread: _SlotThread) -> None:
        self.run = run
        self.thread = thread
        self._thread_id: int | None = None

    def call(self, options: Options, registry: Registry) -> Ended:
        """Call the runner, in this thread, and return the outcome."""
        result: Any = _NOTHING
        error: BaseException | None = None
        try:
            try:
                runner = resolve(self.run.assignment.operation, registry)
                self.run.task.abort_signal.raise_if_aborted()
                self._thread_id = threading.get_ident()
                result = runner(self.run.task)
            except BaseException as caught:
                error = caught
            self._close()
        except RunAborted as late:  # raised just as the runner ended
            error = error or late
            self._close()
        if error is not None and result is _NOTHING:
            return self.run.raised(error)
        return self.run.returned(result, options)

    def _close(self) -> None:
        """From here on nothing is raised in this thread."""
        with self.run.lock:
            if self._thread_id is not None:
                clear_raised(self._thread_id)
                self._thread_id = None

    def interrupt(self) -> None:
        """Raise RunAborted in the runner, if it is being called."""
        with self.run.lock:
            if self._thread_id is not None:
                raise_run_aborted(self._thread_id)


class _SlotThread(threading.Thread):
    """One slot: runs one run after the other."""

    def __init__(self, executor: ThreadExecutor) -> None:
        super().__init__(name="tasker-run", daemon=True)
        self._executor = executor
        self._tidier = IdleTidier()

    def run(self) -> None:
        while (active := self._executor.take(self)) is not None:
            self._perform(active)
        close_connections()

    def _perform(self, active: ThreadRun) -> None:
        run = active.run
        self._tidier.before_run()
        token = logs.begin(run.capture)
        try:
            self._executor.sink.started(run.key)
            ended = active.call(self._executor.options, self._executor.registry)
        except BaseException as error:  # ours, or an interrupt later than late: the slot must live on
            ended = run.raised(error)
        logs.end(token)
        self._tidier.after_run()
        self._executor.leave(active)
        run.finish(ended)
