"""The executor of tests: calls runners in the thread that submits them, on its connections and in its transaction.

Nothing is killed and nothing times out here, as nobody else is there to do it. An abort that is asked for on the way
(by what the runner calls) reaches the run as in a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError

from .. import logs
from ..conf import Options
from ..errors import RunAborted
from ..models import Task
from ..registry import Registry, is_async
from ..statuses import Status
from ..worker.executors.base import Executor
from ..worker.messages import Assignment, Sink
from ..worker.run import Run, resolve

KIND = "inline"

_FOR_THE_WORKER = (Exception, RunAborted, asyncio.CancelledError, SystemExit)
"""What a runner may raise for its worker to deal with. The rest ends the test: Ctrl-C, `pytest.fail()`."""


class InlineExecutor(Executor):
    """Runs each assignment at once, and returns from `submit` when it has ended."""

    kind = KIND

    def __init__(self, using: str, options: Options, sink: Sink, registry: Registry) -> None:
        super().__init__(1, options, sink, registry)
        self._using = using
        self.last: InlineRun | None = None

    def start(self) -> None:
        logs.install(self.options.log_level_number)

    def submit(self, assignment: Assignment) -> None:
        run = Run(assignment, self.sink)
        self.last = active = InlineRun(run)
        token = logs.begin(run.capture)
        self.sink.started(run.key)
        with _watched_for_aborts(self._using, active), _savepoints() as broken:
            result = active.call(self.registry)
        logs.end(token)
        if broken and active.error is None:
            active.error = TransactionManagementError(
                f"The runner of {assignment.operation!r} passed over a database error in the transaction of the test, "
                "and so all that it wrote was undone. Let statements that may fail stand in a transaction.atomic() "
                "of their own, or use TransactionTestCase."
            )
        error = active.error
        run.finish(run.returned(result, self.options) if error is None else run.raised(error))
        if error is not None and not isinstance(error, _FOR_THE_WORKER):
            raise error

    def abort(self, key: tuple[int, int], reason: str, grace: float) -> None:
        if self.last is not None and self.last.run.key == key and not self.last.run.is_finished:
            self.last.abort(reason)

    def withdraw(self) -> list[Assignment]:
        return []

    def stop(self) -> None:
        logs.uninstall()


class InlineRun:
    """A run in the thread of the test."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.error: BaseException | None = None
        self._cancel: Callable[[], object] | None = None

    def call(self, registry: Registry) -> Any:
        """Call the runner; return its result, and keep what it raised."""
        try:
            runner = resolve(self.run.assignment.operation, registry)
            return async_to_sync(self._call_async)(runner) if is_async(runner) else runner(self.run.task)
        except BaseException as error:
            self.error = error

    async def _call_async(self, runner: Callable[..., Any]) -> Any:
        """In a loop that asgiref finds or makes: what it does with `sync_to_async` comes back to the test's thread."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._await(runner))
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return await task
        except asyncio.CancelledError as error:  # before its first step
            self.error = error
        finally:
            self._cancel = None

    async def _await(self, runner: Callable[..., Any]) -> Any:
        try:
            return await runner(self.run.task)
        except BaseException as error:  # all of it: SystemExit would end the loop
            self.error = error

    def abort(self, reason: str | None) -> None:
        """Give the signal; cancel a coroutine."""
        self.run.controller.abort(reason)
        if self._cancel is not None:
            self._cancel()


@contextmanager
def _watched_for_aborts(using: str, active: InlineRun) -> Iterator[None]:
    """Within the block, what asks for the run's abort on the test's connection reaches the run.

    A worker looks at the row now and then, from another thread; here that would be another connection, which sees
    nothing of the test's transaction.
    """
    row = Task.objects.using(using).filter(pk=active.run.assignment.id, status=Status.RUNNING)

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        answer = execute(sql, params, many, context)
        if "abort_requested_at" in sql and sql.startswith("UPDATE") and not active.run.controller.signal.aborted:
            for reason in row.filter(abort_requested_at__isnull=False).values_list("abort_reason", flat=True):
                active.abort(reason)
        return answer

    with connections[using].execute_wrapper(watch):
        yield


@contextmanager
def _savepoints() -> Iterator[list[str]]:
    """A savepoint in each transaction that is open; gives the aliases of those that are broken at the end.

    In a worker a runner has no transaction around it: what it wrote stays even when it raises, and so it does here.
    But a transaction that a database error has broken would take the record of the run, and the rest of the test,
    with it. Then, and only then, what the runner wrote is undone.
    """
    broken: list[str] = []
    with ExitStack() as stack:
        opened: list[Any] = [each for each in connections.all(initialized_only=True) if each.in_atomic_block]
        for connection in opened:
            atomic: Any = transaction.atomic(using=connection.alias)
            # As far as durable blocks of the runner are concerned, ours is not there.
            atomic._from_testcase = connection.atomic_blocks[-1]._from_testcase
            stack.enter_context(atomic)
        yield broken
        for connection in opened:
            if connection.needs_rollback or not connection.is_usable():
                broken.append(connection.alias)
                transaction.set_rollback(True, using=connection.alias)
