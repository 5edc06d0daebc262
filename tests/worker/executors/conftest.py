"""Executors of each kind, with a recording sink. Children are kept for a module: what kills one kills no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from django_tasker.conf import options
from django_tasker.registry import autodiscover
from django_tasker.worker.executors import make_executor
from django_tasker.worker.messages import Assignment
from tests.waiting import wait_until
from tests.worker.sinks import RecordingSink, assignment


class Bench:
    """An executor at work, and its sink."""

    def __init__(self, kind: str, slots: int, **changes: Any) -> None:
        self.sink = RecordingSink()
        self.options = dataclasses.replace(options(), **changes)
        self.executor = make_executor(kind, slots, self.options, self.sink)
        self.executor.start()

    def submit(self, operation: str, data: Any = None, **values: Any) -> Assignment:
        made = assignment(operation, data, **values)
        self.executor.submit(made)
        return made

    def run(self, operation: str, data: Any = None, **values: Any) -> SimpleNamespace:
        """Run to the end: `ended`, `entries`, `messages`, `kinds`."""
        key = self.submit(operation, data, **values).key
        ended = self.sink.wait(key)
        return SimpleNamespace(
            key=key,
            ended=ended,
            entries=self.sink.entries(key),
            messages=self.sink.messages(key),
            kinds=self.sink.kinds(key),
        )


@contextmanager
def bench_of(kind: str, slots: int, **changes: Any) -> Iterator[Bench]:
    autodiscover()
    bench = Bench(kind, slots, **changes)
    try:
        yield bench
    finally:
        bench.executor.stop()


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """make_bench(kind, slots, **changed options): one of the test's own."""
    with ExitStack() as stack:
        yield lambda kind, slots=2, **changes: stack.enter_context(bench_of(kind, slots, **changes))


@pytest.fixture(scope="module")
def processes() -> Iterator[Bench]:
    with bench_of("process", 2) as bench:
        yield bench


@pytest.fixture(scope="module")
def threads() -> Iterator[Bench]:
    with bench_of("thread", 2) as bench:
        yield bench


@pytest.fixture(scope="module")
def coroutines() -> Iterator[Bench]:
    with bench_of("coroutine", 2) as bench:
        yield bench


@pytest.fixture
def started(tmp_path):
    """A file that a runner makes to say that it runs; started.wait() waits for it."""
    path = tmp_path / "started"
    return SimpleNamespace(path=str(path), wait=lambda: wait_until(lambda: path.exists() and path.read_text()))
