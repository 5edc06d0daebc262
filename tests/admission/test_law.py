"""Real admission starts what the reference starts, on whatever database the suite runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any
from unittest import mock

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_tasker import lifecycle, tasker
from django_tasker.admission import Admission, Claimant, keys, sources, streams, waiting, walk
from django_tasker.databases import alias
from django_tasker.models import Pause, Stream, StreamKey, Task

from . import worlds
from .reference import admit

KINDS = {operation: operation for operation in worlds.OPERATIONS}
happenings = ["pass", "pass", "add", "end", "abort", "prioritize", "postpone", "retry", "update", "edit", "lose"]
steps = st.tuples(st.sampled_from(happenings), st.integers(0, 99), worlds.limits)
EXAMPLES = int(os.environ.get("LAW_EXAMPLES", "150"))
law = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def small_crowds() -> Iterator[None]:
    """Let a few rows be a crowd, so that small worlds use streams."""
    with (
        mock.patch.object(streams, "CROWD", 3),
        mock.patch.object(walk, "DISSOLVE_BELOW", 2),
        mock.patch.object(sources, "PAGES", (4, 8, 16)),
        mock.patch.object(keys, "WRITE_AT_ONCE", 4),
        mock.patch.object(keys, "_MANY", 2),
        mock.patch.object(waiting, "MOST_PATHS", 3),
        mock.patch.object(waiting, "CACHED_ROWS", 12),
    ):
        yield


def admission(name: str = "worker", worker_id: int = 1) -> Admission:
    return Admission(alias(), Claimant(worker_id, name, KINDS))


def fill(world: list[dict[str, Any]]) -> None:
    later = timezone.now() + timedelta(hours=1)
    added = tasker.add_tasks(
        {
            "operation": row["operation"],
            "data": row["data"],
            "priority": row["priority"],
            "concurrency": row["concurrency"],
            "run_at": later if row["later"] else None,
        }
        for row in world
    )
    running = [task.pk for task, row in zip(added, world, strict=True) if row["running"]]
    Task.objects.filter(pk__in=running).update(
        status="running", hold=-1, attempt=1, worker_id=9, worker_name="other", started_at=timezone.now()
    )


def rows() -> list[Task]:
    return list(Task.objects.order_by("pk"))


def run_until_finished(real: Admission, free: dict[str, int], limit: int) -> list[int]:
    """One whole pass: again as long as it says that it had to stop before the end."""
    free, started = dict(free), []
    for _ in range(200):
        result = real.run_pass(free, limit - len(started))
        for row in result.claimed:
            free[row.operation] -= 1
            started.append(row.id)
        if not result.unfinished or len(started) == limit:
            return started
    raise AssertionError("the pass does not end")


@pytest.mark.django_db
@law
@given(worlds.tasks(), worlds.free, worlds.limits, st.sets(st.sampled_from(worlds.OPERATIONS), max_size=1))
def test_a_pass_starts_what_the_reference_starts(
    world: list[dict[str, Any]], free: dict[str, int], limit: int, paused: set[str]
) -> None:
    with transaction.atomic():
        fill(world)
        Pause.objects.bulk_create(Pause(kind="operation", name=name, paused_at=timezone.now()) for name in paused)

        expected = admit(rows(), timezone.now(), free, limit, paused)
        started = run_until_finished(admission(), free, limit)

        transaction.set_rollback(True)
    assert started == expected


@pytest.mark.django_db
@law
@given(worlds.tasks(), st.lists(steps, max_size=12))
def test_passes_between_changes_start_what_the_reference_starts(
    world: list[dict[str, Any]], changes: list[tuple[str, int, int]]
) -> None:
    """What two workers did before (streams, holds, caches) never changes what the next pass decides."""
    with transaction.atomic():
        fill(world)
        workers = [admission(), admission("second", 2)]
        free = dict.fromkeys(worlds.OPERATIONS, 3)
        for what, number, limit in changes:
            if what == "pass":
                expected = admit(rows(), timezone.now(), free, limit, set())
                assert run_until_finished(workers[number % 2], free, limit) == expected
            else:
                change(what, number)
        expected = admit(rows(), timezone.now(), free, 50, set())
        assert run_until_finished(workers[0], free, 50) == expected
        assert lost_rows() == []
        transaction.set_rollback(True)


@pytest.mark.django_db
@settings(law, max_examples=EXAMPLES // 3)
@given(st.integers(0, 2**32))
def test_conditions_that_look_at_the_queue_hold_as_the_reference_says(seed: int) -> None:
    """With operations paused and resumed between, which leaves their tasks waiting ahead of others."""
    choose = Random(seed)
    with transaction.atomic():
        fill(worlds.crowded(choose))
        workers = [admission(), admission("second", 2)]
        for _ in range(choose.randint(2, 16)):
            if choose.random() < 0.5:
                change(choose.choice(happenings[2:]), choose.randrange(100))
            else:
                pass_as_the_reference(choose.choice(workers), choose)
            assert wrong_keys() == []
        assert lost_rows() == []
        transaction.set_rollback(True)


def pass_as_the_reference(real: Admission, choose: Random) -> None:
    paused = set(choose.choice([(), (), ("a",), ("b", "c")]))
    Pause.objects.all().delete()
    Pause.objects.bulk_create(Pause(kind="operation", name=name, paused_at=timezone.now()) for name in paused)
    free = {operation: choose.choice([0, 1, 4, 9]) for operation in worlds.OPERATIONS}
    limit = choose.choice([1, 2, 5, 30])
    expected = admit(rows(), timezone.now(), free, limit, paused)
    assert run_until_finished(real, free, limit) == expected


def wrong_keys() -> list[tuple[int, int]]:
    """Tasks in streams whose keys are not exactly those that their stream promises."""
    wrong = []
    for task in Task.objects.filter(status="new", hold__gt=1):
        stream = Stream.objects.get(pk=task.hold)
        found = set(StreamKey.objects.filter(task_id=task.pk, hold=task.hold).values_list("digest", "priority"))
        promised = {(key, task.priority) for key in keys.digests(task, stream.keyed.values())}
        allowed = {(key, task.priority) for key in keys.digests(task, keys.path_lists(stream))}
        # What an earlier stream of the same reason left is replaced before anybody asks.
        if not promised <= found or (allowed and not found <= allowed):
            wrong.append((task.pk, stream.pk))
    return wrong


def change(what: str, number: int) -> None:
    """Something that happens to a task between two passes."""
    wanted = {"end": "running", "lose": "running", "retry": "done"}.get(what, "new")
    found = list(Task.objects.filter(status=wanted).order_by("pk"))
    if what == "add":
        tasker.add_task("a", {"key": number % 4, "kind": "read"}, priority=float(number % 3 - 1))
        return
    if not found:
        return
    task = found[number % len(found)]
    if what == "end":
        now = timezone.now()
        Task.objects.filter(pk=task.pk).update(status="done", ended_at=now, updated_at=now)
    elif what == "lose":
        lose(task)
    elif what == "abort":
        tasker.abort_task(task)
    elif what == "postpone":
        tasker.postpone_task(task, timezone.now() + timedelta(hours=number % 2))
    elif what == "retry":
        tasker.retry_task(task)
    elif what == "edit":
        tasker.update_task(task, data={"key": number % 4, "kind": "write" if number % 2 else "read"})
    elif what == "prioritize":
        tasker.prioritize_task(task, float(number % 3 - 1))
    else:
        query = {"data.key": number % 4}
        tasker.update_task(task, concurrency=[{"scope": "running", "query": query, "limit": number % 2}])


def lose(task: Task) -> None:
    """What a rescuer does with a task whose worker went silent."""
    names = ("id", "uuid", "operation", "attempt", "worker_id", "max_attempts", "retry_delay", "keep_for", "on_stop")
    values = {name: getattr(task, name) for name in names}
    held = lifecycle.Held(**values, losses=task.losses, started_at=task.started_at)
    assert lifecycle.lost(held, "gone", max_losses=9, now=timezone.now(), using=alias())


def lost_rows() -> list[int]:
    """New rows in a stream that does not exist: no pass would ever see them."""
    known = set(Stream.objects.values_list("id", flat=True)) | {0, 1}
    return [task.pk for task in Task.objects.filter(status="new") if task.hold not in known]
