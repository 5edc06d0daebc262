"""Several claimants at once, each with a connection of its own: no limit is exceeded, and passes do not mix."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from unittest import mock

import pytest
from django.db import connections
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_tasker import tasker
from django_tasker.admission import Admission, Claimant, keys
from django_tasker.databases import alias
from django_tasker.models import Stream, StreamKey, Task

from . import worlds
from .reference import admit
from .test_law import admission, fill, rows, small_crowds  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)


def together(work: Callable[[int], Any], count: int) -> list[Any]:
    """The results of work(1), work(2), …, begun at the same moment, each on its own connection."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        try:
            connections[alias()].ensure_connection()
            barrier.wait()
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(1, count + 1)))


@pytest.fixture(autouse=True)
def own_streams() -> Iterator[None]:
    yield
    Stream.objects.all().delete()
    StreamKey.objects.all().delete()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds.tasks(max_size=120), st.lists(st.integers(1, 12), min_size=4, max_size=4))
def test_passes_of_two_equal_some_order_of_whole_passes(world: list[dict[str, Any]], limits: list[int]) -> None:
    assert_whole_passes(world, limits)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_conditions_that_look_at_the_queue_see_whole_passes_of_the_other(seed: int) -> None:
    choose = random.Random(seed)
    with mock.patch.object(keys, "WRITE_AT_ONCE", 5000):  # enough for every pass to reach its end
        assert_whole_passes(worlds.crowded(choose), [choose.randint(1, 6) for _ in range(6)])


def assert_whole_passes(world: list[dict[str, Any]], limits: list[int]) -> None:
    """Two claimants, at the same time, start what the reference starts in the order of their passes."""
    Task.objects.all().delete()
    Stream.objects.all().delete()
    StreamKey.objects.all().delete()
    fill(world)
    before = rows()
    free = dict.fromkeys(worlds.OPERATIONS, 50)

    def passes(number: int) -> list[tuple[datetime, int, list[int]]]:
        real = admission(f"worker {number}", number)
        found = []
        for limit in limits:
            real.needs_gate = True  # passes that share the gate have no order among them
            result = real.run_pass(free, limit)
            assert not result.unfinished and result.now is not None
            found.append((result.now, limit, [row.id for row in result.claimed]))
        return found

    first, second = together(passes, 2)
    for now, limit, started in sorted(first + second):
        assert admit(before, now, free, limit, set()) == started


class Referee:
    """Told of every task after its claim and before its end, it knows a part of when it ran, never too much."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running: dict[Any, dict[int, str]] = defaultdict(dict)
        self.wrong: list[str] = []
        self.claimed: list[int] = []

    def started(self, row: Any) -> None:
        with self._lock:
            self.claimed.append(row.id)
            group = self.running[row.data["key"]]
            group[row.id] = row.data["kind"]
            if row.data["key"] == "file":
                if "write" in group.values() and len(group) > 1:
                    self.wrong.append(f"a writer of {group}")
            elif len(group) > row.data["limit"] + 1:
                self.wrong.append(f"key {row.data['key']}: {len(group)}")

    def ends(self, row: Any) -> None:
        with self._lock:
            del self.running[row.data["key"]][row.id]


def tasks_of_keys(count: int, choose: random.Random) -> Iterator[dict[str, Any]]:
    """Tasks over ten keys of limits 0 to 2, and readers and writers of one file."""
    same = {"data.key": {"$ref": "data.key"}}
    for number in range(count):
        key, kind = number % 10, "any"
        conditions: list[dict[str, Any]] = [{"query": same, "limit": key % 3}]
        data: dict[str, Any] = {"key": key, "kind": kind, "limit": key % 3}
        if number % 4 == 0:
            kind = "write" if number % 12 == 0 else "read"
            data = {"key": "file", "kind": kind}
            writers = {"data.key": "file", "data.kind": "write"}
            conditions = [{"scope": "active", "query": same if kind == "write" else writers, "limit": 0}]
        yield {
            "operation": "a",
            "data": data,
            "concurrency": conditions,
            "priority": float(choose.randrange(3)),
        }


@pytest.mark.parametrize("seed", [1, 2])
def test_three_claimants_never_exceed_a_limit_and_end_all(seed: int) -> None:
    count = 240
    tasker.add_tasks(tasks_of_keys(count, random.Random(seed)))
    referee = Referee()

    def work(number: int) -> None:
        choose = random.Random(10 * seed + number)
        real = Admission(alias(), Claimant(number, f"worker {number}"))
        held: list[Any] = []
        for _ in range(3000):
            limit = choose.randint(1, 12)
            result = real.run_pass({"any": limit}, limit)
            for row in result.claimed:
                referee.started(row)
            held += result.claimed
            if choose.random() < 0.7 and held:
                end(held.pop(choose.randrange(len(held))), referee)
            if not held and not Task.objects.filter(status="new").exists():
                return
            while held and len(held) > 8:
                end(held.pop(0), referee)

    together(work, 3)
    assert referee.wrong == []
    assert len(referee.claimed) == len(set(referee.claimed)) == count
    assert Task.objects.filter(status="done").count() == count


def end(row: Any, referee: Referee) -> None:
    now = timezone.now()
    referee.ends(row)
    hit = Task.objects.filter(pk=row.id, status="running", attempt=row.attempt)
    assert hit.update(status="done", ended_at=now, updated_at=now) == 1
