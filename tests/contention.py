"""Many tasks over few keys, several worker processes: were limits kept and were writers let through?"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_tasker import tasker
from django_tasker.models import Task
from tests import trails
from tests.crashes import Verdict, log_holes
from tests.waiting import wait_until
from tests.workers import workers

LIMITS = (0, 1, 2)
SET = {"data.set": {"$ref": "data.set"}}

READER = [{"scope": "active", "query": {**SET, "data.role": "writer"}, "limit": 0}]
"""Waits for every writer that runs or was there before it."""

WRITER = [{"scope": "running", "query": SET, "limit": 0}, {"scope": "queued_before", "query": SET, "limit": 0}]
"""Waits for all that run or were there before it."""


@dataclass
class Plan:
    """Tasks over `keys` keys, the limit of a key being fixed; and a tenth of them over `sets` reader/writer sets."""

    tasks: int = 5000
    keys: int = 50
    sets: int = 3
    workers: int = 4
    slots: int = 4
    seconds: tuple[float, float] = (0.0, 0.02)
    patience: float = 900.0
    seed: int = 1


def run(database_url: str, folder: Path, plan: Plan) -> Verdict:
    """Add half of the tasks, start the workers, add the rest while they work, and judge."""
    chance = random.Random(plan.seed)
    rows = [make(number, str(folder / "trail"), plan, chance) for number in range(plan.tasks)]
    half = len(rows) // 2
    tasks = tasker.add_tasks(rows[:half])
    with workers(database_url, plan.workers, "--concurrency", str(plan.slots)) as processes:
        for process in processes:
            process.wait_until_registered()
        started = time.monotonic()
        for start in range(half, len(rows), 50):
            tasks += tasker.add_tasks(rows[start : start + 50])
        wait_until(lambda: not Task.objects.filter(ended_at=None).exists(), plan.patience, interval=0.1)
        seconds = time.monotonic() - started
    verdict = judge(tasks, trails.read(folder / "trail"))
    verdict.figures |= {"workers": plan.workers, "seconds": round(seconds, 1)}
    return verdict


def make(number: int, trail: str, plan: Plan, chance: random.Random) -> dict[str, Any]:
    """The values of one task."""
    data = {"trail": trail, "seconds": chance.uniform(*plan.seconds), "logs": number % 4}
    if number % 10 == 0:
        role = "writer" if chance.random() < 0.2 else "reader"
        data |= {"set": chance.randrange(plan.sets), "role": role}
        return {"operation": "leave-trail", "data": data, "concurrency": WRITER if role == "writer" else READER}
    key = chance.randrange(plan.keys)
    query = {"data.key": {"$ref": "data.key"}}
    condition = {"scope": "running", "query": query, "limit": LIMITS[key % len(LIMITS)]}
    return {"operation": "leave-trail", "data": {**data, "key": key}, "concurrency": [condition]}


def judge(tasks: list[Task], runs: list[trails.Seen]) -> Verdict:
    verdict = Verdict()
    data = {str(task.uuid): task.data for task in tasks}
    times = trails.by_task(runs)
    rows = Task.objects.values_list("uuid", "status", "attempt", "losses", "worker_name")
    for uuid, *state, worker in rows:
        if state != ["done", 1, 0] or len(times[str(uuid)]) != 1:
            verdict.problems.append(f"task {uuid} of {worker}: {state}, {len(times[str(uuid)])} runs")
    verdict.problems += log_holes()

    keyed = [run for run in runs if "key" in data[run.uuid]]
    key = lambda run: data[run.uuid]["key"]  # noqa: E731
    verdict.problems += trails.exceeded(keyed, key, lambda run: LIMITS[key(run) % len(LIMITS)])
    most = trails.most_at_once(keyed, key)
    by_worker: dict[str, int] = defaultdict(int)
    for *_, worker in rows:
        by_worker[worker] += 1
    verdict.figures |= {
        "tasks": len(tasks),
        "tasks_of_workers": sorted(by_worker.values()),
        **{
            f"most_at_once_of_limit_{limit}": max((n for k, n in most.items() if k % len(LIMITS) == limit), default=0)
            for limit in LIMITS
        },
    }
    judge_sets([task for task in tasks if "set" in task.data], times, verdict)
    return verdict


def judge_sets(tasks: list[Task], times: dict[str, list[trails.Seen]], verdict: Verdict) -> None:
    """Writers alone, readers together, nobody before a writer that was there first, and no writer before its turn."""
    sets: dict[int, list[tuple[str, trails.Seen]]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: task.pk):
        sets[task.data["set"]] += [(task.data["role"], run) for run in times[str(task.uuid)]]
    together = 0
    for members in sets.values():
        for place, (role, run) in enumerate(members):
            for other_role, other in members[:place]:
                if "writer" in (role, other_role) and run.start < other.last:
                    verdict.problems.append(f"{role} {run.uuid} did not wait for {other_role} {other.uuid}")
        readers = [run for role, run in members if role == "reader"]
        together = max(together, *trails.most_at_once(readers, lambda run: "").values())
    verdict.figures["readers_together"] = together
