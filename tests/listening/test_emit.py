"""What emit tells, to whom, when, and what it costs."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_tasker import events, notify
from django_tasker.events import Happening, emit
from django_tasker.models import Event, Listener
from django_tasker.subscriptions import Subscriptions

pytestmark = pytest.mark.django_db(transaction=True)

UUID = uuid.uuid4()


@pytest.fixture
def heard():
    """(event, arguments) of all that happens in this process to tasks' runs and ends."""
    subscriptions, heard = Subscriptions(), []
    ends = [
        subscriptions.on(name, lambda *args, name=name: heard.append((name, *args)))
        for name in ("task.add", "task.added", "task.run", "task.done", "task.ended", "idle")
    ]
    yield heard
    for end in ends:
        end()


@pytest.fixture
def listen():
    def listen(pattern, seconds=60):
        return Listener.objects.create(pattern=pattern, expires_at=timezone.now() + timedelta(seconds=seconds))

    return listen


def say(name, about=UUID, **args):
    return Happening(name, about, args)


def tell(*happenings, topics=()):
    emit(happenings, topics=topics, using="default")


def test_signals_are_sent_after_the_commit_in_order(heard):
    with transaction.atomic():
        tell(say("task.run"))
        with transaction.atomic():
            tell(say("task.done", result=1))
        tell(say("task.ended", status="done", result=1))
        assert heard == []

    assert heard == [("task.run", UUID), ("task.done", UUID, 1), ("task.ended", UUID, "done", 1)]


def test_rolled_back_savepoint_is_not_told(heard):
    with transaction.atomic():
        tell(say("task.run"))
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tell(say("task.done", result=1))
            raise ZeroDivisionError
        tell(say("task.done", result=2))

    assert heard == [("task.run", UUID), ("task.done", UUID, 2)]


def test_rolled_back_transaction_is_not_told(heard, listen):
    listen("*")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tell(say("task.run"))
        raise ZeroDivisionError

    with transaction.atomic():
        tell(say("task.done", result=2))

    assert heard == [("task.done", UUID, 2)]
    assert Event.objects.count() == 1


def test_wake_up_of_a_rolled_back_savepoint_is_sent_again(wait_until):
    subscription = notify.notifier("default").subscribe("queue")
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tell(topics=["queue"])
            raise ZeroDivisionError
        tell(topics=["queue"])

    assert subscription.wait(0)


@pytest.mark.sqlite_only
def test_without_a_transaction_it_is_told_at_once(heard):
    tell(say("idle", None))

    assert heard == [("idle",)]


@pytest.mark.sqlite_only
def test_added_task_is_passed_on_as_it_is(heard):
    task = type("Task", (), {"uuid": UUID})()

    tell(say("task.add", task=task), say("task.added"))

    assert heard == [("task.add", task), ("task.added", UUID)]


@pytest.mark.sqlite_only
def test_who_connects_before_the_commit_hears(heard):
    subscriptions, late = Subscriptions(), []
    with transaction.atomic():
        tell(say("task.added"))
        subscriptions.once(f"task.{UUID}.added", lambda: late.append(1))

    assert late == [1]


@pytest.mark.sqlite_only
def test_happenings_are_not_made_when_nobody_listens():
    with transaction.atomic():
        emit(lambda: 1 / 0, topics=["queue"], using="default", names=["task.run"])
        emit(lambda: 1 / 0, using="default", names=["task.done", "task.ended"])


@pytest.mark.sqlite_only
def test_happenings_that_cannot_be_made_do_not_break_the_commit(heard, caplog):
    with transaction.atomic():
        emit(lambda: 1 / 0, using="default", names=["task.run"])
        tell(say("task.done", result=1))

    assert heard == [("task.done", UUID, 1)]
    assert "ZeroDivisionError" in caplog.text


def test_a_transaction_with_nobody_listening_costs_one_query():
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        for _ in range(10):
            tell(say("task.added"), topics=["queue"])

    assert len(queries) == 1


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["task.added", "task.done", "idle"]),
        ("task.*", ["task.added", "task.done"]),
        ("task.done", ["task.done"]),
        ("*.done", ["task.done"]),
        (f"task.{UUID}.*", ["task.added", "task.done"]),
        (f"task.{UUID}.done", ["task.done"]),
        (f"task.{uuid.uuid4()}.done", []),
        ("task.d?ne", []),
        ("task.[d]one", []),
        ("task", []),
    ],
)
def test_rows_are_written_for_what_a_listener_wants(listen, pattern, names):
    listen(pattern)

    tell(say("task.add", task=object()), say("task.added"), say("task.done", result={"a": [1]}), say("idle", None))

    assert list(Event.objects.order_by("id").values_list("name", flat=True)) == names


def test_no_rows_are_written_for_a_listener_whose_lease_is_over(listen):
    listen("*", seconds=-1)

    tell(say("task.added"))

    assert not Event.objects.exists()


def test_arguments_are_stored_as_json(listen):
    listen("*")
    now = timezone.now()

    tell(say("task.postponed", run_at=now), say("task.prioritized", priority=float("-inf")))
    tell(say("task.log", log={"seq": 1, "created_at": now}))

    assert list(Event.objects.order_by("id").values_list("payload", flat=True)) == [
        {"run_at": now.isoformat()},
        {"priority": "-Infinity"},
        {"log": {"seq": 1, "created_at": now.isoformat()}},
    ]


def test_large_arguments_are_left_out(listen):
    listen("*")

    tell(say("task.ended", status="done", result="x" * 200_000))

    assert Event.objects.get().payload == {"status": "done", "result": None}


@pytest.mark.sqlite_only
def test_long_log_message_is_cut(listen):
    listen("*")

    tell(say("task.log", log={"seq": 1, "message": "x" * 100_000, "traceback": None}))

    log = Event.objects.get().payload["log"]
    assert (log["seq"], log["message"], log["traceback"]) == (1, "x" * 1000 + "…", None)


def test_listeners_are_woken_when_rows_were_written(listen, monkeypatch):
    woken = []
    monkeypatch.setattr(notify.Notifier, "wake_here", lambda self, topics: woken.append(list(topics)))
    listen("task.done")

    tell(say("task.run"), topics=["queue"])
    tell(say("task.done", result=1), topics=["queue"])

    assert woken == [["queue"], ["queue", "events"]]


def test_prune_forgets_old_events_and_listeners(listen, settings):
    settings.TASKER = {"EVENT_KEEP_SECONDS": 100}
    now = timezone.now()
    Event.objects.bulk_create(
        Event(name="idle", created_at=now - timedelta(seconds=age)) for age in [*range(101, 2500, 2), 50, 99]
    )
    kept, _ = listen("*"), listen("task.*", seconds=-1)

    deleted = sum(events.pruning("default"))

    assert (deleted, Event.objects.count()) == (1200, 2)
    assert list(Listener.objects.all()) == [kept]
