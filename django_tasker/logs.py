"""Captures what is logged while a runner runs, from any logger, and turns records into entries to store.

A handler on the root logger finds the current run: by a context variable in threads and coroutines, or, in a child
process, the one run of the process, so that threads of the runner are captured too. Nothing here writes rows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from . import log_entries
from .worker.messages import Entry

Deliver = Callable[[Entry], None]


class Capture:
    """Takes the entries of one run, up to its caps, and delivers each at once, in order.

    Args:
        level: least severe level to take.
        entries_left, bytes_left: caps; what comes after is only counted, in `dropped`.
        deliver: called with each entry, never after `close()`. It must return at once.
        lock: held while `deliver` is called; reentrant, because a finalizer that runs meanwhile may log.
    """

    __slots__ = ("_bytes_left", "_deliver", "_entries_left", "_lock", "dropped", "is_open", "level")

    def __init__(
        self, level: int, entries_left: int, bytes_left: int, deliver: Deliver, lock: threading.RLock | None = None
    ) -> None:
        self.level = level
        self.dropped = 0
        self.is_open = True
        self._entries_left = entries_left
        self._bytes_left = bytes_left
        self._deliver = deliver
        self._lock = lock or threading.RLock()

    def add(self, record: logging.LogRecord) -> None:
        """Take a record; never raises."""
        if not self.is_open:
            return
        if self._entries_left <= 0:
            with self._lock:
                self.dropped += 1
            return
        entry = log_entries.entry_of(record)
        with self._lock:
            if not self.is_open:
                return
            if self._entries_left <= 0 or entry.size > self._bytes_left:
                self._entries_left = 0
                self.dropped += 1
                return
            self._entries_left -= 1
            self._bytes_left -= entry.size
            self._deliver(entry)

    def close(self) -> None:
        """Take nothing any more; once this returns, nothing is being delivered."""
        with self._lock:
            self.is_open = False


_current: ContextVar[Capture | None] = ContextVar("django_tasker_capture", default=None)
_of_process: Capture | None = None


def current() -> Capture | None:
    """The capture that a logging call made here and now goes to."""
    return _current.get() or _of_process


def begin(capture: Capture) -> Token[Capture | None]:
    """Capture what this thread (or coroutine) logs from now on; undo with `end`."""
    _installed.ensure(capture.level)
    return _current.set(capture)


def end(token: Token[Capture | None]) -> None:
    _current.reset(token)


def set_process_capture(capture: Capture | None) -> None:
    """Capture what any thread of this process logs (None: no more): for child processes, which run one task."""
    global _of_process
    if capture is not None:
        _installed.ensure(capture.level)
    _of_process = capture


def install(level: int) -> None:
    """Put the handler on the root logger and let records from `level` on reach it, until as many `uninstall()`s.

    What the project's own handlers print stays as it is.
    """
    _installed.hold(level)


def uninstall() -> None:
    """Undo one `install`."""
    _installed.release()


class CaptureHandler(logging.Handler):
    """On the root logger: hands records to the current run's capture."""

    def handle(self, record: logging.LogRecord) -> bool:
        # Instead of emit(): the base class would take a lock that all threads share.
        capture = _current.get() or _of_process
        if (
            capture is not None
            and record.levelno >= capture.level
            and not getattr(record, "tasker_taken", False)
            and is_captured(record.name, record.levelno)
        ):
            capture.add(record)
        if record.levelno >= logging.WARNING and not _has_handlers(record.name, self):
            # Without us, logging would have found no handler at all, and printed the record by this one.
            _last_resort(record)
        return True


class KeepLevel(logging.Filter):
    """On the project's own handlers: keeps from them what they did not see before the root level was lowered."""

    def __init__(self) -> None:
        super().__init__()
        self.root_level = logging.NOTSET  # the project's
        self.lowered_level = logging.NOTSET  # ours

    def filter(self, record: logging.LogRecord) -> bool:
        return (
            record.levelno >= self.root_level
            or logging.root.level != self.lowered_level  # the project has set another since: that one counts
            or _has_level_of_its_own(record.name)
        )


