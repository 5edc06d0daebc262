"""Kills workers and their child processes in the midst of work, then judges what the runners and the database saw."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from django_tasker import tasker
from django_tasker.models import Attempt, Task, TaskLog
from tests import trails
from tests.workers import WorkerProcess

LIMITS = (None, 0, 1, 2)
"""Of other runs of the same key; None: tasks without conditions."""

OPTIONS = {"MAX_LOSSES": 100_000}
LOGS = 3


@dataclass
class Plan:
    """How much to do and to kill."""

    tasks: int = 2000
    worker_kills: int = 10
    child_kills: int = 20
    disconnects: int = 10  # of all workers' connections at once, where there is a server
    keys: int = 8
    workers: int = 2
    slots: int = 4
    seconds: tuple[float, float] = (0.05, 0.25)
    patience: float = 900.0
    seed: int = 1


@dataclass
class Verdict:
    """What came out: nothing in `problems`, one hopes."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def run(database_url: str, folder: Path, plan: Plan) -> Verdict:
    """Add the tasks, let workers run them, kill, and judge. The database must hold no other tasks."""
    chance = random.Random(plan.seed)
    trail = folder / "trail"
    groups = add(plan, trail, chance)
    killing = Killing(database_url, trail, plan, chance)
    started = time.monotonic()
    with audit() as moves:
        try:
            killing.run()
        finally:
            killing.end()
        verdict = judge(groups, trails.read(trail), moves())
    verdict.problems += killing.problems
    verdict.figures |= {
        "seconds": round(time.monotonic() - started, 1),
        "workers_killed": killing.worker_kills,
        "children_killed": killing.child_kills,
        "disconnects": killing.disconnects,
    }
    return verdict


def add(plan: Plan, trail: Path, chance: random.Random) -> dict[str, tuple[str, int | None]]:
    """Add the tasks; uuid -> (key, limit)."""
    groups: dict[str, tuple[str, int | None]] = {}
    rows = []
    for number in range(plan.tasks):
        limit = LIMITS[number % len(LIMITS)]
        key = f"{limit}:{chance.randrange(plan.keys)}"
        data = {"trail": str(trail), "seconds": chance.uniform(*plan.seconds), "logs": LOGS, "key": key}
        query = {"data.key": {"$ref": "data.key"}}
        conditions = [] if limit is None else [{"scope": "running", "query": query, "limit": limit}]
        rows.append({"operation": "leave-trail", "data": data, "concurrency": conditions})
    for task, row in zip(tasker.add_tasks(rows), rows, strict=True):
        key = row["data"]["key"]
        groups[str(task.uuid)] = key, LIMITS[[str(limit) for limit in LIMITS].index(key.split(":")[0])]
    return groups


