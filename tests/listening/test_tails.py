"""One tail of a log for many viewers."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from django_tasker.errors import TaskNotFound
from django_tasker.listening import log_tail, logs, tails
from tests.listening.rows import add_logs, end_task, make_task

pytestmark = pytest.mark.django_db(transaction=True)


def closing(function):
    """The function in a thread of its own, with its own connection."""

    def call(*args, **values):
        from django.db import connections

        try:
            return function(*args, **values)
        finally:
            connections.close_all()

    return lambda *args, **values: asyncio.to_thread(call, *args, **values)


make, write, end = closing(make_task), closing(add_logs), closing(end_task)


async def view(uuid, **options):
    """All that one viewer sees, and the status at the end."""
    seen = []
    async with log_tail(uuid) as tail:
        async for entries in tail.read(**options):
            seen += [entry.seq for entry in entries]
    return seen, tail.status


@pytest.mark.sqlite_only
async def test_viewers_share_one_tail():
    task = await make()
    async with log_tail(task.uuid) as first, log_tail(task.uuid) as second:
        assert first is second
        assert first.viewers == 2

    async with log_tail(task.uuid) as third:
        assert third is not first


async def test_every_viewer_sees_each_entry_once(monkeypatch):
    monkeypatch.setattr(tails, "BUFFER", 50)
    task = await make()
    await write(task.uuid, 1, 120)
    viewers = [asyncio.create_task(view(task.uuid, after=after)) for after in (0, 30, 119, 500) for _ in range(3)]
    for first in range(121, 721, 60):
        await write(task.uuid, first, 60)
    late = asyncio.create_task(view(task.uuid, after=700))
    await end(task.uuid, "failed")

    seen = await asyncio.gather(*viewers, late)

    places = [after for after in (0, 30, 119, 500) for _ in range(3)]
    assert seen == [(list(range(after + 1, 721)), "failed") for after in [*places, 700]]


async def test_slow_viewer_misses_nothing(monkeypatch):
    monkeypatch.setattr(tails, "BUFFER", 5)
    monkeypatch.setattr(logs, "PAGE", 7)
    task = await make()
    seen, written = [], 10
    async with log_tail(task.uuid) as tail:
        await write(task.uuid, 1, written)
        async for entries in tail.read():
            seen += [entry.seq for entry in entries]
            if written < 60:
                await write(task.uuid, written + 1, 10)
                written += 10
            else:
                await end(task.uuid, "done")

    assert seen == list(range(1, 61))


@pytest.mark.sqlite_only
async def test_level_is_each_viewers_own():
    task = await make()
    debug = asyncio.create_task(view(task.uuid))
    warning = asyncio.create_task(view(task.uuid, max_level="warning"))
    await asyncio.sleep(0.1)
    await write(task.uuid, 1, 3, 10)
    await write(task.uuid, 4, 2, 30)
    await end(task.uuid, "done")

    assert (await debug)[0] == [1, 2, 3, 4, 5]
    assert (await warning)[0] == [4, 5]


@pytest.mark.sqlite_only
async def test_unknown_task():
    with pytest.raises(TaskNotFound):
        await view(uuid.uuid4())


async def test_ended_task_is_shown_from_the_database():
    task = await make()
    await write(task.uuid, 1, 3)
    await end(task.uuid, "done")

    assert await view(task.uuid, after=1) == ([2, 3], "done")


async def test_one_read_serves_all_viewers(monkeypatch):
    task = await make()
    reads = []
    entries_of = logs.LogReader._entries
    monkeypatch.setattr(logs.LogReader, "_entries", lambda self, *args: (reads.append(1), entries_of(self, *args))[1])
    viewers = [asyncio.create_task(view(task.uuid)) for _ in range(20)]
    await asyncio.sleep(0.2)

    await write(task.uuid, 1, 10)
    await end(task.uuid, "done")

    assert all(seen == (list(range(1, 11)), "done") for seen in await asyncio.gather(*viewers))
    assert len(reads) <= 3