class _Installed:
    """Our handler on the root logger, and the levels before and after."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._handler = CaptureHandler()
        self._keep_level = KeepLevel()
        self._is_lowered = False
        self._holders = 0

    def hold(self, level: int) -> None:
        with self._lock:
            self._holders += 1
            self.ensure(level)

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders <= 0:
                self._remove()

    def ensure(self, level: int) -> None:
        """Cheap when all is as it should be; repairs what a `dictConfig` has undone meanwhile."""
        root = logging.root
        if root.level <= level and self._handler in root.handlers:
            return
        with self._lock:
            if self._handler not in root.handlers:
                root.addHandler(self._handler)
            if root.level > level:
                self._lower(root, level)

    def _lower(self, root: logging.Logger, level: int) -> None:
        keep = self._keep_level
        if not (self._is_lowered and root.level == keep.lowered_level):
            keep.root_level = root.level
        for handler in _project_handlers(self._handler):
            handler.addFilter(keep)  # does nothing where it is already
        keep.lowered_level = level
        self._is_lowered = True
        root.setLevel(level)

    def _remove(self) -> None:
        logging.root.removeHandler(self._handler)
        for handler in _project_handlers(self._handler):
            handler.removeFilter(self._keep_level)
        if self._is_lowered and logging.root.level == self._keep_level.lowered_level:
            logging.root.setLevel(self._keep_level.root_level)
        self._is_lowered = False
        self._holders = 0


_installed = _Installed()


def _project_handlers(ours: logging.Handler) -> list[logging.Handler]:
    """Every handler of every logger but ours: those without a level of their own have the root's."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [handler for item in loggers if isinstance(item, logging.Logger) for handler in item.handlers]
    return [handler for handler in dict.fromkeys(handlers) if handler is not ours]


def _logger(name: str) -> logging.Logger | None:
    """The logger of this name, if there is one (asking `logging.getLogger` would make one)."""
    if name == "root":
        return logging.root
    found = logging.root.manager.loggerDict.get(name)
    return found if isinstance(found, logging.Logger) else None


def _has_level_of_its_own(name: str) -> bool:
    """Whether the logger's level comes from itself or a parent, and not from the root logger."""
    logger = _logger(name)
    while logger is not None and logger is not logging.root:
        if logger.level:
            return True
        logger = logger.parent
    return False


def _has_handlers(name: str, ours: logging.Handler) -> bool:
    logger = _logger(name) or logging.root
    while logger is not None:
        if any(handler is not ours for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None  # type: ignore[assignment]
    return False


def _last_resort(record: logging.LogRecord) -> None:
    last = logging.lastResort
    if last is not None and record.levelno >= last.level:
        last.handle(record)


# What would feed on itself (ours, the database's) or is noise: `asyncio` reports each loop it makes at DEBUG, and
# `django.tasks` the status of its tasks, which every task shows anyway, with a failure's traceback.
_NOT_CAPTURED = ("django_tasker", "django.db.backends", "django.tasks", "psycopg", "psycopg_pool", "psycopg2")
_known_names: dict[str, bool] = {}


def is_captured(name: str, level: int) -> bool:
    """Whether records of this logger are captured at all."""
    known = _known_names.get(name)
    if known is None:
        if len(_known_names) > 10_000:  # loggers named after data
            _known_names.clear()
        known = not any(name == root or name.startswith(f"{root}.") for root in _NOT_CAPTURED)
        _known_names[name] = known
    return known and not (level < logging.INFO and name == "asyncio")


class TaskLogger(logging.Logger):
    """The `logger` of a running task: captured whatever levels, `propagate` and `disabled` the project has set.

    It also passes records on to the project's logger of the same name, as far as that one takes them.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._project = logging.getLogger(name)
        self.parent = self._project.parent
        self.handlers = self._project.handlers  # the same list: what is added here is added there
        self.filters = self._project.filters

    def setLevel(self, level: int | str) -> None:
        self._project.setLevel(level)

    def isEnabledFor(self, level: int) -> bool:
        capture = current()
        return (capture is not None and level >= capture.level) or self._project.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        capture = current()
        if capture is not None and record.levelno >= capture.level:
            capture.add(record)
            record.tasker_taken = True
        if self._project.isEnabledFor(record.levelno):
            self._project.handle(record)

    def __reduce__(self) -> tuple[Any, ...]:
        return task_logger, (self.name.removeprefix("task."),)


_task_loggers: dict[str, TaskLogger] = {}


def task_logger(operation: str) -> TaskLogger:
    """The logger `task.<operation>`; dots of the operation become underscores, so that it is one name."""
    found = _task_loggers.get(operation)
    if found is None:
        name = operation.replace(".", "_")
        found = _task_loggers.get(name) or TaskLogger(f"task.{name}")
        _task_loggers[operation] = _task_loggers[name] = found
    return found
