"""Runs runners in child processes, one assignment a child at a time.

A `Keeper` looks after the children. Its thread feeds the next assignment to a child the moment it is free, and never
waits on one child: what a child does not read yet is kept for later.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from ...conf import Options
from ...errors import ConfigurationError
from ...registry import Registry, reference_to
from ...registry import registry as project_registry
from ..messages import Assignment, Ended, Entry, Sink
from . import child as child_module
from .base import Executor
from .keeper import Keeper
from .launching import ChildProcess, describe_exit
from .setup import make_setup
from .waiting import Waiting


class ProcessRun:
    """An assignment that a child has."""

    __slots__ = ("abort_reason", "assignment", "child", "is_abort_asked", "key", "kill_at")

    def __init__(self, assignment: Assignment, child: ChildProcess) -> None:
        self.assignment = assignment
        self.key = assignment.key
        self.child = child
        self.is_abort_asked = False
        self.abort_reason: str | None = None
        self.kill_at = float("inf")


class ProcessExecutor(Executor):
    """`slots` child processes, started at `start()` and kept warm."""

    kind = "process"

    def __init__(self, slots: int, options: Options, sink: Sink, registry: Registry = project_registry) -> None:
        super().__init__(slots, options, sink, registry)
        self._lock = threading.Lock()  # guards the three below, and the `run` of each child
        self._waiting = Waiting()
        self._running: dict[tuple[int, int], ProcessRun] = {}
        self._idle: list[ChildProcess] = []
        self._keeper: Keeper | None = None
        self._is_stopped = False

    def start(self) -> None:
        """Start the children, in the background.

        Raises:
            ConfigurationError: child processes can't be had here.
        """
        if self._keeper is not None:
            return
        if sys.platform == "win32":
            raise ConfigurationError('Child processes need a POSIX system; set TASKER = {"EXECUTOR": "thread"}.')
        self._keeper = Keeper(self, make_setup(self.options))
        self._keeper.start()

    def submit(self, assignment: Assignment) -> None:
        with self._lock:
            if self._is_stopped:
                raise RuntimeError("The executor was stopped.")
            if not self._idle:
                self._waiting.add(assignment)
                return
            run = self._assign(self._idle.pop(), assignment)
        self._send(run)

    def _assign(self, child: ChildProcess, assignment: Assignment) -> ProcessRun:
        """With the lock held."""
        run = ProcessRun(assignment, child)
        child.run = run
        child.tasks += 1
        self._running[run.key] = run
        return run

    def _send(self, run: ProcessRun) -> None:
        """Without the lock: the sink may have one of its own."""
        self.sink.started(run.key)
        a = run.assignment
        assigned = self.registry.get(a.operation)
        if not run.child.work.post(
            (
                a.id,
                a.uuid.bytes,
                a.operation,
                a.queue,
                a.data,
                a.priority,
                a.attempt,
                a.max_attempts,
                a.log_level,
                a.log_entries_left,
                a.log_bytes_left,
                reference_to(assigned.runner) if assigned else None,
            )
        ):
            assert self._keeper is not None
            self._keeper.flush_later(run.child)

    def free(self, child: ChildProcess) -> bool:
        """A child has nothing to do: feed it the next, or let it idle. False: it is to retire."""
        with self._lock:
            child.run = None
            if child.is_gone or child.is_killed:
                return True
            limit = self.options.child_max_tasks
            if self._is_stopped or (limit is not None and child.tasks >= limit):
                return False
            assignment = self._waiting.take()
            if assignment is None:
                self._idle.append(child)
                return True
            run = self._assign(child, assignment)
        self._send(run)
        return True

    # -- what children report, in the keeper's thread -----------------------------------------------------------

    def report(self, child: ChildProcess, message: tuple[Any, ...]) -> bool:
        """Pass on one message of a child; False: the child is to retire."""
        kind, *values = message
        run: ProcessRun = child.run
        if kind == child_module.LOG:
            self.sink.log(run.key, [Entry(*entry) for entry in values[0]])
        elif kind == child_module.PROGRESS:
            self.sink.progress(run.key, values[0])
        else:
            with self._lock:
                self._running.pop(run.key, None)
            stays = self.free(child)
            self.sink.ended(Ended(*run.key, *values))
            return stays
        return True

    def lost(self, child: ChildProcess, code: int | None) -> None:
        """A child has ended, and all that it had sent was reported: end its run too.

        A run that it has not even read was assigned to it just as it died: another child gets it.
        """
        with self._lock:
            run: ProcessRun | None = child.run
            child.run = None
            if run is not None:
                self._running.pop(run.key, None)
            if child in self._idle:
                self._idle.remove(child)
            if run is None:
                return
            is_unread = child.work.is_unread and not run.is_abort_asked and not self._is_stopped
            again = self._again(run.assignment) if is_unread else None
        if again is not None:
            self._send(again)
        elif not is_unread:
            self.sink.ended(self._end_of(run, code))

    def _again(self, assignment: Assignment) -> ProcessRun | None:
        """Give an assignment to an idle child, or put it first in the queue; with the lock held."""
        if self._idle:
            return self._assign(self._idle.pop(), assignment)
        self._waiting.put_back(assignment)
        return None

    def _end_of(self, run: ProcessRun, code: int | None) -> Ended:
        ended = Ended(*run.key, "aborted", reason=run.abort_reason, ended=time.time())
        if not run.is_abort_asked:
            ended.kind = "died"
            what = "Its worker stopped" if self._is_stopped else f"Its process ended: {describe_exit(code)}"
            ended.error = {"type": "ProcessDied", "message": f"{what}.", "traceback": None}
        return ended

    # -- abort ------------------------------------------------------------------------------------------------

    def abort(self, key: tuple[int, int], reason: str, grace: float) -> None:
        with self._lock:
            waiting = self._waiting.remove(key)
            run = self._running.get(key)
            if run is not None:
                run.kill_at = min(run.kill_at, time.monotonic() + grace)
                is_first, run.is_abort_asked = not run.is_abort_asked, True
                if is_first:
                    run.abort_reason = reason
        if waiting is not None:
            self.sink.ended(Ended(*key, "aborted", reason=reason, ended=time.time()))
        elif run is not None:
            if is_first:
                run.child.control.post((key, reason))
            assert self._keeper is not None
            self._keeper.kill_later(run)

    def is_overdue(self, run: ProcessRun) -> bool:
        """Whether it is time to kill a run's child; if so, the child gets nothing any more."""
        with self._lock:
            if self._running.get(run.key) is not run:
                return False
            run.child.is_killed = True
            return True

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
            self._idle.clear()
        if self._keeper is not None:
            self._keeper.stop()
