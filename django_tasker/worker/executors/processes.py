"""Runs runners in child processes, one assignment a child at a time.

One thread reads what all children report, feeds the next assignment to a child the moment it is free, and kills and
replaces children. It never waits on one child: what a child does not read yet is kept for later.
"""

from __future__ import annotations

import logging
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ...conf import Options
from ...errors import ConfigurationError
from ...registry import describe, registry
from ..messages import Assignment, Ended, Entry, Sink
from . import child as child_module
from .base import Executor
from .launching import (
    ChildProcess,
    ForkLauncher,
    Launcher,
    LaunchError,
    SpawnLauncher,
    UnsafeToFork,
    describe_exit,
    describe_problem,
)
from .setup import Setup, make_setup
from .waiting import Waiting

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
"""Between two attempts to start children while they fail to start."""
RETIRE_SECONDS = 10.0
"""What a child that was told to end in order gets for it."""
STOP_SECONDS = 3.0


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

    def __init__(self, slots: int, options: Options, sink: Sink) -> None:
        super().__init__(slots, options, sink)
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
        self._running[run.key] = run
        return run

    def _send(self, run: ProcessRun) -> None:
        """Without the lock: the sink may have one of its own."""
        self.sink.started(run.key)
        a = run.assignment
        assigned = registry.get(a.operation)
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
                describe(assigned.runner) if assigned else None,
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
            child.tasks += 1
            with self._lock:
                self._running.pop(run.key, None)
            stays = self.free(child)
            self.sink.ended(Ended(*run.key, *values))
            return stays
        return True

    def lost(self, child: ChildProcess, code: int | None) -> None:
        """A child has ended, and all that it had sent was reported: end its run too."""
        with self._lock:
            run: ProcessRun | None = child.run
            child.run = None
            if run is not None:
                self._running.pop(run.key, None)
            if child in self._idle:
                self._idle.remove(child)
        if run is not None:
            self.sink.ended(self._end_of(run, code))

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


