"""django_tasker for the peers' harness: PostgreSQL and SQLite, with coroutine, thread and process runners.

`benchmarks/throughput.py` copies this file into the harness's `adapters/` and `tasker_bench/` beside it.
"""

import os

import sink

VENV = "django-tasker"
REQUIREMENTS = ["django==6.1.3", "psycopg[binary,pool]==3.3.9", "$DJANGO_TASKER"]
DJANGO = {"INSTALLED_APPS": ["django_tasker", "tasker_bench"]}
TABLES = [
    "django_tasker_tasklog",
    "django_tasker_attempt",
    "django_tasker_event",
    "django_tasker_stream",
    "django_tasker_worker",
    "django_tasker_task",
]
STORED_SQL = "SELECT count(*) FROM django_tasker_task WHERE status = 'done'"
PERSISTS = "row kept with status, times, result and log"
SETUP = "coroutine runner; CONN_MAX_AGE=None; SQLite: WAL, synchronous=NORMAL, IMMEDIATE"
WORKER = ["{bin}/python", "-m", "django", "tasker_worker", "--concurrency", "2"]
CONN_MAX_AGE = None
VARIANTS = {
    "pg": {"DB": "postgresql"},
    "pg-thread": {"DB": "postgresql", "SETUP": "thread runner, 2 threads", "FIGURES": "drain,latency"},
    "pg-process": {"DB": "postgresql", "SETUP": "process runner, 2 processes", "FIGURES": "drain,latency"},
    "pg-x2": {"DB": "postgresql", "COUNT": 2, "SETUP": "coroutine runner, two workers", "FIGURES": "drain,backlog"},
    "sqlite": {"DB": "sqlite"},
    "sqlite-thread": {"DB": "sqlite", "SETUP": "thread runner, 2 threads", "FIGURES": "drain,latency"},
    "sqlite-process": {"DB": "sqlite", "SETUP": "process runner, 2 processes", "FIGURES": "drain,latency"},
}

_KIND = (os.environ.get("PEERS_VARIANT", "").partition("-")[2] or "coroutine").replace("x2", "coroutine")
operation_name = f"noop-{_KIND}"


def noop(i):
    return sink.mark(i)


def enqueue(i):
    from django_tasker import tasker

    tasker.add_task(operation_name, i)


def enqueue_many(ids):
    from django_tasker import tasker

    tasker.add_tasks([{"operation": operation_name, "data": i} for i in ids])
