"""External asserts: functions of the project that a condition `{"assert": name}` asks before a task may start."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .errors import RunnerAlreadyAssigned
from .json_values import storable_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an assertion said: does it hold, and if not, why."""

    holds: bool
    reason: str | None = None


class Assertions:
    """The assertions of a project by name."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[[], object]] = {}

    def assign(self, name: str, function: Callable[[], object]) -> None:
        """Give `name` its function, called without arguments; a true answer lets tasks start.

        Raises:
            RunnerAlreadyAssigned: the name has another function.
        """
        if self._functions.get(name, function) is not function:
            raise RunnerAlreadyAssigned(f"The assertion {name!r} has a function already: {self._functions[name]!r}.")
        self._functions[name] = function

    def ask(self, name: str) -> Answer:
        """Call the function; an unknown name and an error refuse."""
        function = self._functions.get(name)
        if function is None:
            return Answer(False, f"no function is assigned to the assertion {name!r} here")
        try:
            return Answer(True) if function() else Answer(False, f"the assertion {name!r} does not hold")
        except Exception as error:
            logger.exception("assertion raised name=%s", name)
            return Answer(False, storable_text(f"{type(error).__name__}: {error}", 1000))


class AssertionAnswers:
    """One worker's answers: asked at most once a pass, and again only after a while where one refuses."""

    def __init__(self, assertions: Assertions, interval_seconds: float) -> None:
        self._assertions = assertions
        self._interval = interval_seconds
        self._answers: dict[str, tuple[float, Answer]] = {}

    def refresh(self, names: Iterable[str]) -> None:
        """Ask before a pass, outside its transaction: a slow function must not hold the gate."""
        for name in list(names):
            asked_at, answer = self._answers.get(name, (-1e9, Answer(True)))
            if answer.holds or time.monotonic() - asked_at >= self._interval:
                self._answers[name] = time.monotonic(), self._assertions.ask(name)

    def known(self, name: str) -> bool:
        return name in self._answers

    def holds(self, name: str) -> bool:
        return name in self._answers and self._answers[name][1].holds


assertions = Assertions()
"""The project's assertions."""
