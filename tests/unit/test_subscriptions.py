"""on, once and off, without a database: the signals are sent by hand."""

from __future__ import annotations

import uuid

import pytest

from django_tasker.errors import UnknownEvent
from django_tasker.signals import SIGNALS
from django_tasker.subscriptions import Subscriptions, parse_event

pytestmark = pytest.mark.sqlite_only

UUID = uuid.uuid4()


@pytest.fixture
def subscriptions():
    subscriptions = Subscriptions()
    before = connected()
    yield subscriptions
    for event in SIGNALS:
        subscriptions.off(event)
    assert connected() == before


def connected():
    return {event: len(signal.receivers) for event, signal in SIGNALS.items()}


@pytest.fixture
def calls():
    return []


def send(event, about=UUID, **args):
    given = args if about is None else {"uuid": about, **args}
    SIGNALS[event].send_robust(None, using="default", **given)


def test_callback_gets_uuid_and_arguments_in_order(subscriptions, calls):
    subscriptions.on("task.ended", lambda *args: calls.append(args))

    send("task.ended", status="done", result=5)

    assert calls == [(UUID, "done", 5)]


def test_callback_of_one_task_gets_its_events_without_the_uuid(subscriptions, calls):
    end = subscriptions.on(f"task.{UUID}.done", lambda *args: calls.append(args))

    send("task.done", result=5)
    send("task.done", uuid.uuid4(), result=6)

    assert calls == [(5,)]
    end()


def test_events_without_a_task_have_no_arguments(subscriptions, calls):
    subscriptions.on("empty-queue", lambda *args: calls.append(args))

    send("empty-queue", None)

    assert calls == [()]


def test_added_task_is_given_as_it_is(subscriptions, calls):
    class Task:
        uuid = UUID

    task = Task()
    subscriptions.on("task.add", lambda *args: calls.append(args))
    end = subscriptions.on(f"task.{UUID}.add", lambda *args: calls.append(args))

    send("task.add", None, task=task)

    assert calls == [(task,), (task,)]
    end()


def test_once_is_called_once(subscriptions, calls):
    subscriptions.once("task.done", lambda *args: calls.append(args))

    send("task.done", result=1)
    send("task.done", result=2)

    assert calls == [(UUID, 1)]


def test_off_ends_one_callback_or_all(subscriptions, calls):
    first, second = (lambda *_: calls.append(1)), (lambda *_: calls.append(2))
    subscriptions.on("task.run", first)
    subscriptions.on("task.run", second)

    subscriptions.off("task.run", first)
    send("task.run")
    subscriptions.off("task.run")
    send("task.run")

    assert calls == [2]


def test_what_on_returns_ends_it(subscriptions, calls):
    end = subscriptions.on("task.run", lambda *_: calls.append(1))

    end()
    end()
    send("task.run")

    assert calls == []
    assert not SIGNALS["task.run"].receivers


def test_failing_callback_harms_no_other(subscriptions, calls, caplog):
    subscriptions.on("task.run", lambda *_: 1 / 0)
    subscriptions.on("task.run", lambda *_: calls.append(1))

    send("task.run")

    assert calls == [1]
    assert "ZeroDivisionError" in caplog.text


def test_coroutine_function_is_run(subscriptions, calls):
    async def callback(about):
        calls.append(about)

    subscriptions.on("task.run", callback)

    send("task.run")

    assert calls == [UUID]


@pytest.mark.parametrize(
    "event", ["task.don", "task.*", "", "done", f"task.{UUID}", "task.no-uuid.done", f"x.{UUID}.y"]
)
def test_unknown_event_is_refused(subscriptions, event):
    with pytest.raises(UnknownEvent, match="Unknown event"):
        subscriptions.on(event, print)


def test_message_suggests_the_nearest_name(subscriptions):
    with pytest.raises(UnknownEvent, match=r"did you mean 'task\.done'"):
        subscriptions.on("task.dune", print)


@pytest.mark.parametrize("event", SIGNALS)
def test_every_event_has_its_name(event):
    assert parse_event(event) == (event, None)
