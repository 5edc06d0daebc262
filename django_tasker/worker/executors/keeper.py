"""The thread that looks after child processes: it reads from them, and starts, kills and replaces them."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from . import child as child_module
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
from .setup import Setup

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
"""Between two attempts to start children while they fail to start."""
RETIRE_SECONDS = 10.0
"""What a child that was told to end in order gets for it."""
STOP_SECONDS = 3.0


class Overdue(Protocol):
    """A run that was aborted."""

    child: ChildProcess
    kill_at: float  # monotonic time


class Assigner(Protocol):
    """Who has work for children. All but the attributes is called in the keeper's thread."""

    slots: int

    def free(self, child: ChildProcess) -> bool:
        """A child has nothing to do; False: it is to retire."""

    def report(self, child: ChildProcess, message: tuple[Any, ...]) -> bool:
        """A child says something about its run; False: it is to retire."""

    def lost(self, child: ChildProcess, code: int | None) -> None:
        """A child has ended, with this exit code, and all it had said was reported."""

    def is_overdue(self, run: Any) -> bool:
        """Whether a run whose time is over goes on; if so, its child gets nothing any more, and is killed."""


class Keeper:
    """Keeps as many children as its assigner has slots."""

    def __init__(self, assigner: Assigner, setup: Setup) -> None:
        self._thread = threading.Thread(target=self._main, name="tasker-children", daemon=True)
        self._assigner = assigner
        self._setup = setup
        self._may_fork = setup.options.start_method == "forkserver"
        self._launcher: Launcher | None = None
        self._children: set[ChildProcess] = set()
        self._kills: list[Overdue] = []  # aborted runs that have not ended
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

    def kill_later(self, run: Overdue) -> None:
        """Kill the child of an aborted run at its `kill_at`, if it has not ended."""
        self._call(lambda: self._kills.append(run))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End all children and wait for that."""
        self._call(self._begin_stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * STOP_SECONDS)

    # -- the thread -------------------------------------------------------------------------------------------

    def _main(self) -> None:
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
        elif self._counted() < self._assigner.slots:
            times.append(self._launch_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _maintain(self) -> None:
        """Kill what is overdue; start what is missing."""
        now = time.monotonic()
        if self._kills:
            due = [run for run in self._kills if run.kill_at <= now]
            self._kills = [run for run in self._kills if run.kill_at > now and run.child.run is run]
            for run in due:
                if self._assigner.is_overdue(run):
                    self._kill(run.child)
        for child in [child for child, until in self._retiring.items() if until <= now]:
            del self._retiring[child]
            self._kill(child)
        if self._stop_at is None:
            while self._counted() < self._assigner.slots and time.monotonic() >= self._launch_at and self._launch():
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
        if time.monotonic() - self._launch_at > LONGEST_PAUSE_SECONDS:
            self._failures = 0  # the last one is long ago
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
                stays = self._assigner.free(child)
            elif kind == child_module.BROKEN:
                child.problem = message[1]
                stays = True
            else:
                self._failures = 0
                stays = self._assigner.report(child, message)
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
        self._assigner.lost(child, code)
        child.close()
        if self._stop_at is None and child.has_failed():
            self._failed(describe_problem(child.problem) if child.problem else describe_exit(code))

    def _begin_stop(self) -> None:
        self._stop_at = time.monotonic()
        for child in list(self._children):
            if child.run is None and child.is_ready:
                self._retire(child)
            else:
                self._kill(child)
