"""Which free places a pass gives away: slots to all, places ahead to those that have never lost a worker."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_tasker import tasker
from django_tasker.admission import Admission, Claimant
from django_tasker.conf import options
from django_tasker.databases import alias
from django_tasker.models import Task
from django_tasker.statuses import Ahead
from django_tasker.worker.rescue import rescue

pytestmark = pytest.mark.django_db(transaction=True)

CONDITION = [{"scope": "running", "query": {"data": 1}, "limit": 100}]


def claim(free: int, slots: int) -> list[tuple[str, int]]:
    """What a worker claims: data and `ahead` of the rows, in queue order."""
    admission = Admission(alias(), Claimant(7, "w"))
    found = admission.run_pass({"any": free}, 100, {"any": slots})
    rows = {task.pk: task for task in Task.objects.running()}
    return [(row.data, rows[row.id].ahead) for row in found.claimed]


@pytest.fixture(params=[[], CONDITION], ids=["without conditions", "with conditions"])
def three(request: pytest.FixtureRequest) -> list[Task]:
    return tasker.add_tasks([{"operation": "x", "data": n, "concurrency": request.param} for n in range(3)])


def test_what_exceeds_the_slots_is_marked_as_claimed_ahead(three: list[Task]) -> None:
    assert claim(free=3, slots=1) == [(0, Ahead.NO), (1, Ahead.CLAIMED), (2, Ahead.CLAIMED)]


@pytest.mark.parametrize("suspect", [{"losses": 1}, {"ahead": Ahead.LOST}], ids=str)
def test_a_suspect_waits_for_a_slot_and_is_not_overtaken(three: list[Task], suspect: dict[str, int]) -> None:
    Task.objects.filter(pk=three[1].pk).update(**suspect)

    assert claim(free=3, slots=1) == [(0, Ahead.NO)]
    assert claim(free=3, slots=0) == []
    assert claim(free=3, slots=1) == [(1, Ahead.NO), (2, Ahead.CLAIMED)]


def test_a_lost_worker_charges_only_the_tasks_that_had_a_slot(three: list[Task]) -> None:
    claim(free=3, slots=1)
    Task.objects.update(started_at=timezone.now() - timedelta(minutes=1))

    assert rescue(alias(), options()) == 3

    found = Task.objects.order_by("id").values_list("status", "losses", "ahead", "attempt")
    assert list(found) == [("new", 1, Ahead.NO, 0), ("new", 0, Ahead.LOST, 0), ("new", 0, Ahead.LOST, 0)]


def pass_of(worker: Admission, **free: int) -> tuple[list[int], bool, frozenset[str]]:
    found = worker.run_pass(free, 4)
    return [row.data for row in found.claimed], found.unfinished, found.wanted


def test_a_page_for_one_kind_leaves_the_others_be() -> None:
    worker = Admission(alias(), Claimant(7, "w", {"slow": "process", "quick": "coroutine"}))
    tasker.add_tasks([{"operation": "quick", "data": n} for n in range(6)])

    assert pass_of(worker, process=2, coroutine=3) == ([0, 1, 2], False, {"coroutine"})
    assert pass_of(worker, process=2, coroutine=0) == ([], False, {"coroutine"})
    assert not worker.needs_gate, "nothing waits for a process, so nothing has to be looked for behind"

    tasker.add_task("slow", 9)
    assert pass_of(worker, process=2, coroutine=0) == ([9], False, set())
    assert pass_of(worker, process=1, coroutine=4)[0] == [3, 4, 5]
