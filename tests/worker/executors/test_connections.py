"""The database connections of runners: the right database, and nothing left over from one run to the next."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import connection, connections, transaction

from django_tasker.worker.connections import close_connections, tidy_connections

pytestmark = pytest.mark.django_db(transaction=True)


def name_of_this_test() -> str:
    return str(connection.settings_dict["NAME"])


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_children_use_the_database_of_their_worker(make_bench, start_method):
    bench = make_bench("process", 1, start_method=start_method)

    assert json.loads(bench.run("database-name").ended.result)["name"] == name_of_this_test()


def test_threads_use_the_database_of_their_worker(make_bench):
    assert json.loads(make_bench("thread", 1).run("database-name").ended.result)["name"] == name_of_this_test()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_an_open_transaction_does_not_poison_the_next_run(make_bench, kind):
    bench = make_bench(kind, 1)

    assert bench.run("leave-transaction-open", 1).ended.result == "1"

    assert json.loads(bench.run("database-name").ended.result)["in_atomic_block"] is False


def test_coroutines_reach_the_database_in_a_thread_of_ours(make_bench):
    bench = make_bench("coroutine", 4)
    keys = [bench.submit("async-database").key for _ in range(8)]

    names = {bench.sink.wait(key).result for key in keys}

    assert 1 < len(names) <= 4
    assert '"MainThread"' not in names


def in_a_thread(function):
    """What `function` returns in a thread that has connections of its own."""
    results = []

    def call() -> None:
        results.append(function())
        close_connections()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)
    return results[0]


def test_a_healthy_connection_is_kept(settings):
    def reuse() -> bool:
        connection.settings_dict["CONN_MAX_AGE"] = None
        connection.ensure_connection()
        before = connection.connection
        tidy_connections()
        return connection.connection is before

    assert in_a_thread(reuse)


def test_an_open_transaction_is_rolled_back_and_forgotten():
    def leave() -> tuple[bool, bool]:
        transaction.atomic().__enter__()
        connection.ensure_connection()
        tidy_connections()
        return connection.in_atomic_block, connection.get_autocommit()

    assert in_a_thread(leave) == (False, True)


def test_autocommit_that_was_switched_off_is_on_again():
    def leave() -> bool:
        connection.set_autocommit(False)
        tidy_connections()
        return connection.get_autocommit()

    assert in_a_thread(leave)


def test_a_connection_that_can_not_be_closed_is_forgotten(monkeypatch):
    def break_it() -> bool:
        before = connections["default"]
        before.ensure_connection()
        close = before.close
        before.close_if_unusable_or_obsolete = lambda: 1 / 0
        tidy_connections()
        close()
        return connections["default"] is not before

    assert in_a_thread(break_it)
