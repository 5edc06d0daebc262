"""Which events a pattern means, without a database."""

from __future__ import annotations

from uuid import UUID

import pytest

from django_tasker.errors import UnknownEvent
from django_tasker.events import Happening
from django_tasker.events.patterns import matcher, uuid_of
from django_tasker.listening.patterns import check_pattern
from django_tasker.signals import SIGNALS

pytestmark = pytest.mark.sqlite_only

TASK = UUID("deadfeed-f00d-4ace-a0de-decafbadbead")
OTHER = UUID("0badcafe-f00d-4ace-a0de-decafbadbead")
OF_TASKS = {name for name in SIGNALS if name.startswith("task.")}


def heard(*patterns: str, about: UUID = TASK) -> set[str]:
    """The events, of the task where they have one, that a pattern means."""
    matches = matcher(patterns)
    return {name for name in SIGNALS if matches(Happening(name, about if name in OF_TASKS else None, {}))}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("task.d*", {"task.done"}),
        ("task.f*", {"task.failed"}),
        ("task.a*", {"task.add", "task.added", "task.aborted"}),
        ("task.*ed", {name for name in OF_TASKS if name.endswith("ed")}),
        ("*d*", OF_TASKS - {"task.run", "task.log", "task.progress"} | {"started", "stopped", "idle"}),
        ("task.done", {"task.done"}),
        ("*.done", {"task.done"}),
        ("task.*", OF_TASKS),
        ("*", set(SIGNALS)),
        ("idle", {"idle"}),
        (f"task.{TASK}.done", {"task.done"}),
        (f"task.{TASK}.d*", {"task.done"}),
        (f"task.{TASK}.*", OF_TASKS),
        (f"*.{TASK}.*", OF_TASKS),
        (f"task.{str(TASK).upper()}.done", {"task.done"}),
        ("task.*.done", {"task.done"}),
        ("task.*.*", OF_TASKS),
        (f"task.{OTHER}.*", set()),
        ("task.dead*.done", set()),
        ("task.d*.*", set()),
        ("*dead*", set()),
        (f"task.{TASK}*", set()),
        ("task.*.x.done", set()),
        ("task.d.ne", set()),
    ],
)
def test_pattern_means_names_and_whole_uuids(pattern, names):
    assert heard(pattern) == names


def test_events_of_other_tasks_begin_with_no_name():
    assert heard("task.0*", about=OTHER) == set()
    assert heard(f"task.{OTHER}.done", "task.r*", about=OTHER) == {"task.done", "task.run", "task.retried"}


def test_no_pattern_means_no_event():
    assert heard() == set()


@pytest.mark.parametrize(
    ("pattern", "uuid"),
    [(f"task.{TASK}.*", TASK), (f"task.{TASK.hex}.done", TASK), ("task.*.done", None), ("task.*", None), ("*", None)],
)
def test_only_a_whole_uuid_means_one_task(pattern, uuid):
    assert uuid_of(pattern) == uuid


@pytest.mark.parametrize("pattern", ["task.dead*.done", f"task.{TASK}*", "task.*.dnoe", f"task.{TASK}.add"])
def test_pattern_that_means_no_event_is_refused(pattern):
    with pytest.raises(UnknownEvent, match="No event matches"):
        check_pattern(pattern)
