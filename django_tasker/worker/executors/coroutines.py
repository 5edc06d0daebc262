"""Runs `async def` runners in one event loop.

A run that is aborted gets its signal and is cancelled, again and again. One that swallows that is left alone past
its grace. One that blocks the loop has RunAborted raised in it; if it is stuck in C, the loop is left to it and to
those who share it until it comes back, and new runs get another loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from collections.abc import Iterable
from typing import Any

from ... import logs
from ...abort import Listener, call_listeners
from ...conf import Options
from ...registry import Registry
from ...registry import registry as project_registry
from ..messages import Assignment, Sink
from ..run import Run, resolve
from .base import Executor
from .interrupt import clear_raised, raise_run_aborted
from .loop_thread import LoopThread, owner
from .schedule import Schedule
from .sensitive import SensitiveThreads
from .waiting import Waiting

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between two looks at an aborted run: whether to cancel it again, and whether it blocks the loop."""
LEAST_GRACE_SECONDS = 0.2
"""What a coroutine gets to end by being cancelled, even without any grace."""
STOP_SECONDS = 2.0


class CoroutineExecutor(Executor):
    """At most `slots` coroutines at a time."""

    kind = "coroutine"

    def __init__(self, slots: int, options: Options, sink: Sink, registry: Registry = project_registry) -> None:
        super().__init__(slots, options, sink, registry)
        self._lock = threading.Lock()  # guards all below
        self._waiting = Waiting()
        self._running: dict[tuple[int, int], CoroutineRun] = {}
        self._current: LoopThread | None = None  # where new runs start
        self._is_beginning = False  # the loop was told to begin what waits
        self._is_stopped = False
        self._schedule = Schedule("tasker-coroutine-aborts")
        self._sensitive = SensitiveThreads(slots)

    def start(self) -> None:
        with self._lock:
            if self._current is None and not self._is_stopped:
                self._current = LoopThread()
                logs.install(self.options.log_level_number)
                self._ask_to_begin()

    def submit(self, assignment: Assignment) -> None:
        self.submit_all([assignment])

    def submit_all(self, assignments: Iterable[Assignment]) -> None:
        with self._lock:
            if self._is_stopped:
                raise RuntimeError("The executor was stopped.")
            for assignment in assignments:
                self._waiting.add(assignment)
            self._ask_to_begin()

    def _ask_to_begin(self) -> None:
        """Have the loop begin what waits; once for as many as are submitted until it does."""
        if self._current and self._waiting and not self._is_beginning and len(self._running) < self.slots:
            self._is_beginning = True
            self._current.call(self._begin, self._current)

    def _begin(self, thread: LoopThread) -> None:
        """In the loop: begin as many as there is room for."""
        with self._lock:
            if thread is not self._current:
                return  # another loop took over, and was asked as well
            self._is_beginning = False
            begun = []
            while len(self._running) < self.slots and (assignment := self._waiting.take()) is not None:
                active = CoroutineRun(Run(assignment, self.sink), thread)
                self._running[assignment.key] = active
                begun.append(active)
        for active in begun:
            active.task = thread.loop.create_task(self._perform(active))

    async def _perform(self, active: CoroutineRun) -> None:
        run = active.run
        if run.is_finished:  # aborted before its first step
            return
        owner.set(active)
        logs.begin(run.capture)
        sensitive = self._sensitive.next()
        sensitive.enter()
        try:
            run.task.abort_signal.raise_if_aborted()
            runner = resolve(run.assignment.operation, self.registry)
            self.sink.started(run.key)
            active.is_calling = True
            result = await runner(run.task)
        except BaseException as error:
            active.close()
            ended = run.raised(error)
        else:
            active.close()
            ended = run.returned(result, self.options)
        sensitive.leave()
        self._leave(active)
        run.finish(ended)

    def _leave(self, active: CoroutineRun) -> None:
        """A run is over: its slot is free. Begins the next, and ends a loop that was replaced and is empty now."""
        thread = active.thread
        with self._lock:
            if self._running.get(active.run.key) is active:
                del self._running[active.run.key]
            self._ask_to_begin()
            is_over = thread is not self._current and not any(a.thread is thread for a in self._running.values())
        if is_over:
            thread.stop()

    # -- abort ------------------------------------------------------------------------------------------------

    def abort(self, key: tuple[int, int], reason: str, grace: float) -> None:
        with self._lock:
            waiting = self._waiting.remove(key)
            active = self._running.get(key)
        if waiting is not None:
            run = Run(waiting, self.sink)
            run.controller.abort(reason)
            run.finish(run.aborted())
        elif active is not None:
            listeners = active.run.controller.mark(reason)
            active.thread.call(self._cancel, active, listeners, context=active.context())
            active.thread.ping()
            grace = max(grace, LEAST_GRACE_SECONDS)
            self._schedule.after(min(grace / 2, LOOK_SECONDS), functools.partial(self._look, active))
            self._schedule.after(grace, functools.partial(self._give_up, active))

    def _cancel(self, active: CoroutineRun, listeners: list[Listener]) -> None:
        """In the loop."""
        try:
            call_listeners(listeners)
        finally:
            if not active.run.is_finished and not active.is_calling:
                self._leave(active)
                active.run.finish(active.run.aborted())
            elif active.task is not None:
                active.task.cancel()

    def _look(self, active: CoroutineRun) -> None:
        """Has the run ended? If not, cancel it once more; interrupt it if it is what the loop is stuck in."""
        if active.run.is_finished:
            return
        if active.thread.is_asked:
            active.interrupt()
        else:
            active.thread.ping()
            active.thread.call(self._cancel, active, [], context=active.context())
        self._schedule.after(LOOK_SECONDS, functools.partial(self._look, active))

    def _give_up(self, active: CoroutineRun) -> None:
        """The grace is over: free the slot, and see to it that new runs have a loop that runs."""
        run = active.run
        with self._lock:
            if self._running.get(run.key) is not active:
                return
        is_blocked = active.thread.is_asked
        if is_blocked and active.thread.current_owner() is not active:
            ended = run.aborted()  # it waits for a loop that another one blocks, and is cancelled when it gets it
        else:
            ended = run.died("Its coroutine could not be stopped, and was abandoned.", kind="Stuck")
        if is_blocked:
            self._replace(active.thread)
        self._leave(active)
        if run.finish(ended) and ended.kind == "died":
            logger.error("coroutine abandoned task=%s operation=%s", run.task.uuid, run.task.operation)

    def _replace(self, thread: LoopThread) -> None:
        with self._lock:
            if thread is not self._current or self._is_stopped:
                return
            self._current = LoopThread()
            self._is_beginning = False
            self._ask_to_begin()
        logger.error("event loop blocked, another one takes new tasks")

    # -- end --------------------------------------------------------------------------------------------------

    def withdraw(self) -> list[Assignment]:
        with self._lock:
            return self._waiting.clear()

    def stop(self) -> None:
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            self._waiting.clear()
            running = list(self._running.values())
            current = self._current
        self._schedule.stop()
        for active in running:
            active.run.finish(active.run.died("Its worker stopped.", kind="Stopped"))
            active.run.controller.mark("its worker stopped")
            active.interrupt()
        for thread in {active.thread for active in running} | ({current} if current else set()):
            thread.stop(wait_seconds=STOP_SECONDS)
        self._sensitive.close()
        if current is not None:
            logs.uninstall()


class CoroutineRun:
    """A run in a loop."""

    __slots__ = ("is_calling", "run", "task", "thread")

    def __init__(self, run: Run, thread: LoopThread) -> None:
        self.run = run
        self.thread = thread
        self.task: asyncio.Task[Any] | None = None
        self.is_calling = False  # the runner was called and has not returned

    def context(self) -> contextvars.Context:
        """A context for callbacks on this run's account."""
        context = contextvars.copy_context()
        context.run(owner.set, self)
        return context

    def interrupt(self) -> None:
        """Raise RunAborted in the runner, if it is what the loop's thread is in at this moment."""
        with self.run.lock:
            if self.is_calling and self.thread.current_owner() is self:
                raise_run_aborted(self.thread.ident)

    def close(self) -> None:
        """In the loop: from here on nothing is raised in it on this run's account."""
        self.is_calling = False
        if self.run.task.abort_signal.aborted:
            with self.run.lock:
                clear_raised(self.thread.ident)
