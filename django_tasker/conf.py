"""The TASKER setting: one dict, defaults and units here, read lazily and frozen into `Options`.

Nothing under `worker/` reads settings: the worker resolves them once and passes `Options` down.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from .errors import ConfigurationError

DEFAULTS: dict[str, Any] = {
    # -- worker -------------------------------------------------------------------------------------------
    "CONCURRENCY": None,  # process or thread slots of a worker; None: one per CPU
    "COROUTINES": 100,  # coroutine slots of a worker
    "EXECUTOR": "process",  # what calls plain functions unless the runner says: "process" or "thread"
    "PREFETCH_SECONDS": 0.05,  # work claimed ahead for busy slots, in seconds of recent mean duration; 0: none
    "START_METHOD": "forkserver",  # how child processes are started: "forkserver" or "spawn"
    "CHILD_MAX_TASKS": None,  # tasks after which a child process is replaced; None: never
    "GRACE": 30.0,  # seconds that running tasks get when a worker stops
    "ABORT_GRACE": 5.0,  # seconds between the abort signal of a run and its end by force
    "HEARTBEAT": 10.0,  # seconds between two heartbeats of a worker
    "LEASE": 60.0,  # seconds without a heartbeat after which a worker is lost
    "MAX_LOSSES": 3,  # times a task may kill or lose its worker before it is failed
    "POLL_INTERVAL": 1.0,  # seconds between two looks at the queue when no wake-up comes
    "ASSERTION_INTERVAL": 3.0,  # seconds after which an assertion that refuses is asked again
    # -- tasks --------------------------------------------------------------------------------------------
    "CONDITIONS": [],  # concurrency conditions for every task that matches their "for" query
    "MAX_CONDITIONS": 20,  # conditions one task may carry, its operation's template included
    "MAX_DATA_BYTES": 1_000_000,  # JSON size of a task's data
    "MAX_RESULT_BYTES": 10_000_000,  # JSON size of a task's result
    "ON_STOP": "postpone",  # running tasks of a stopped or lost worker: "postpone" or "abort"
    "RETRY_DELAY": 1.0,  # seconds before the second attempt
    "RETRY_BACKOFF": 2.0,  # factor from one delay to the next
    "RETRY_MAX_DELAY": 3600.0,  # seconds, the cap of a delay
    "RETRY_JITTER": 0.1,  # share of a delay that is random, 0 to 1
    "KEEP_FOR": None,  # seconds an ended task is kept; None: until deleted by hand
    # -- logs and events ----------------------------------------------------------------------------------
    "LOG_LEVEL": "DEBUG",  # least severe level that is stored
    "LOG_MAX_ENTRIES": 10_000,  # log entries kept of a task
    "LOG_MAX_BYTES": 10_000_000,  # bytes of messages kept of a task
    "LOG_FLUSH_SECONDS": 0.05,  # longest time an entry waits to be written
    "EVENT_KEEP_SECONDS": 600.0,  # how long events stay readable for listeners
    # -- doors --------------------------------------------------------------------------------------------
    "ALLOW_REGEX": False,  # may untrusted callers (REST, websockets) use $regex
}


@dataclass(frozen=True, slots=True)
class Options:
    """The TASKER setting, complete and checked; one attribute a key, in lower case."""

    concurrency: int | None
    coroutines: int
    executor: str
    prefetch_seconds: float
    start_method: str
    child_max_tasks: int | None
    grace: float
    abort_grace: float
    heartbeat: float
    lease: float
    max_losses: int
    poll_interval: float
    assertion_interval: float
    conditions: list[dict[str, Any]]
    max_conditions: int
    max_data_bytes: int
    max_result_bytes: int
    on_stop: str
    retry_delay: float
    retry_backoff: float
    retry_max_delay: float
    retry_jitter: float
    keep_for: float | None
    log_level: str
    log_max_entries: int
    log_max_bytes: int
    log_flush_seconds: float
    event_keep_seconds: float
    allow_regex: bool

    @property
    def log_level_number(self) -> int:
        return _level_number(self.log_level.upper())


@cache
def _level_number(name: str) -> int:
    return logging.getLevelNamesMapping()[name]


_CHOICES = {
    "EXECUTOR": ("process", "thread"),
    "START_METHOD": ("forkserver", "spawn"),
    "ON_STOP": ("postpone", "abort"),
}
_MAY_BE_NONE = ("CONCURRENCY", "CHILD_MAX_TASKS", "KEEP_FOR")
_INTEGERS = (
    *("CONCURRENCY", "COROUTINES", "CHILD_MAX_TASKS", "MAX_LOSSES", "MAX_CONDITIONS"),
    *("MAX_DATA_BYTES", "MAX_RESULT_BYTES", "LOG_MAX_ENTRIES", "LOG_MAX_BYTES"),
)
_MAY_BE_ZERO = ("PREFETCH_SECONDS", "GRACE", "ABORT_GRACE", "RETRY_DELAY", "RETRY_JITTER", "LOG_FLUSH_SECONDS")


def problems(user: Any) -> list[str]:
    """Everything that is wrong with a TASKER setting, a sentence each; empty when it can be used."""
    if not isinstance(user, Mapping):
        return [f"TASKER must be a dict, not {type(user).__name__}."]
    found = [_unknown(key) for key in user if key not in DEFAULTS]
    found += [message for key in DEFAULTS if key in user and (message := _wrong(key, user[key]))]
    if not found and {**DEFAULTS, **user}["LEASE"] < 2 * {**DEFAULTS, **user}["HEARTBEAT"]:
        found.append("TASKER['LEASE'] must be at least twice TASKER['HEARTBEAT'], or workers are lost by chance.")
    return found


def _unknown(key: Any) -> str:
    near = difflib.get_close_matches(str(key).upper(), DEFAULTS, n=1)
    return f"Unknown key {key!r} in TASKER" + (f"; did you mean {near[0]!r}?" if near else ".")


def _wrong(key: str, value: Any) -> str | None:
    """What is wrong with one value, or None."""
    if value is None and key in _MAY_BE_NONE:
        return None
    if key in _CHOICES:
        return None if value in _CHOICES[key] else f"TASKER[{key!r}] is {value!r}, not one of {_CHOICES[key]}."
    if key == "CONDITIONS":
        return None if isinstance(value, list) else f"TASKER['CONDITIONS'] must be a list, not {value!r}."
    if key == "ALLOW_REGEX":
        return None if isinstance(value, bool) else f"TASKER['ALLOW_REGEX'] must be True or False, not {value!r}."
    if key == "LOG_LEVEL":
        known = logging.getLevelNamesMapping()
        is_level = isinstance(value, str) and value.upper() in known
        return None if is_level else f"TASKER['LOG_LEVEL'] is {value!r}, not one of {sorted(known)}."
    is_number = isinstance(value, int if key in _INTEGERS else int | float) and not isinstance(value, bool)
    if not is_number or not value < float("inf"):
        return f"TASKER[{key!r}] must be a finite {'whole ' if key in _INTEGERS else ''}number, not {value!r}."
    if value < 0 or (value == 0 and key not in _MAY_BE_ZERO):
        return f"TASKER[{key!r}] must be {'0 or more' if key in _MAY_BE_ZERO else 'more than 0'}, not {value!r}."
    return None


_options: Options | None = None


def options() -> Options:
    """The project's options; read once, and again after the setting changed.

    Raises:
        ConfigurationError: the TASKER setting is wrong; all reasons in one message.
    """
    global _options
    if _options is None:
        user = getattr(settings, "TASKER", {})
        if found := problems(user):
            raise ConfigurationError(" ".join(found))
        merged = {**DEFAULTS, **user}
        _options = Options(**{field.name: merged[field.name.upper()] for field in fields(Options)})
    return _options


def _forget(*, setting: str, **_: Any) -> None:
    global _options
    if setting == "TASKER":
        _options = None


setting_changed.connect(_forget, dispatch_uid="django_tasker.conf")
