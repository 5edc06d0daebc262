"""A process that has loaded the project and forks children of the worker from it.

A fork takes milliseconds and shares the memory of what was loaded. It is safe only from a process that has one
thread and no open connection: where loading the project leaves more than that, the worker starts fresh
interpreters instead.
"""

from __future__ import annotations

import atexit
import gc
import os
import select
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

from ...tracebacks import error_of
from . import child
from .pipes import Pipe
from .setup import Setup, die_with, kill_group, leave_signals_to_worker, load_project

RECORD = struct.Struct("!cii")  # to the worker: kind, process id, exit status
STARTED, EXITED = b"s", b"x"
FORK, KILL = b"f", b"k"  # from the worker: with two file descriptors; with a process id
PID = struct.Struct("!i")

READY, UNSAFE, BROKEN = "ready", "unsafe", "broken"


def main(control_fd: int) -> None:
    """Load the project, say whether it can be forked, and fork on request until the worker is gone."""
    leave_signals_to_worker()
    control = socket.socket(fileno=control_fd)
    pipe = Pipe(control)
    setup: Setup | None = pipe.receive()
    if setup is None:
        os._exit(1)
    die_with(setup.parent)
    try:
        load_project(setup)
    except BaseException as error:
        pipe.send((BROKEN, error_of(error)))
        os._exit(1)
    problem = unsafe_to_fork(control_fd)
    pipe.send((UNSAFE, problem) if problem else (READY, None))
    if not problem:
        ForkServer(control, setup).serve()
    os._exit(0)


def unsafe_to_fork(control_fd: int) -> str | None:
    """What forbids to fork this process; None: nothing."""
    from django.db import connections

    connections.close_all()
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if threads:
        return f"loading the project starts threads ({', '.join(threads[:5])})"
    tasks = Path("/proc/self/task")
    if tasks.exists() and len(list(tasks.iterdir())) > 1:
        return "a library that the project loads starts threads"
    if sockets := open_sockets() - {control_fd, 0, 1, 2}:
        return f"loading the project opens connections (file descriptors {sorted(sockets)})"
    return None


def open_sockets() -> set[int]:
    found = set()
    folder = Path("/proc/self/fd")
    for entry in os.listdir(folder) if folder.exists() else []:
        try:
            if os.readlink(folder / entry).startswith("socket:"):
                found.add(int(entry))
        except OSError:
            pass  # the descriptor of the listing itself
    return found


class ForkServer:
    """Forks, kills and reaps the children.

    One thing after the other: an end is read from a pipe that the signal writes to, never dealt with in a signal
    handler, which the next child's end would interrupt.
    """

    def __init__(self, control: socket.socket, setup: Setup) -> None:
        self._control = control
        self._setup = setup
        self._children: set[int] = set()
        self._ends, self._end = os.pipe()
        os.set_blocking(self._ends, False)
        os.set_blocking(self._end, False)

    def serve(self) -> None:
        gc.collect()
        gc.freeze()  # the collector of a child would copy every page that it looks at
        signal.signal(signal.SIGCHLD, lambda *_: None)  # with a handler, Python writes it to the pipe
        signal.set_wakeup_fd(self._end, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._ends, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._ends:
                    os.read(self._ends, 65536)
                    self._reap()
                else:
                    self._obey()

    def _obey(self) -> None:
        kind, fds, _, _ = socket.recv_fds(self._control, 1, 2)
        if kind == FORK:
            self._fork(fds)
        elif kind == KILL:
            self._kill(PID.unpack(self._control.recv(PID.size, socket.MSG_WAITALL))[0])
        else:
            os._exit(0)  # the worker is gone; the children die with us

    def _fork(self, fds: list[int]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            self._be_child(parent, fds)
        for fd in fds:
            os.close(fd)
        if pid > 0:
            self._children.add(pid)
        self._control.sendall(RECORD.pack(STARTED, pid, 0))

    def _be_child(self, parent: int, fds: list[int]) -> None:
        """Never returns: what is above us on the stack is the fork server's."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._ends)
            os.close(self._end)
            os.setsid()
            die_with(parent)
            self._control.close()
            atexit._clear()  # what loading has registered is for the fork server's end
            work, control = (Pipe(socket.socket(fileno=fd)) for fd in fds)
            child.serve(work, control, self._setup.options)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def _kill(self, pid: int) -> None:
        if pid in self._children:  # not reaped yet, so the id is still its own
            kill_group(pid)

    def _reap(self) -> None:
        while self._children:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            pid = found.si_pid
            if pid in self._children:
                kill_group(pid)  # the programs that it has started, while its id can't be anyone else's
            _, status = os.waitpid(pid, 0)
            if pid in self._children:
                self._children.discard(pid)
                self._control.sendall(RECORD.pack(EXITED, pid, os.waitstatus_to_exitcode(status)))
