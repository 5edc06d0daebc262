"""Databases full of waiting tasks for `admission.py`: made, filled by bulk, topped up, and their plans printed."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

SAME = {"data.key": {"$ref": "data.key"}}
WRITERS = {**SAME, "data.kind": "write"}


def _alone(*scopes: str, query: Any) -> list[dict[str, Any]]:
    return [{"scope": scope, "query": query, "limit": 0} for scope in scopes]


LOCK = _alone("running", query=SAME)
FIFO = _alone("running", "queued_before", query=SAME)
READ = _alone("running", "queued_before", query=WRITERS)
WIDE = [*_alone("running", query={"data.kind": "wide"}), *_alone("queued_before", query=SAME)]


@dataclass(frozen=True)
class World:
    """What waits: tasks over `keys` keys, each with the conditions that stand under its kind."""

    conditions: dict[str, list[dict[str, Any]]]  # kind -> conditions, equally often
    keys: int = 1000
    crowd: str = ""  # the kind of all but 100 tasks: they wait ahead of those behind one full condition
    crowd_keys: int = 1
    later: float = 0.0  # the part that is not due


WORLDS = {
    "none": World({"any": []}),
    "keys-1000": World({"any": LOCK}),
    "keys-100000": World({"any": LOCK}, keys=100_000),
    "full": World({"any": LOCK}, keys=100_000, crowd="any"),
    "postponed": World({"any": LOCK}, later=0.5),
    # Conditions that look at the queue: strictly one after another by key; readers that wait for the writers ahead;
    # one key's writers ahead of other keys; an operation that is full ahead of tasks that wait for it by key.
    "fifo": World({"any": FIFO}),
    "readers": World({"write": FIFO, **{f"read{n}": READ for n in range(4)}}),
    "writers": World({"write": FIFO, "read": READ}, keys=100_000, crowd="write"),
    "wide": World({"any": FIFO, "wide": WIDE}, keys=100_000, crowd="wide", crowd_keys=1000),
}

FREE_TASKS = 100


def set_up(folder: Path, postgresql: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    import django
    from django.conf import settings

    from example_project.databases import database

    sqlite = database(f"sqlite:///{folder}/bench.sqlite3")
    settings.DATABASES = {"default": sqlite, "sqlite": sqlite, "postgresql": database(postgresql)}
    settings.TASKER = {}
    django.setup()


@contextmanager
def made(alias: str) -> Iterator[None]:
    """The database, made anew, with the tables of the project; dropped in the end."""
    from django.core.management import call_command
    from django.db import connections

    name = connections[alias].settings_dict["NAME"]
    if alias == "postgresql":
        _administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
    try:
        call_command("migrate", database=alias, verbosity=0)
        yield
    finally:
        close_connections()
        if alias == "postgresql":
            _administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _administer(*statements: str) -> None:
    from django.db import connections

    with connections["postgresql"]._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        for statement in statements:
            cursor.execute(statement)


def close_connections() -> None:
    from django.db import connections

    connections.close_all()


def fill(alias: str, world: str, size: int) -> None:
    """Empty the queue and fill it with `size` waiting tasks, and what runs in the world."""
    from django.db import connections

    from django_tasker.models import Stream, Task

    connection = connections[alias]
    with connection.cursor() as cursor:
        for model in (Stream, Task):
            table = model._meta.db_table
            cursor.execute(f"TRUNCATE {table} CASCADE" if alias == "postgresql" else f"DELETE FROM {table}")
    rows = Rows(alias, world, random.Random(0))
    crowd = WORLDS[world].crowd
    if crowd:
        _insert(alias, [rows.one(kind=crowd, running=True)])
        _insert(alias, (rows.one(kind=crowd) for _ in range(size)))
        _insert(alias, (rows.one() for _ in range(FREE_TASKS)))
    else:
        _insert(alias, (rows.one() for _ in range(size)))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if alias == "postgresql" else "ANALYZE")


class Arrivals:
    """Adds as many tasks as were claimed, so that the queue keeps its length."""

    def __init__(self, alias: str, world: str, seed: int) -> None:
        self._alias = alias
        self._rows = Rows(alias, world, random.Random(seed))

    def add(self, count: int) -> None:
        _insert(self._alias, (self._rows.one(arriving=True) for _ in range(count)))


def end(alias: str, ids: list[int]) -> None:
    """End running tasks in one guarded statement."""
    from django.utils import timezone

    from django_tasker.models import Task

    now = timezone.now()
    running = Task.objects.using(alias).filter(id__in=ids, status="running")
    running.update(status="done", ended_at=now, updated_at=now, result=None)


class Rows:
    """Rows of a world, as the database stores them."""

    def __init__(self, alias: str, world: str, choose: random.Random) -> None:
        self._world = WORLDS[world]
        self._choose = choose
        self._kinds = [kind for kind in self._world.conditions if not self._world.crowd or kind != "wide"]
        self._templates = {
            kind: dict(zip(columns(), _template(alias, conditions), strict=True))
            for kind, conditions in self._world.conditions.items()
        }
        self._later = _prepared(alias, "run_at", self._template_time() + timedelta(hours=10))
        self._uuid = (lambda value: value) if alias == "postgresql" else (lambda value: value.hex)

    @staticmethod
    def _template_time() -> Any:
        from django.utils import timezone

        return timezone.now()

    def one(self, *, kind: str | None = None, running: bool = False, arriving: bool = False) -> tuple[Any, ...]:
        """A row: of a free kind and key, or of the crowd's."""
        keys = range(-self._world.crowd_keys, 0) if kind else range(1, self._world.keys + 1)
        kind, key = kind or self._choose.choice(self._kinds), self._choose.choice(keys)
        row = {**self._templates[kind], "uuid": self._uuid(uuid.UUID(int=random.getrandbits(128), version=4))}
        row["data"] = f'{{"key": {key}, "kind": "{kind}"}}'
        row["lane"] = _lane(self._world, kind, key)
        if not arriving and self._world.later and self._choose.random() < self._world.later:
            row.update(hold=1, run_at=self._later)
        if running:
            row.update(status="running", hold=-1, attempt=1, worker_id=999)
        return tuple(row.values())


