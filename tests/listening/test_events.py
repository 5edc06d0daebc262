"""Listening to the events of all processes."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import uuid

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_tasker.abort import AbortController
from django_tasker.errors import UnknownEvent
from django_tasker.events import Happening, emit
from django_tasker.listening import alisten_events, leases, listen_events
from django_tasker.listening.events import PAGE, EventReader
from django_tasker.models import Event, Listener

pytestmark = pytest.mark.django_db(transaction=True)

TASK = uuid.uuid4()


@pytest.fixture(autouse=True)
def no_listener_is_left(no_connection_outlives_a_test):
    yield
    assert not Listener.objects.exists()


def tell(name, about=TASK, **args):
    emit([Happening(name, about, args)], using="default")


def take(events, count):
    return [next(events) for _ in range(count)]


def test_own_process_is_heard():
    with listen_events("task.*") as events:
        tell("task.added")
        tell("task.done", result=[1])

        first, second = take(events, 2)

    assert (first.name, first.uuid, first.args) == ("task.added", TASK, {})
    assert (second.name, second.uuid, second.args) == ("task.done", TASK, {"result": [1]})


def test_other_processes_are_heard_in_order(writer):
    names = ["task.run", "task.progress", "task.done", "task.ended"]
    with listen_events(f"task.{TASK}.*") as events:
        for _ in range(100):
            writer.start("emit", names, str(TASK), {"result": 1})
            writer.start("emit", names, str(uuid.uuid4()), {"result": 1})

        heard = take(events, 400)

    assert [event.name for event in heard] == names * 100
    assert {event.uuid for event in heard} == {TASK}
    for _ in range(200):
        writer.finish()


def test_listening_begins_with_the_call_and_knows_no_past():
    with listen_events("*"):
        tell("task.added")

        with listen_events("*") as events:
            tell("task.run")
            assert next(events).name == "task.run"


def test_more_than_a_page_is_heard():
    with listen_events("*") as events:
        emit([Happening("task.log", TASK, {"log": {"seq": n}}) for n in range(PAGE * 2 + 50)], using="default")

        heard = take(events, PAGE * 2 + 50)

    assert [event.args["log"]["seq"] for event in heard] == list(range(PAGE * 2 + 50))


def test_process_has_one_row_a_pattern():
    with listen_events("*"), listen_events("*"), listen_events("task.*"):
        assert sorted(Listener.objects.values_list("pattern", flat=True)) == ["*", "task.*"]


def test_abort_signal_ends_the_iteration():
    controller = AbortController()
    events = listen_events("*", controller.signal)
    threading.Timer(0.2, controller.abort).start()

    assert list(events) == []


def test_closing_from_another_thread_ends_the_iteration(in_thread):
    events = listen_events("*")
    in_thread(lambda: (time.sleep(0.2), events.close()))

    assert list(events) == []


@pytest.mark.sqlite_only
def test_forgotten_listener_gives_its_lease_back(wait_until, monkeypatch):
    monkeypatch.setattr(leases.Leases, "lease", 0.6)
    events = listen_events("*")
    del events
    gc.collect()

    wait_until(lambda: not Listener.objects.exists())


def test_lease_is_renewed(wait_until, monkeypatch):
    monkeypatch.setattr(leases.Leases, "lease", 0.6)
    with listen_events("*"):
        expiry = Listener.objects.get().expires_at
        wait_until(lambda: Listener.objects.get().expires_at > expiry)


@pytest.mark.sqlite_only
def test_pruned_lease_is_made_again(wait_until, monkeypatch):
    monkeypatch.setattr(leases.Leases, "lease", 0.6)
    with listen_events("*"):
        Listener.objects.all().delete()
        wait_until(Listener.objects.exists)


@pytest.mark.sqlite_only
@pytest.mark.parametrize("pattern", ["", "x" * 201, None])
def test_bad_pattern_is_refused(pattern):
    with pytest.raises(UnknownEvent):
        listen_events(pattern)


def test_events_of_late_transactions_are_heard(in_thread):
    """On PostgreSQL and MySQL an id may become visible after a greater one."""
    if connection.vendor == "sqlite":
        pytest.skip("writers wait for one another")
    inserted, may_commit = threading.Event(), threading.Event()

    def late():
        with transaction.atomic():
            tell("task.run")
            inserted.set()
            may_commit.wait(10)

    with listen_events("*") as events:
        in_thread(late)
        inserted.wait(10)
        tell("task.done")
        assert next(events).name == "task.done"
        may_commit.set()

        assert next(events).name == "task.run"


def test_transactions_under_way_when_listening_begins_are_heard(in_thread):
    if connection.vendor == "sqlite":
        pytest.skip("writers wait for one another")
    inserted, may_commit = threading.Event(), threading.Event()

    def late():
        with transaction.atomic():
            tell("task.run")
            inserted.set()
            may_commit.wait(10)

    with listen_events("*"):
        in_thread(late)
        inserted.wait(10)
        tell("task.done")
        with listen_events("*") as events:
            may_commit.set()
            assert next(events).name == "task.run"


def test_missing_ids_are_asked_for_again():
    reader = EventReader("*", "default")
    reader.begin()

    def put(pk):
        Event.objects.create(pk=pk, name=f"n{pk}", created_at=timezone.now())

    start = 10_000_000
    for pk in (start + 1, start + 4, start + 6):
        put(pk)
    first = [event.name for event in reader.read()[0]]
    for pk in (start + 5, start + 2, start + 7):
        put(pk)
    second = [event.name for event in reader.read()[0]]

    assert first == [f"n{start + n}" for n in (1, 4, 6)]
    assert second == [f"n{start + n}" for n in (2, 5, 7)]


async def test_coroutine_hears_what_happens():
    async with alisten_events("task.*") as events:
        await asyncio.to_thread(tell_and_close, "task.added")

        event = await anext(events)

    assert (event.name, event.uuid) == ("task.added", TASK)


async def test_coroutine_is_ended_by_its_abort_signal():
    controller = AbortController()
    asyncio.get_running_loop().call_later(0.2, controller.abort)

    assert [event async for event in alisten_events("*", controller.signal)] == []


async def test_closed_async_listener_stays_closed():
    events = alisten_events("*")
    await events.open()
    await events.aclose()

    assert [event async for event in events] == []


def tell_and_close(name):
    from django.db import connections

    try:
        tell(name)
    finally:
        connections.close_all()


@pytest.mark.sqlite_only
def test_uuid_of_events_without_a_task_is_none():
    with listen_events("*") as events:
        tell("idle", None)
        assert next(events).uuid is None