class Killing:
    """The workers, and what happens to them."""

    def __init__(self, database_url: str, trail: Path, plan: Plan, chance: random.Random) -> None:
        self.worker_kills = self.child_kills = self.disconnects = 0
        self.problems: list[str] = []
        self._database_url = database_url
        self._trail = trail
        self._plan = plan
        self._chance = chance
        self._workers = [self._start() for _ in range(plan.workers)]

    def _start(self) -> WorkerProcess:
        return WorkerProcess(self._database_url, "--concurrency", str(self._plan.slots), **OPTIONS)

    def run(self) -> None:
        """Kill at equal distances of ended tasks, until all have ended."""
        plan = self._plan
        deadline = time.monotonic() + plan.patience
        while (ended := Task.objects.filter(ended_at__isnull=False).count()) < plan.tasks:
            if time.monotonic() > deadline:
                self.problems.append(f"only {ended} of {plan.tasks} tasks had ended after {plan.patience} s")
                return
            if self._is_time(self.worker_kills, plan.worker_kills, ended):
                self._kill_worker()
            elif self._is_time(self.child_kills, plan.child_kills, ended):
                self._kill_child()
            elif connection.vendor == "postgresql" and self._is_time(self.disconnects, plan.disconnects, ended):
                self._disconnect()
            else:
                time.sleep(0.02)
            for worker in self._workers:
                if worker.process.poll() is not None:
                    raise AssertionError(f"a worker ended by itself: {worker.output}")

    def _is_time(self, killed: int, of: int, ended: int) -> bool:
        return killed < of and ended >= (killed + 0.5) * self._plan.tasks * 0.9 / of

    def _kill_worker(self) -> None:
        index = self._chance.randrange(len(self._workers))
        self._workers[index].kill()
        self._workers[index].end()
        self._workers[index] = self._start()
        self.worker_kills += 1

    def _kill_child(self) -> None:
        """One that runs a task at this moment."""
        lately = time.monotonic_ns() - 50_000_000
        running = [run for run in trails.read(self._trail) if not run.ended and run.last > lately]
        if running:
            try:
                os.kill(self._chance.choice(running).pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            self.child_kills += 1

    def _disconnect(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        self.disconnects += 1

    def end(self) -> None:
        for worker in self._workers:
            worker.end()


# -- the judges -------------------------------------------------------------------------------------------------------


def judge(
    groups: dict[str, tuple[str, int | None]], runs: list[trails.Seen], moves: Counter[tuple[int, str]]
) -> Verdict:
    verdict = Verdict()
    by_task = trails.by_task(runs)
    lost = Counter(Attempt.objects.filter(outcome="lost").values_list("task_id", flat=True))
    unheard = Counter(Attempt.objects.filter(outcome="stopped").values_list("task_id", flat=True))
    for task in Task.objects.all():
        seen = by_task[str(task.uuid)]
        ends = moves[task.pk, "done"] + moves[task.pk, "failed"] + moves[task.pk, "aborted"]
        facts = {
            "is done": task.status == "done" and task.attempt == 1,
            "ended once": ends == 1,
            "ran to its end": any(run.ended for run in seen),
            "ran again only after a crash": len(seen) <= 1 + lost[task.pk] and task.losses <= lost[task.pk],
            "was claimed once, and once after each crash": moves[task.pk, "running"]
            == 1 + lost[task.pk] + unheard[task.pk],
        }
        wrong = [fact for fact, holds in facts.items() if not holds]
        if wrong:
            verdict.problems.append(f"task {task.uuid}: not so: {wrong}; losses {task.losses}, runs {seen}")
    verdict.problems += log_holes()
    verdict.problems += trails.overlapping(runs)
    verdict.problems += trails.exceeded(runs, lambda run: groups[run.uuid][0], lambda run: groups[run.uuid][1])
    most = trails.most_at_once(runs, lambda run: groups[run.uuid][0])
    for limit in LIMITS[1:]:
        reached = max((count for key, count in most.items() if str(key).startswith(f"{limit}:")), default=0)
        verdict.figures[f"most_at_once_of_limit_{limit}"] = reached
    verdict.figures |= {
        "tasks": len(groups),
        "runs": len(runs),
        "runs_cut_off": sum(not run.ended for run in runs),
        "losses": sum(lost.values()),
        "claims_unheard": sum(unheard.values()),
    }
    return verdict


def log_holes() -> list[str]:
    """A line for each task whose log entries are not numbered 1, 2, 3 … up to its count."""
    numbers: dict[int, list[int]] = {}
    for pk, seq in TaskLog.objects.order_by("task_id", "seq").values_list("task_id", "seq"):
        numbers.setdefault(pk, []).append(seq)
    return [
        f"task {pk} counts {count} log entries and has {numbers.get(pk, [])}"
        for pk, count in Task.objects.values_list("pk", "log_count")
        if numbers.get(pk, []) != list(range(1, count + 1))
    ]


@contextmanager
def audit() -> Iterator[Any]:
    """Let the database itself count every write of a status: Counter[(task id, status)]."""
    table = Task._meta.db_table
    insert = "INSERT INTO soak_moves (task_id, status) VALUES (NEW.id, NEW.status);"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE soak_moves (task_id bigint, status varchar(10))")
        if connection.vendor == "postgresql":
            cursor.execute(
                f"CREATE FUNCTION soak_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {insert} RETURN NULL; END $$"
            )
            cursor.execute(
                f"CREATE TRIGGER soak_note AFTER UPDATE OF status ON {table} FOR EACH ROW EXECUTE FUNCTION soak_note()"
            )
        else:
            cursor.execute(f"CREATE TRIGGER soak_note AFTER UPDATE OF status ON {table} BEGIN {insert} END")

    def moves() -> Counter[tuple[int, str]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT task_id, status FROM soak_moves")
            return Counter(cursor.fetchall())

    try:
        yield moves
    finally:
        with connection.cursor() as cursor:
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER soak_note{on}")
            if connection.vendor == "postgresql":
                cursor.execute("DROP FUNCTION soak_note()")
            cursor.execute("DROP TABLE soak_moves")
