"""What OPTIONS of an entry in TASKS may hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import specs
from ..errors import InvalidTask

EXECUTORS = ("process", "thread")
# Django says these itself, for each task.
_OF_A_TASK = ("priority", "queue", "run_at", "unique_key", "added_by")
_TASK_OPTIONS = tuple(name for name in specs.CHECKS if name not in _OF_A_TASK)


def problems(options: Any) -> Iterator[str]:
    """What is wrong with OPTIONS, a sentence each."""
    if not isinstance(options, dict):
        yield f"must be a dict, not {options!r}."
        return
    for name, value in options.items():
        try:
            specs.refuse_unknown({name: value}, ("executor", *_TASK_OPTIONS), "OPTIONS")
            if name != "executor":
                specs.check_options({name: value})
            elif value not in (None, *EXECUTORS):
                yield f"executor must be one of {', '.join(EXECUTORS)}, not {value!r}."
        except InvalidTask as error:
            yield str(error)
