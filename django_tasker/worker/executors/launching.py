"""Two ways to get child processes: fresh interpreters, or forks of one that has loaded the project.

A launcher is used by one thread, which must live as long as its children: Linux kills them with it.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from . import forkserver
from .pipes import Pipe
from .setup import Setup, command, kill_group, popen

logger = logging.getLogger(__name__)


SOON_SECONDS = 1.0
END_SECONDS = 5.0
"""What a fork server gets to end, once its worker has closed their connection."""


class LaunchError(Exception):
    """Children can't be started now; the message says why."""


class UnsafeToFork(LaunchError):
    """What loading the project leaves behind does not survive a fork."""


class ChildProcess:
    """A child as its worker sees it."""

    def __init__(self) -> None:
        work, self.work_end = socket.socketpair()
        control, self.control_end = socket.socketpair()
        self.work = Pipe(work)
        self.control = Pipe(control)
        self.pid: int | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.run: Any = None  # what it was assigned and has not ended
        self.is_ready = False
        self.is_killed = False
        self.is_gone = False
        self.is_retiring = False
        self.tasks = 0  # so many were assigned to it
        self.launched_at = time.monotonic()
        self.problem: dict[str, Any] | None = None  # why it could not load the project

    def has_failed(self) -> bool:
        """Whether it ended by no fault of a task, before or soon after it could run one."""
        soon = time.monotonic() - self.launched_at < SOON_SECONDS
        return not self.is_killed and not self.tasks and (not self.is_ready or soon)

    def launched(self) -> None:
        """The child has its ends: with ours closed, we see when it closes them."""
        self.work_end.close()
        self.control_end.close()

    def close(self) -> None:
        self.launched()
        self.work.close()
        self.control.close()


Exited = Callable[[ChildProcess, int | None], None]


class Launcher(ABC):
    """Starts and kills children.

    Args:
        exited: called with each child that has ended and its exit code (negative: a signal; None: unknown),
            from any thread.
    """

    def __init__(self, setup: Setup, exited: Exited) -> None:
        self._setup = setup
        self._exited = exited

    @abstractmethod
    def launch(self, child: ChildProcess) -> None:
        """Start a process for `child`. Raises LaunchError."""

    @abstractmethod
    def kill(self, child: ChildProcess) -> None: ...

    def register(self, selector: selectors.BaseSelector) -> None:  # noqa: B027 - not every launcher reads
        """Have `selector` watch what the launcher reads; data is what to call then."""

    def close(self, selector: selectors.BaseSelector) -> None:  # noqa: B027
        """Release what the launcher has; its children have ended."""

    @property
    def is_usable(self) -> bool:
        return True


class SpawnLauncher(Launcher):
    """Each child is a fresh interpreter."""

    def launch(self, child: ChildProcess) -> None:
        fds = [child.work_end.fileno(), child.control_end.fileno()]
        try:
            process = popen(command("django_tasker.worker.executors.child", *fds), fds)
        except OSError as error:
            raise LaunchError(f"no process could be started: {error}") from error
        child.launched()
        child.process, child.pid = process, process.pid
        child.work.post(self._setup)
        threading.Thread(target=self._wait, args=[child, process], name="tasker-wait", daemon=True).start()

    def kill(self, child: ChildProcess) -> None:
        if child.process is not None and child.process.returncode is None:
            kill_group(child.process.pid)

    def _wait(self, child: ChildProcess, process: subprocess.Popen[bytes]) -> None:
        if hasattr(os, "waitid"):
            # Leaves it unreaped, so that its id can't be anyone else's when its group is killed.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            kill_group(process.pid)
        self._exited(child, process.wait())


class ForkLauncher(Launcher):
    """Children are forked from a process that has loaded the project.

    Raises:
        UnsafeToFork: it has more than a fork can share.
        LaunchError: it could not load the project.
    """

    def __init__(self, setup: Setup, exited: Exited) -> None:
        super().__init__(setup, exited)
        self._starting: deque[ChildProcess] = deque()  # asked for, in order
        self._children: dict[int, ChildProcess] = {}
        self._records = b""
        self._is_usable = True
        self._control, theirs = socket.socketpair()
        with theirs:
            fds = [theirs.fileno()]
            try:
                self._process = popen(command("django_tasker.worker.executors.forkserver", *fds), fds)
            except OSError as error:
                self._control.close()
                raise LaunchError(f"no process could be started: {error}") from error
        pipe = Pipe(self._control)
        pipe.post(setup)
        answer = pipe.receive()
        if answer is None or answer[0] != forkserver.READY:
            self._control.close()
            code = self._process.wait()
            if answer is None:
                raise LaunchError(f"the process that loads the project ended: {describe_exit(code)}")
            kind, problem = answer
            raise UnsafeToFork(problem) if kind == forkserver.UNSAFE else LaunchError(describe_problem(problem))

    @property
    def is_usable(self) -> bool:
        return self._is_usable

    def launch(self, child: ChildProcess) -> None:
        fds = [child.work_end.fileno(), child.control_end.fileno()]
        try:
            socket.send_fds(self._control, [forkserver.FORK], fds)
        except OSError as error:
            raise LaunchError(f"no process could be forked: {error}") from error
        child.launched()
        self._starting.append(child)

    def kill(self, child: ChildProcess) -> None:
        if child.pid is not None:
            try:
                self._control.sendall(forkserver.KILL + forkserver.PID.pack(child.pid))
            except OSError:
                pass  # the fork server is gone, and its children with it
        # Else it is killed as soon as it has a pid.

    def register(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._control, selectors.EVENT_READ, lambda _: self._read(selector))

    def close(self, selector: selectors.BaseSelector) -> None:
        self._lose(selector)

    def _read(self, selector: selectors.BaseSelector) -> None:
        try:
            data = self._control.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._lose(selector)
            return
        self._records += data
        size = forkserver.RECORD.size
        while len(self._records) >= size:
            kind, pid, status = forkserver.RECORD.unpack(self._records[:size])
            self._records = self._records[size:]
            self._take(kind, pid, status)

    def _take(self, kind: bytes, pid: int, status: int) -> None:
        if kind == forkserver.EXITED:
            self._exited(self._children.pop(pid), status)
            return
        child = self._starting.popleft()
        if pid < 0:
            child.problem = {"type": "OSError", "message": os.strerror(-pid), "traceback": None}
            self._exited(child, None)
            return
        child.pid = pid
        self._children[pid] = child
        if child.is_killed:
            self.kill(child)

    def _lose(self, selector: selectors.BaseSelector) -> None:
        """The fork server is gone (or told to go): its children die with it."""
        if not self._is_usable:
            return
        self._is_usable = False
        selector.unregister(self._control)
        self._control.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        lost = [*self._children.values(), *self._starting]
        self._children.clear()
        self._starting.clear()
        for child in lost:
            self._exited(child, None)


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "it is gone"
    if code >= 0:
        return f"exit code {code}"
    import signal

    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; perhaps it ran out of memory" if name == "SIGKILL" else ""
    return f"signal {-code} ({name}){hint}"


def describe_problem(error: dict[str, Any]) -> str:
    return f"the project could not be loaded: {error['traceback'] or error['message']}"
