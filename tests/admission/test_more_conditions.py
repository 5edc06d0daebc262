"""Conditions that stand elsewhere than on the task: templates, the settings', assertions; and pauses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.core import checks
from django.utils import timezone

from django_tasker import Tasker, assertions, tasker
from django_tasker.admission import Admission, Claimant
from django_tasker.assertions import Assertions
from django_tasker.databases import alias
from django_tasker.errors import InvalidTask
from django_tasker.models import Stream, Task

pytestmark = pytest.mark.django_db

SAME_BOOK = {"scope": "running", "query": {"data.book": {"$ref": "data.book"}}, "limit": 0}


def claimant(functions: dict[str, Callable[[], object]] | None = None) -> Admission:
    known = Assertions()
    for name, function in (functions or {}).items():
        known.assign(name, function)
    return Admission(alias(), Claimant(1, "worker"), assertions=known)


def started(admission: Admission, limit: int = 10) -> list[Any]:
    """The data of what a whole pass starts."""
    found: list[Any] = []
    for _ in range(10):
        result = admission.run_pass({"any": limit}, limit)
        found += [row.data for row in result.claimed]
        if not result.unfinished:
            return found
    raise AssertionError("the pass does not end")


def end_all() -> None:
    now = timezone.now()
    Task.objects.filter(status="running").update(status="done", ended_at=now, updated_at=now)


# -- templates ----------------------------------------------------------------------------------------------------


def test_template_of_an_operation_binds_all_its_tasks() -> None:
    own = Tasker()
    own.assign_runner("import", print, concurrency=[SAME_BOOK])
    for book in (1, 1, 2):
        own.add_task("import", {"book": book})
    own.add_task("index", {"book": 1})

    admission = claimant()
    # A condition binds the task that carries it: the last one has none.
    assert started(admission) == [{"book": 1}, {"book": 2}, {"book": 1}]
    end_all()
    assert started(admission) == [{"book": 1}]


def test_template_counts_towards_the_most_conditions_a_task_may_have() -> None:
    own = Tasker()
    own.assign_runner("import", print, concurrency=[SAME_BOOK] * 15)
    with pytest.raises(InvalidTask, match="21 conditions"):
        own.add_task("import", {"book": 1}, concurrency=[SAME_BOOK] * 6)
    assert own.add_task("import", {"book": 1}, concurrency=[SAME_BOOK] * 5).lane


# -- of the settings ----------------------------------------------------------------------------------------------


def globally(settings: Any, *conditions: dict[str, Any]) -> None:
    settings.TASKER = {"CONDITIONS": list(conditions)}


def test_conditions_of_the_settings_bind_tasks_that_match_for(settings: Any) -> None:
    globally(settings, {**SAME_BOOK, "for": {"operation": "import"}})
    for book in (1, 1, 2):
        tasker.add_task("import", {"book": book})
    tasker.add_task("index", {"book": 1})

    assert started(claimant()) == [{"book": 1}, {"book": 2}, {"book": 1}]
    assert Task.objects.get(status="new").operation == "import"


def test_conditions_of_the_settings_change_without_touching_rows(settings: Any) -> None:
    tasks = [tasker.add_task("import", {"book": number}) for number in range(4)]
    before = list(Task.objects.order_by("id").values())

    globally(settings, {"query": {"operation": "import"}, "limit": 1})
    assert started(claimant(), limit=1) == [{"book": 0}]
    globally(settings, {"query": {"operation": "import"}, "limit": 0})
    assert started(claimant()) == []
    assert "condition" in [reason.kind for reason in tasker.explain_task(tasks[1]).reasons]
    globally(settings, {"query": {"operation": "import"}, "limit": 2})
    assert started(claimant()) == [{"book": 1}, {"book": 2}]
    settings.TASKER = {}
    assert started(claimant()) == [{"book": 3}]

    unchanged = ("lane", "concurrency", "priority", "data")
    assert [[row[name] for name in unchanged] for row in Task.objects.order_by("id").values()] == [
        [row[name] for name in unchanged] for row in before
    ]


def test_a_task_is_bound_by_its_own_and_by_the_settings(settings: Any) -> None:
    globally(settings, {"query": {}, "limit": 1, "for": {"data.book": {"$gte": 0}}})
    for book in (1, 1, 2, 3):
        tasker.add_task("import", {"book": book}, concurrency=[SAME_BOOK])

    assert started(claimant()) == [{"book": 1}, {"book": 2}]


def test_for_may_look_at_any_field(settings: Any) -> None:
    globally(settings, {"query": {"max_attempts": 2}, "for": {"max_attempts": 2, "priority": {"$gt": 0}}})
    for number in range(2):
        tasker.add_task("import", number, priority=1, max_attempts=2)
        tasker.add_task("import", 10 + number, priority=1, max_attempts=3)

    assert started(claimant()) == [0, 10, 11]


@pytest.mark.parametrize(
    "wrong",
    [
        {"query": {"stauts": "new"}},
        {"query": {}, "for": {"operatoin": "import"}},
        {"query": {}, "limit": -1},
        {"query": {}, "fro": {}},
        {"limit": 1},
        "import",
    ],
)
def test_wrong_conditions_of_the_settings_are_told_by_a_check(settings: Any, wrong: Any) -> None:
    globally(settings, wrong)
    assert any("CONDITIONS[0]" in message.msg for message in checks.run_checks())


# -- assertions ---------------------------------------------------------------------------------------------------


def test_assertion_is_asked_at_most_once_a_pass() -> None:
    ask = mock.Mock(return_value=True)
    admission = claimant({"disk-free": ask})
    for number in range(5):
        tasker.add_task("import", number, concurrency=[{"assert": "disk-free"}])

    first = admission.run_pass({"any": 10}, 10)
    assert (first.claimed, first.unfinished, ask.call_count) == ([], True, 0)  # never asked inside a transaction
    assert len(admission.run_pass({"any": 10}, 10).claimed) == 5
    assert ask.call_count == 1


def test_refusing_assertion_holds_back_only_its_tasks_and_is_asked_again_later() -> None:
    ask = mock.Mock(return_value=False)
    admission = claimant({"disk-free": ask})
    for number in range(3):
        tasker.add_task("import", number, concurrency=[{"assert": "disk-free"}])
    tasker.add_task("import", "free")

    now = 1000.0
    with mock.patch.object(assertions.time, "monotonic", lambda: now):
        assert started(admission) == ["free"]
        for _ in range(3):
            assert started(admission) == []
        assert ask.call_count == 1
        now += admission.options.assertion_interval
        ask.return_value = True
        assert started(admission) == [0, 1, 2]
    assert ask.call_count == 2


def test_crowd_behind_an_assertion_waits_in_its_stream() -> None:
    answer = False
    admission = claimant({"disk-free": lambda: answer})
    admission.answers._interval = 0
    Task.objects.all().delete()
    tasker.add_tasks({"operation": "import", "data": n, "concurrency": [{"assert": "disk-free"}]} for n in range(50))

    assert started(admission) == []
    assert list(Stream.objects.values_list("reason", flat=True)) == [{"assert": "disk-free"}]
    tasker.add_task("import", "behind")
    assert started(admission) == ["behind"]
    answer = True
    assert started(admission) == list(range(10))


def test_assertion_that_raises_refuses_and_explains_why() -> None:
    def broken() -> bool:
        raise OSError("no such disk")

    own = Tasker()
    own.assign_assertion("disk-free", broken)
    task = own.add_task("import", 1, concurrency=[{"assert": "disk-free"}])

    assert started(claimant({"disk-free": broken})) == []
    [reason] = [reason for reason in own.explain_task(task).reasons if reason.kind == "assertion"]
    assert reason.message == "OSError: no such disk"


def test_assertion_without_a_function_refuses() -> None:
    task = tasker.add_task("import", 1, concurrency=[{"assert": "nobody-knows"}])

    assert started(claimant()) == []
    assert "nobody-knows" in tasker.explain_task(task).reasons[-1].message


# -- pauses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [{"operation": "import"}, {"queue": "slow"}])
def test_pause_holds_for_all_workers_until_resumed(what: dict[str, str]) -> None:
    tasker.add_task("import", "paused", queue="slow")
    tasker.add_task("index", "free")
    first, second = claimant(), claimant()
    assert started(first, limit=0) == []

    tasker.pause(**what)
    assert started(first) == ["free"]
    assert started(second) == []
    tasker.resume(**what)
    assert started(second) == ["paused"]


def test_paused_crowd_lets_others_pass_and_comes_back_in_order() -> None:
    tasker.add_tasks({"operation": "import", "data": number} for number in range(80))
    tasker.add_tasks({"operation": "index", "data": 100 + number, "priority": 1} for number in range(3))
    tasker.pause(operation="import")
    admission = claimant()

    assert started(admission) == [100, 101, 102]
    tasker.add_task("import", "urgent", priority=-1)
    assert started(admission) == []
    tasker.resume(operation="import")
    assert started(admission, limit=5) == ["urgent", 0, 1, 2, 3]


def test_tasks_not_due_wait_and_keep_their_place() -> None:
    soon = timezone.now() + timedelta(hours=1)
    task = tasker.add_task("import", "later", run_at=soon)
    tasker.add_task("import", "now")
    admission = claimant()

    assert started(admission) == ["now"]
    tasker.add_task("import", "newer")
    Task.objects.filter(pk=task.pk).update(run_at=timezone.now() - timedelta(seconds=1))
    assert started(admission) == ["later", "newer"]
