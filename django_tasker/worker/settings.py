"""What one worker is asked to do: flags and settings, resolved once."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..assertions import Assertions
from ..assertions import assertions as project_assertions
from ..conf import Options
from ..conf import options as project_options
from ..errors import ConfigurationError
from ..registry import Registry
from ..registry import registry as project_registry


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker runs tasks.

    Args:
        concurrency: process slots, and thread slots; None: TASKER["CONCURRENCY"], or one per CPU.
        executor: what calls plain functions whose runner does not say: "process" or "thread".
        queues, operations: only these; None: all that runners are assigned to.
        exclude: never these operations.
        burst: end when nothing more can start.
        max_tasks: end after so many tasks.
        grace: seconds that running tasks get when the worker stops.
    """

    using: str = "default"
    concurrency: int | None = None
    executor: str | None = None
    queues: tuple[str, ...] | None = None
    operations: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    burst: bool = False
    max_tasks: int | None = None
    grace: float | None = None
    name: str | None = None
    options: Options = field(default_factory=project_options)
    registry: Registry = project_registry
    assertions: Assertions = project_assertions

    @cached_property
    def slots(self) -> dict[str, int]:
        """Executor kind -> how many runs at a time."""
        plain = self.concurrency or self.options.concurrency or os.cpu_count() or 1
        return {"process": plain, "thread": plain, "coroutine": max(plain, self.options.coroutines)}

    @property
    def grace_seconds(self) -> float:
        return self.options.grace if self.grace is None else self.grace

    @property
    def display_name(self) -> str:
        return self.name or f"{socket.gethostname()}:{os.getpid()}"

    def kinds(self) -> dict[str, str]:
        """Operation -> executor kind, for every operation that this worker runs.

        Raises:
            ConfigurationError: an operation was named that has no runner.
        """
        known = self.registry.operations()
        if unknown := [name for name in self.operations or () if name not in known]:
            raise ConfigurationError(f"No runner is assigned to {', '.join(map(repr, unknown))}.")
        default = self.executor or self.options.executor
        return {
            name: assigned.executor or default
            for name, assigned in known.items()
            if (self.operations is None or name in self.operations) and name not in self.exclude
        }


def machine_id() -> str:
    """What two processes share exactly when one's process id means something to the other; empty if unknown.

    Host names may repeat (containers); the kernel's boot and the process id namespace don't.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Does a process of this machine with this id exist, and run? A dead one that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Has it ended, though its id is kept for a parent that has not asked yet? False where Linux's /proc is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(") ")[2][:1] in ("Z", "X")  # after the name, which may hold any character
