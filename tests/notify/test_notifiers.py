"""What every notifier promises, on whatever database the suite runs; plus what each vendor's own does."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import uuid
from unittest.mock import Mock

import pytest
from django.db import connection, transaction

from django_tasker import notify
from django_tasker.notify import base
from django_tasker.notify.polling import PollingNotifier
from tests.listening.conftest import Writer
from tests.waiting import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def notifier(wait_until):
    """The notifier of the database; if it can hear other processes, it does."""
    notifier = notify.notifier("default")
    with notifier.subscribe("warm-up"):
        wait_until(lambda: notifier.is_live or notifier.kind == "poll")
        yield notifier


@pytest.fixture
def writer(database_url):
    writer = Writer(database_url)
    yield writer
    writer.close()


def test_wake_up_ends_a_wait(notifier):
    subscription = notifier.subscribe("queue")

    notifier.wake(["queue"])

    assert subscription.wait(PATIENCE)


def test_wake_up_before_the_wait_is_kept(notifier):
    subscription = notifier.subscribe("queue")
    notifier.wake_here(["queue"])

    assert subscription.wait(0)
    assert not subscription.wait(0)


def test_wake_up_is_sent_at_commit(notifier):
    subscription = notifier.subscribe("queue")

    with transaction.atomic():
        notifier.wake(["queue"])
        assert not subscription.wait(0)

    assert subscription.wait(0)


def test_rolled_back_transaction_wakes_nobody(notifier):
    subscription = notifier.subscribe("queue")

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        notifier.wake(["queue"])
        raise ZeroDivisionError

    assert not subscription.wait(0)


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("topic", "woken", "is_heard"),
    [
        ("queue", "queue", True),
        ("queue", "control", False),
        ("task:1", "task:1", True),
        ("task:1", "task:2", False),
        ("task:*", "task:2", True),
        ("task:*", "queue", False),
        ("*", "queue", True),
        ("queue", "*", True),
    ],
)
def test_topics(topic, woken, is_heard):
    notifier = PollingNotifier("default")
    subscription = notifier.subscribe(topic)

    notifier.wake_here([woken])

    assert subscription.wait(0) is is_heard


def test_wake_up_of_another_process_is_heard(notifier, writer):
    subscription = notifier.subscribe("queue")
    writer.start("touch")

    assert subscription.wait(PATIENCE)
    writer.finish()


def test_callback_is_called(notifier):
    calls = []
    notifier.subscribe("queue", callback=lambda: calls.append(1))

    notifier.wake(["queue"])

    assert calls


@pytest.mark.sqlite_only
def test_failing_callback_harms_no_other(notifier, caplog):
    notifier.subscribe("queue", callback=lambda: 1 / 0)
    other = notifier.subscribe("queue")

    notifier.wake_here(["queue"])

    assert other.wait(0)
    assert "callback" in caplog.text


@pytest.mark.sqlite_only
def test_closed_subscription_is_forgotten(notifier):
    subscription = notifier.subscribe("queue", "control")
    count = notifier.health.subscriptions

    subscription.close()
    subscription.close()

    assert notifier.health.subscriptions == count - 1


@pytest.mark.sqlite_only
def test_interrupt_ends_a_wait_of_another_thread(notifier):
    subscription = notifier.subscribe("queue")
    threading.Timer(0.05, subscription.interrupt).start()

    assert subscription.wait(PATIENCE)


async def test_coroutine_is_woken_from_another_thread(notifier):
    subscription = notifier.subscribe("queue")
    threading.Timer(0.05, notifier.wake_here, [["queue"]]).start()

    assert await subscription.await_(PATIENCE)


@pytest.mark.sqlite_only
async def test_coroutine_sees_a_wake_up_before_its_wait(notifier):
    subscription = notifier.subscribe("queue")
    notifier.wake_here(["queue"])

    assert await subscription.await_(0)


@pytest.mark.sqlite_only
async def test_cancelled_wait_keeps_a_later_wake_up(notifier):
    subscription = notifier.subscribe("queue")
    task = asyncio.create_task(subscription.await_(20))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    notifier.wake_here(["queue"])

    assert await subscription.await_(0)


@pytest.mark.sqlite_only
def test_without_wake_ups_a_wait_looks_by_the_clock_and_more_seldom(monkeypatch):
    subscription, slept = subscribed_by_clock(monkeypatch, poll_interval=0.15)

    assert [subscription.wait(10) for _ in range(5)] == [True] * 5
    assert slept == pytest.approx([0.05, 0.075, 0.1125, 0.15, 0.15])


@pytest.mark.sqlite_only
def test_found_makes_the_clock_fast_again(monkeypatch):
    subscription, slept = subscribed_by_clock(monkeypatch)
    for _ in range(4):
        subscription.wait(10)

    subscription.found()
    subscription.wait(10)

    assert slept[3] > slept[4] == slept[0]


def subscribed_by_clock(monkeypatch, poll_interval=15.0):
    """A subscription that hears nothing and doesn't sleep, and the list of how long it would have slept."""
    slept = []
    monkeypatch.setattr(PollingNotifier, "poll_interval", poll_interval)
    subscription = PollingNotifier("default").subscribe("queue")
    monkeypatch.setattr(subscription._event, "wait", lambda seconds: slept.append(seconds))
    return subscription, slept


def test_thread_ends_some_time_after_the_last_subscription(wait_until, monkeypatch):
    monkeypatch.setattr(base.Hub, "linger", 0.05)
    notifier = notify.notifier("default")
    if notifier.kind == "poll":
        pytest.skip("needs no thread")

    notifier.subscribe("queue").close()

    wait_until(lambda: notifier._thread is None)
    with notifier.subscribe("queue"):
        wait_until(lambda: notifier.is_live)


