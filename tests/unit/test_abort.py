"""AbortController and AbortSignal, across threads and event loops."""

from __future__ import annotations

import asyncio
import threading

import pytest

from django_tasker.abort import AbortController, AbortSignal
from django_tasker.errors import RunAborted

pytestmark = pytest.mark.sqlite_only


def test_a_new_signal_is_not_given():
    signal = AbortController().signal

    assert not signal.aborted
    assert signal.reason is None
    signal.raise_if_aborted()


def test_the_first_reason_stands():
    controller = AbortController()

    controller.abort("first")
    controller.abort("second")

    assert controller.signal.reason == "first"


def test_raise_if_aborted_carries_the_reason():
    controller = AbortController()
    controller.abort("enough")

    with pytest.raises(RunAborted) as caught:
        controller.signal.raise_if_aborted()

    assert caught.value.reason == "enough"


def test_wait_ends_when_another_thread_aborts():
    controller = AbortController()
    threading.Timer(0.01, controller.abort).start()

    assert controller.signal.wait(10)


def test_wait_times_out():
    assert not AbortController().signal.wait(0.001)


def test_wait_after_the_signal_returns_at_once():
    controller = AbortController()
    controller.abort()

    assert controller.signal.wait()


def test_listeners_are_called_once():
    controller, calls = AbortController(), []
    controller.signal.add_listener(lambda: calls.append(1))

    controller.abort()
    controller.abort()

    assert calls == [1]


def test_a_listener_added_late_is_called_at_once():
    controller, calls = AbortController(), []
    controller.abort()

    controller.signal.add_listener(lambda: calls.append(1))

    assert calls == [1]


def test_a_removed_listener_is_not_called():
    controller, calls = AbortController(), []
    remove = controller.signal.add_listener(lambda: calls.append(1))

    remove()
    remove()
    controller.abort()

    assert calls == []


def test_a_raising_listener_stops_no_other(caplog):
    controller, calls = AbortController(), []
    controller.signal.add_listener(lambda: 1 / 0)
    controller.signal.add_listener(lambda: calls.append(1))

    controller.abort()

    assert calls == [1]
    assert "listener raised" in caplog.text


def test_mark_leaves_the_calling_to_the_caller():
    controller, calls = AbortController(), []
    controller.signal.add_listener(lambda: calls.append(1))

    listeners = controller.mark("later")

    assert controller.signal.aborted and calls == []
    assert len(listeners) == 1
    assert controller.mark("again") == []


async def test_coroutines_wait_for_a_signal_from_a_thread():
    controller = AbortController()
    threading.Timer(0.01, controller.abort).start()

    assert await controller.signal.wait_async(10)


async def test_coroutines_time_out():
    signal = AbortController().signal

    assert not await signal.wait_async(0.001)
    assert not signal._listeners


def test_several_loops_wait_for_one_signal():
    controller, results = AbortController(), []
    ready = threading.Barrier(3)

    async def wait() -> None:
        waiting = asyncio.ensure_future(controller.signal.wait_async(10))
        await asyncio.sleep(0)
        ready.wait(10)
        results.append(await waiting)

    threads = [threading.Thread(target=asyncio.run, args=[wait()]) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    controller.abort()
    for thread in threads:
        thread.join(10)

    assert results == [True, True]


def test_a_waiter_whose_loop_is_closed_does_no_harm():
    controller = AbortController()
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(controller.signal.wait_async(10))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    controller.abort()

    waiting._log_destroy_pending = False  # of a loop that was closed too early, which is the point
    assert controller.signal.aborted


def test_any_is_given_with_the_reason_of_the_first():
    one, other = AbortController(), AbortController()
    either = AbortSignal.any(one.signal, other.signal)

    other.abort("other")
    one.abort("one")

    assert either.reason == "other"


def test_timeout_is_given_by_itself():
    assert AbortSignal.timeout(0.01).wait(10)
