"""Wires a worker's parts: starts them in order, and stops them in the opposite one."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from django.db import DatabaseError, connections

from .. import lifecycle, logs
from ..abort import AbortSignal
from ..admission import keys, streams
from ..conf import Options
from ..databases import database
from ..events import Happening, emit, pruning
from ..models import Task, Worker
from ..registry import autodiscover
from .dispatcher import TAKEN_FOR_LOST, Dispatcher
from .executors import make_executor
from .executors.base import Executor
from .recorder import Inbox
from .rescue import beat, rescue
from .settings import WorkerSettings, machine_id

logger = logging.getLogger(__name__)

TIDY_SECONDS = 30.0
"""Between two rounds of house-keeping."""
SIGNAL_SECONDS = 0.5
"""The longest that a signal which another thread took waits for its handler."""


class TaskWorker:
    """Runs tasks in this process until it is stopped. `start`, `stop` and `wait` may be called twice."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self._asked: list[float | None] = []  # the graces of `request_stop`
        self._row_id = 0
        self._row_lock = threading.Lock()  # guards the making and the removal of our row
        self._is_closed = False
        self._beats = 0  # that the database has taken

    @property
    def is_running(self) -> bool:
        return self._dispatcher is not None and not self._over.is_set()

    def start(self, abort_signal: AbortSignal | None = None) -> None:
        """Register the worker and begin to claim; returns at once.

        Raises:
            ConfigurationError: an operation was named that has no runner.
        """
        with self._lock:
            if self._dispatcher is not None:
                return
            autodiscover()
            logs.install(self.settings.options.log_level_number)
            row = self._register()
            self._row_id = row.pk
            self._dispatcher = Dispatcher(self.settings, row.pk, row.name, self._make_executor)
            for grace in self._asked:  # by a signal that came while we started
                self._request_stop(grace)
            for target in (self._dispatch, self._keep_alive, self._watch_lease):
                thread = threading.Thread(target=target, name=f"django_tasker-{target.__name__}", daemon=True)
                self._threads.append(thread)
                thread.start()
        if abort_signal is not None:
            abort_signal.add_listener(lambda *_: self._request_stop(None))

    def stop(self, grace: float | None = None) -> None:
        """Stop claiming, give running tasks `grace` seconds, end the rest by their `on_stop`; return when all is over.

        Called again (from another thread or signal), the earlier end wins.
        """
        self._request_stop(grace)
        self.wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the worker has stopped; False when `timeout` seconds passed first."""
        if self._dispatcher is None:
            return True
        if timeout is not None:
            return self._over.wait(timeout)
        # Not for ever in one go: the kernel may hand a signal to any thread, and Python calls its handler in the main
        # thread, once that wakes.
        while not self._over.wait(SIGNAL_SECONDS):
            pass
        return True

    def request_stop(self, grace: float | None = None) -> None:
        """Begin to stop and return at once; safe in a signal handler. Before `start` has made it, stop once it has."""
        self._asked.append(grace)
        self._request_stop(grace)

    def _request_stop(self, grace: float | None) -> None:
        if self._dispatcher is not None:
            self._dispatcher.stop(self.settings.grace_seconds if grace is None else grace)

    # -- the threads ----------------------------------------------------------------------------------------------

    def _make_executor(self, kind: str, slots: int, inbox: Inbox) -> Executor:
        executor = make_executor(kind, slots, self.settings.options, inbox, self.settings.registry)
        executor.start()
        return executor

    def _dispatch(self) -> None:
        dispatcher = self._dispatcher
        assert dispatcher is not None
        using = self.settings.using
        try:
            rescue(using, self.settings.options)
            emit([Happening("started", None, {})], using=using)
            dispatcher.run()
        except Exception:
            logger.exception("dispatcher failed worker_id=%s", dispatcher.worker_id)
            dispatcher.abandon("the worker failed")
        finally:
            self._close(dispatcher)

    def _close(self, dispatcher: Dispatcher) -> None:
        """What follows the last task: executors, the row, the farewell."""
        using = self.settings.using
        for executor in dispatcher.executors.values():
            executor.stop()
        dispatcher.close()
        logs.uninstall()
        with self._row_lock, suppress(DatabaseError):
            self._is_closed = True
            Worker.objects.using(using).filter(pk=self._row_id).delete()
            emit([Happening("stopped", None, {})], using=using)
        connections[using].close()
        self._over.set()

    def _keep_alive(self) -> None:
        """Stamp the worker's row until the last task has ended, and do the house-keeping between."""
        dispatcher = self._dispatcher
        assert dispatcher is not None
        options, using = self.settings.options, self.settings.using
        started = time.monotonic()
        next_tidy = started + min(TIDY_SECONDS, options.lease / 2)
        next_beat = started + options.heartbeat
        while not self._over.wait(min(1.0, options.heartbeat / 2)):
            now = time.monotonic()
            try:
                lifecycle.expire_queue(now=database(using).now(connections[using]), using=using)
                if now >= next_beat:
                    next_beat = self._beat(dispatcher)
                if now >= next_tidy:
                    next_tidy = now + min(TIDY_SECONDS, options.lease / 2)
                    for _ in tidying(using, options):
                        if self._over.is_set():
                            break
                        if time.monotonic() >= next_beat:
                            next_beat = self._beat(dispatcher)
            except Exception as error:
                level = logging.DEBUG if database(using).is_transient(error) else logging.ERROR
                logger.log(level, "house-keeping failed worker_id=%s", dispatcher.worker_id, exc_info=True)
                connections[using].close()
        connections[using].close()

    def _beat(self, dispatcher: Dispatcher) -> float:
        """Stamp the worker's row, anew if need be; return when the next beat is due."""
        due = time.monotonic() + self.settings.options.heartbeat
        if not beat(self.settings.using, self._row_id, dispatcher.running):
            self._come_back(dispatcher)
        self._beats += 1
        return due

    def _watch_lease(self) -> None:
        """Abort the runs once the lease is out, whether the database fails or is silent: others may take the tasks.

        Two runs of one task are worse than one aborted. What counts is the time that we were awake without a beat: a
        computer that slept asks first whether the tasks are still its own.
        """
        dispatcher, options = self._dispatcher, self.settings.options
        assert dispatcher is not None
        pause = min(1.0, options.heartbeat / 2)
        beats, silence = self._beats, 0.0
        while not self._over.wait(pause):
            if self._beats != beats:
                beats, silence = self._beats, 0.0
            else:
                silence += pause
            if silence > options.lease:
                dispatcher.abandon("the worker has lost the database")
                silence = 0.0

    def _come_back(self, dispatcher: Dispatcher) -> None:
        """Another worker took us for lost and has our tasks: let go of them and begin anew."""
        dispatcher.abandon(TAKEN_FOR_LOST)  # at once; the dispatcher may be in the midst of a claim
        with self._row_lock:
            if self._is_closed:  # just then: that is why there is no row
                return
            logger.warning("worker was taken for lost, begins anew worker_id=%s", self._row_id)
            row = self._register()
            self._row_id = row.pk
        dispatcher.come_back(row.pk, row.name)

    def _register(self) -> Worker:
        settings = self.settings
        now = database(settings.using).now(connections[settings.using])
        kinds = settings.kinds()
        return Worker.objects.using(settings.using).create(
            name=settings.display_name,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            machine=machine_id(),
            queues=None if settings.queues is None else list(settings.queues),
            operations=sorted(kinds),
            slots={kind: count for kind, count in settings.slots.items() if kind in kinds.values()},
            started_at=now,
            heartbeat_at=now,
        )


def tidying(using: str, options: Options) -> Iterator[object]:
    """House-keeping that any worker does now and then: lost workers, expired tasks, old events, stray rows.

    In short steps: there may be a million expired tasks, and the lease has to be kept meanwhile.
    """
    yield rescue(using, options)
    now = database(using).now(connections[using])
    yield from lifecycle.deleting_ended(Task.objects.using(using).filter(expires_at__lte=now), using=using)
    yield from pruning(using)
    yield streams.bring_back_strays(using)
    yield keys.forget_stale(using)


__all__ = ["TaskWorker", "tidying"]