def test_close_all_leaves_no_thread(notifier):
    notify.close_all()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("django_tasker-notify")]
    assert notify.notifier("default") is not notifier


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_has_a_notifier_of_its_own(notifier):
    pid = os.fork()
    if pid == 0:
        own = notify.notifier("default")
        os._exit(0 if own is not notifier and own.health.subscriptions == 0 else 1)

    assert os.waitpid(pid, 0)[1] == 0
    subscription = notifier.subscribe("queue")
    notifier.wake(["queue"])
    assert subscription.wait(PATIENCE)


def test_outage_is_told_once_and_polling_takes_over(notifier, monkeypatch, wait_until, caplog):
    if notifier.kind == "poll":
        pytest.skip("polls always")
    notify.close_all()
    notifier = notify.notifier("default")
    watch, broken = notifier._watch, True
    monkeypatch.setattr(notifier, "_watch", lambda: _fail() if broken else watch())

    with caplog.at_level(logging.INFO, "django_tasker"), notifier.subscribe("queue") as subscription:
        wait_until(lambda: notifier.health.failures > base.FAILURES_BEFORE_WARNING)
        assert subscription.wait(PATIENCE)  # by the clock
        broken = False
        wait_until(lambda: notifier.is_live)

    assert [record.levelname for record in caplog.records if record.levelno > logging.DEBUG] == ["WARNING", "INFO"]
    assert notifier.health.error is None


def _fail():
    raise OSError("no database")


def test_lost_listening_connection_is_made_again(notifier, wait_until, writer):
    if connection.vendor != "postgresql":
        pytest.skip("has no connection that listens")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'django_tasker listener'"
        )
    wait_until(lambda: notifier.is_live and not notifier.health.failures)
    subscription = notifier.subscribe("queue")
    subscription.wait(0.3)

    writer.start("touch")

    assert subscription.wait(PATIENCE)
    writer.finish()


def test_pooler_that_passes_nothing_on_is_not_relied_upon(wait_until, monkeypatch, writer):
    if connection.vendor != "postgresql":
        pytest.skip("has no pooler")
    monkeypatch.setattr("django_tasker.notify.postgresql._is_direct", lambda connection: False)
    notifier = notify.notifier("default")
    with notifier.subscribe("queue") as subscription:
        was_woken = subscription.wait(PATIENCE)  # by the clock
        was_live = notifier.is_live
        wait_until(lambda: writer.do("touch") and notifier.is_live)

    assert (was_woken, was_live) == (True, False)


@pytest.mark.parametrize(("count", "is_woken"), [(500, False), (5000, True)])
def test_only_too_many_topics_wake_everybody(notifier, count, is_woken):
    if connection.vendor != "postgresql":
        pytest.skip("has no payload")
    uuids = [uuid.uuid4() for _ in range(count)]
    heard = notify.postgresql.PostgreSQLNotifier("default")
    with heard.subscribe("queue") as other, heard.subscribe(f"task:{uuids[-1]}") as last:
        while not heard.is_live:
            time.sleep(0.01)
        other.wait(0)
        last.wait(0)

        notifier.wake([f"task:{each}" for each in uuids])

        assert last.wait(PATIENCE)
        assert other.wait(PATIENCE if is_woken else 0.2) is is_woken
    heard.close()


def test_replaced_database_file_is_watched_anew(tmp_path, wait_until, monkeypatch):
    if connection.vendor != "sqlite":
        pytest.skip("has no file")
    import sqlite3

    from django_tasker.notify.sqlite import SQLiteNotifier

    monkeypatch.setattr("django_tasker.notify.sqlite.FILE_CHECK_SECONDS", 0.05)
    path = tmp_path / "watched.sqlite3"
    monkeypatch.setattr(SQLiteNotifier, "_path", lambda self: str(path))
    sqlite3.connect(path).execute("CREATE TABLE a (b)").connection.close()
    notifier = SQLiteNotifier("default")
    with notifier.subscribe("queue") as subscription:
        wait_until(lambda: notifier.is_live)
        other = tmp_path / "other.sqlite3"  # another inode for certain, and no journal of the first one
        sqlite3.connect(other).execute("CREATE TABLE a (b)").connection.close()
        other.replace(path)
        time.sleep(0.2)
        subscription.wait(0)

        sqlite3.connect(path).execute("CREATE TABLE c (d)").connection.close()

        assert subscription.wait(PATIENCE)
    notifier.close()


def test_busy_process_sends_its_wake_ups_aside(wait_until, monkeypatch):
    if connection.vendor != "postgresql":
        pytest.skip("sends nothing")
    from django_tasker.events import emit
    from django_tasker.notify.postgresql import PostgreSQLNotifier

    monkeypatch.setattr("django_tasker.notify.sender.LINGER_SECONDS", 0.1)
    other = PostgreSQLNotifier("default")  # hears this process as another one would
    sender = notify.notifier("default")._sender
    sent_aside = Mock(wraps=sender.send)
    monkeypatch.setattr(sender, "send", sent_aside)
    with other.subscribe("queue") as subscription:
        wait_until(lambda: other.is_live)
        wait_until(lambda: emit([], topics=["queue"], using="default") or sent_aside.called)
        while subscription.wait(0.3):
            pass
        with transaction.atomic():
            emit([], topics=["queue"], using="default")
            was_early = subscription.wait(0.1)

        assert subscription.wait(PATIENCE)

    assert not was_early
    wait_until(lambda: sender._thread is None)
    other.close()
