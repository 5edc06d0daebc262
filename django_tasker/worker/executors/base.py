"""The contract of executors: they call runners, and report to a `Sink`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from ...conf import Options
from ...registry import Registry
from ...registry import registry as project_registry
from ..messages import Assignment, Sink


class Executor(ABC):
    """Runs assignments, at most `slots` at a time; those beyond wait inside, in order.

    Args:
        registry: where runners are found; the project's by default.
    """

    kind: str

    def __init__(self, slots: int, options: Options, sink: Sink, registry: Registry = project_registry) -> None:
        self.slots = slots
        self.options = options
        self.sink = sink
        self.registry = registry

    @abstractmethod
    def start(self) -> None:
        """Get ready to run (warm children, threads, a loop)."""

    @abstractmethod
    def submit(self, assignment: Assignment) -> None:
        """Run it as soon as a slot is free. Returns at once; callable from any thread."""

    def submit_all(self, assignments: Iterable[Assignment]) -> None:
        """`submit` each, in order."""
        for assignment in assignments:
            self.submit(assignment)

    @abstractmethod
    def abort(self, key: tuple[int, int], reason: str, grace: float) -> None:
        """Give the run its abort signal; end it by force after `grace` seconds. Unknown keys are ignored.

        An assignment that has not begun ends as aborted at once. Returns at once; safe to call twice
        (the shorter grace wins).
        """

    @abstractmethod
    def withdraw(self) -> list[Assignment]:
        """Take back every assignment that has not begun; nothing is reported of them."""

    @abstractmethod
    def stop(self) -> None:
        """Release threads and processes; what still runs is ended by force and reported as died."""
