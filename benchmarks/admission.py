#!/usr/bin/env python
"""Measures how fast new tasks are chosen and claimed, and that a long queue costs no more than a short one.

    python benchmarks/admission.py [--quick] [--sizes 1000,500000] [--worlds none,full] [--databases sqlite] [--plans]

Each world is filled anew, then one and two claimants (processes) run passes. What they claim stays running for the
length of a pass and is then ended and replaced by as many new tasks, so that the queue keeps its length; only the
passes are timed. PostgreSQL: --postgresql names a database that is made anew and dropped at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import admission_worlds as worlds  # noqa: E402

POSTGRESQL = "postgresql://postgres@127.0.0.1:5432/bench_admission"


@dataclass
class Figures:
    """What one claimant measured."""

    claimed: int = 0
    seconds: float = 0.0
    passes: int = 0
    median_ms: float = 0.0
    quiet_ms: float = 0.0  # the tenth percentile: what a pass costs when nothing else runs
    cpu_ms: float = 0.0  # of the claimant's own process, for a pass
    clearing_passes: int = 0  # passes that only moved a crowd out of the way
    clearing_seconds: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,50000,500000")
    parser.add_argument("--worlds", default=",".join(worlds.WORLDS), help="a part of %(default)s")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--batch", type=int, default=100, help="tasks claimed in a pass")
    parser.add_argument("--seconds", type=float, default=5.0, help="of passes, for each figure")
    parser.add_argument("--postgresql", default=os.environ.get("BENCH_POSTGRESQL", POSTGRESQL))
    parser.add_argument("--plans", action="store_true", help="print the plans of the hot queries too")
    parser.add_argument("--quick", action="store_true", help="a few seconds in all: small sizes, short runs")
    args = parser.parse_args()
    if args.quick:
        args.sizes, args.seconds = "1000,5000", 0.3
    head = f"{'database':<11}{'world':<12}{'waiting':>8}{'workers':>8}"
    print(f"{head}{'claims/s':>10}{'ms/pass':>9}{'quiet':>8}{'cpu':>7}  clearing")
    with tempfile.TemporaryDirectory(prefix="tasker-bench-") as folder:
        worlds.set_up(Path(folder), args.postgresql)
        for alias in args.databases.split(","):
            with worlds.made(alias):
                for world in args.worlds.split(","):
                    for size in map(int, args.sizes.split(",")):
                        measure(alias, world, size, args)
    return 0


def measure(alias: str, world: str, size: int, args: argparse.Namespace) -> None:
    for workers in map(int, args.workers.split(",")):
        worlds.fill(alias, world, size)
        found = run_claimants(alias, world, workers, args)
        rate = sum(figures.claimed / figures.seconds for figures in found if figures.seconds)
        clearing = sum(figures.clearing_passes for figures in found)
        seconds = max(figures.clearing_seconds for figures in found)
        median, quiet, cpu = (
            statistics.mean(x) for x in zip(*((f.median_ms, f.quiet_ms, f.cpu_ms) for f in found), strict=True)
        )
        print(
            f"{alias:<11}{world:<12}{size:>8}{workers:>8}{rate:>10.0f}{median:>9.2f}{quiet:>8.2f}{cpu:>7.2f}"
            + (f"  {clearing} passes, {seconds:.1f} s" if clearing else ""),
            flush=True,
        )
    if args.plans:
        worlds.print_plans(alias)


def run_claimants(alias: str, world: str, workers: int, args: argparse.Namespace) -> list[Figures]:
    context = multiprocessing.get_context("fork")  # the parent holds no connection then
    results: Any = context.SimpleQueue()
    worlds.close_connections()
    processes = [
        context.Process(target=claim, args=(alias, world, number, args.batch, args.seconds, results))
        for number in range(1, workers + 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a claimant failed")
    return [results.get() for _ in processes]


def claim(alias: str, world: str, number: int, batch: int, seconds: float, results: Any) -> None:
    """One claimant's life: passes with the ends and arrivals between them."""
    from django_tasker.admission import Admission, Claimant

    admission = Admission(alias, Claimant(number, f"claimant {number}"))
    running: deque[list[int]] = deque()
    figures, times, cpu = Figures(), [], 0.0
    arrivals = worlds.Arrivals(alias, world, seed=number)
    deadline = time.perf_counter() + 60 + 20 * seconds
    while figures.seconds < seconds and time.perf_counter() < deadline:
        before, cpu_before = time.perf_counter(), time.process_time()
        result = admission.run_pass({"any": batch}, batch)
        took, used = time.perf_counter() - before, time.process_time() - cpu_before
        if not result.claimed and result.unfinished:
            figures.clearing_passes += 1
            figures.clearing_seconds += took
            continue
        if figures.passes >= 5 or not result.claimed:  # the first ones warm caches and prepare statements
            times.append(took)
            cpu += used
            figures.seconds += took
            figures.claimed += len(result.claimed)
        figures.passes += 1
        if figures.passes == 5 and figures.clearing_passes:
            vacuum(alias)
        running.append([row.id for row in result.claimed])
        arrivals.add(len(result.claimed))
        if len(running) > 1:
            worlds.end(alias, running.popleft())
    figures.median_ms = 1000 * statistics.median(times)
    figures.quiet_ms = 1000 * sorted(times)[len(times) // 10]
    figures.cpu_ms = 1000 * cpu / len(times)
    results.put(figures)


def vacuum(alias: str) -> None:
    """What autovacuum does within a minute of the move: the moved rows' dead entries leave the head of the index."""
    from django.db import connections

    if connections[alias].vendor == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute("VACUUM django_tasker_task")


if __name__ == "__main__":
    sys.exit(main())