class Keeper(threading.Thread):
    """The thread that reads from the children, and starts, kills and replaces them."""

    def __init__(self, executor: ProcessExecutor, setup: Setup) -> None:
        super().__init__(name="tasker-children", daemon=True)
        self._executor = executor
        self._setup = setup
        self._may_fork = executor.options.start_method == "forkserver"
        self._launcher: Launcher | None = None
        self._children: set[ChildProcess] = set()
        self._kills: list[ProcessRun] = []  # aborted runs that have not ended
        self._retiring: dict[ChildProcess, float] = {}  # and when to lose patience
        self._failures = 0
        self._launch_at = 0.0
        self._stop_at: float | None = None
        self._calls: deque[Callable[[], None]] = deque()  # for this thread to do
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._do_calls)

    # -- from other threads -----------------------------------------------------------------------------------

    def _call(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        try:
            self._waker.send(b"!")
        except OSError:
            pass  # it has been woken often enough, or is over

    def flush_later(self, child: ChildProcess) -> None:
        """Send the rest of what `post` could not, as the child reads."""
        self._call(lambda: self._watch(child, selectors.EVENT_READ | selectors.EVENT_WRITE))

    def kill_later(self, run: ProcessRun) -> None:
        """Kill the child of an aborted run at its `kill_at`, if it has not ended."""
        self._call(lambda: self._kills.append(run))

    def stop(self) -> None:
        """End all children and wait for that."""
        self._call(self._begin_stop)
        if threading.current_thread() is not self:
            self.join(2 * STOP_SECONDS)

    # -- the thread -------------------------------------------------------------------------------------------

    def run(self) -> None:
        while self._stop_at is None or (self._children and time.monotonic() < self._stop_at + STOP_SECONDS):
            try:
                self._maintain()
                for key, events in self._selector.select(self._timeout()):
                    key.data(events)
            except Exception:
                logger.exception("unforeseen error among child processes")
                time.sleep(FIRST_PAUSE_SECONDS)
        self._close()

    def _close(self) -> None:
        for child in list(self._children):
            self._kill(child)
            self._gone(child, None)
        if self._launcher is not None:
            self._launcher.close(self._selector)
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _do_calls(self, _: int) -> None:
        self._woken.recv(4096)
        while self._calls:
            self._calls.popleft()()

    def _timeout(self) -> float | None:
        times = [*(run.kill_at for run in self._kills), *self._retiring.values()]
        if self._stop_at is not None:
            times.append(self._stop_at + STOP_SECONDS)
        elif self._counted() < self._executor.slots:
            times.append(self._launch_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _maintain(self) -> None:
        """Kill what is overdue; start what is missing."""
        now = time.monotonic()
        if self._kills:
            due = [run for run in self._kills if run.kill_at <= now]
            self._kills = [run for run in self._kills if run.kill_at > now and run.child.run is run]
            for run in due:
                if self._executor.is_overdue(run):
                    self._kill(run.child)
        for child in [child for child, until in self._retiring.items() if until <= now]:
            del self._retiring[child]
            self._kill(child)
        if self._stop_at is None:
            while self._counted() < self._executor.slots and time.monotonic() >= self._launch_at and self._launch():
                pass

    def _counted(self) -> int:
        """Children that run tasks, or will."""
        return len(self._children) - len(self._retiring)

    # -- starting ---------------------------------------------------------------------------------------------

    def _launch(self) -> bool:
        try:
            launcher = self._get_launcher()
            child = ChildProcess()
            try:
                launcher.launch(child)
            except LaunchError:
                child.close()
                raise
        except (LaunchError, OSError) as error:
            self._failed(str(error))
            return False
        self._children.add(child)
        self._watch(child, selectors.EVENT_READ)
        return True

    def _get_launcher(self) -> Launcher:
        if self._launcher is not None and self._launcher.is_usable:
            return self._launcher
        self._launcher = self._make_launcher()
        self._launcher.register(self._selector)
        return self._launcher

    def _make_launcher(self) -> Launcher:
        if self._may_fork:
            try:
                return ForkLauncher(self._setup, self._exited)
            except UnsafeToFork as problem:
                self._may_fork = False
                logger.warning(
                    "child processes are started afresh, which takes longer and more memory, because %s", problem
                )
        return SpawnLauncher(self._setup, self._exited)

    def _failed(self, problem: str) -> None:
        """A child could not be started: pause, longer each time; say so once."""
        self._failures += 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1))
        self._launch_at = time.monotonic() + pause
        if self._failures == 1:
            logger.error("child process could not be started, will go on trying: %s", problem)

    # -- reading ----------------------------------------------------------------------------------------------

    def _watch(self, child: ChildProcess, events: int) -> None:
        if child not in self._children or child.is_gone:
            return

        def handle(ready: int) -> None:
            self._handle(child, ready)

        if child.work.fileno() in self._selector.get_map():
            self._selector.modify(child.work, events, handle)
        else:
            self._selector.register(child.work, events, handle)

    def _handle(self, child: ChildProcess, ready: int) -> None:
        if ready & selectors.EVENT_WRITE and child.work.flush():
            self._watch(child, selectors.EVENT_READ)
        if ready & selectors.EVENT_READ:
            is_over = self._read(child)
            if is_over and not child.is_gone:
                self._unwatch(child)
                if not child.is_retiring:  # it goes on without a connection to us, if it goes on at all
                    self._kill(child)

    def _read(self, child: ChildProcess) -> bool:
        messages, is_over = child.work.receive_available()
        for message in messages:
            kind = message[0]
            if kind == child_module.READY:
                child.is_ready = True
                self._failures = 0
                stays = self._executor.free(child)
            elif kind == child_module.BROKEN:
                child.problem = message[1]
                stays = True
            else:
                stays = self._executor.report(child, message)
            if not stays:
                self._retire(child)
        return is_over

    def _unwatch(self, child: ChildProcess) -> None:
        if child.work.fileno() in self._selector.get_map():
            self._selector.unregister(child.work)

    # -- ending -----------------------------------------------------------------------------------------------

    def _retire(self, child: ChildProcess) -> None:
        """Let a child without a run end in order; another takes its place at once."""
        if child.is_retiring:
            return
        child.is_retiring = True
        try:
            child.work.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self._retiring[child] = time.monotonic() + RETIRE_SECONDS

    def _kill(self, child: ChildProcess) -> None:
        child.is_killed = True
        if self._launcher is not None:
            self._launcher.kill(child)

    def _exited(self, child: ChildProcess, code: int | None) -> None:
        """From any thread: a child has ended."""
        self._call(lambda: self._gone(child, code))

    def _gone(self, child: ChildProcess, code: int | None) -> None:
        if child.is_gone:
            return
        child.is_gone = True
        self._read(child)  # what it had said before it ended
        self._unwatch(child)
        self._children.discard(child)
        self._retiring.pop(child, None)
        self._executor.lost(child, code)
        child.close()
        if not child.is_ready and self._stop_at is None and not child.is_killed:
            self._failed(describe_problem(child.problem) if child.problem else describe_exit(code))

    def _begin_stop(self) -> None:
        self._stop_at = time.monotonic()
        for child in list(self._children):
            if child.run is None and child.is_ready:
                self._retire(child)
            else:
                self._kill(child)