_lanes: dict[Any, int] = {}


def _lane(world: World, kind: str, key: int) -> int:
    from django_tasker.conditions import lane_of, resolve
    from django_tasker.models import Task

    if (id(world), kind, key) not in _lanes:
        task = Task(data={"key": key, "kind": kind})
        _lanes[id(world), kind, key] = lane_of(resolve(world.conditions[kind], task))
    return _lanes[id(world), kind, key]


@cache
def columns() -> list[str]:
    from django_tasker.models import Task

    return [field.column for field in Task._meta.concrete_fields if not field.primary_key]


def _template(alias: str, conditions: list[dict[str, Any]]) -> list[Any]:
    from django.db import connections
    from django.utils import timezone

    from django_tasker.models import Task

    now = timezone.now()
    task = Task(operation="bench", data={}, concurrency=conditions, added_at=now, updated_at=now)
    fields = [field for field in Task._meta.concrete_fields if not field.primary_key]
    return [field.get_db_prep_save(field.pre_save(task, True), connections[alias]) for field in fields]


def _prepared(alias: str, name: str, value: Any) -> Any:
    from django.db import connections

    from django_tasker.models import Task

    return Task._meta.get_field(name).get_db_prep_save(value, connections[alias])


def _insert(alias: str, rows: Any) -> None:
    from django.db import connections, transaction

    from django_tasker.models import Task

    table, names = Task._meta.db_table, ", ".join(columns())
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        if alias == "postgresql":
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(columns()))})", rows)


def print_plans(alias: str) -> None:
    """The plans of every statement of two passes, the second one with what the first has moved and started."""
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    from django_tasker.admission import Admission, Claimant

    connection = connections[alias]
    admission = Admission(alias, Claimant(77, "plans"))
    with CaptureQueriesContext(connection) as captured:
        for _ in range(2):
            end(alias, [row.id for row in admission.run_pass({"any": 20}, 20).claimed])
    word = "EXPLAIN QUERY PLAN" if alias == "sqlite" else "EXPLAIN"
    shown: set[str] = set()
    for query in captured.captured_queries:
        sql = query["sql"]
        if sql[:80] in shown or not sql.startswith(("SELECT", "UPDATE", "INSERT", "DELETE")):
            continue
        shown.add(sql[:80])
        print(f"\n  {sql[:300]}{' …' if len(sql) > 300 else ''}")
        with connection.cursor() as cursor:
            cursor.execute(f"{word} {sql}")
            for line in cursor.fetchall():
                print("    ->", " ".join(map(str, line)) if alias == "sqlite" else line[0])
