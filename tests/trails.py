"""What runners wrote down of their own runs (`leave-trail`), read back and judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Seen:
    """One run: `last` is its end, or the last sign of life when it was killed. Nanoseconds of one clock."""

    uuid: str
    attempt: int
    pid: int
    start: int
    last: int
    ended: bool = False


def read(path: Path) -> list[Seen]:
    """All runs, in order of their start. A process makes one run at a time, so its lines belong together."""
    runs: list[Seen] = []
    current: dict[int, Seen] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        what, uuid, attempt, pid, at = line.split()
        if what == "start":
            current[int(pid)] = Seen(uuid, int(attempt), int(pid), int(at), int(at))
            runs.append(current[int(pid)])
            continue
        run = current[int(pid)]
        assert (run.uuid, run.attempt) == (uuid, int(attempt)), f"two runs at a time in process {pid}"
        run.last, run.ended = int(at), what == "end"
    return sorted(runs, key=lambda run: run.start)


def by_task(runs: Iterable[Seen]) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = defaultdict(list)
    for run in runs:
        found[run.uuid].append(run)
    return found


def exceeded(runs: Iterable[Seen], group: Callable[[Seen], Hashable], limit: Callable[[Seen], int | None]) -> list[str]:
    """A line for each run that started while more than its limit of other runs of its group were going on."""
    found: list[str] = []
    going: dict[Hashable, list[Seen]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.start):
        key, most = group(run), limit(run)
        others = [other for other in going[key] if other.last > run.start]
        if most is not None and len(others) > most:
            found.append(f"{run.uuid} started beside {[other.uuid for other in others]} of {key}; limit {most}")
        going[key] = [*others, run]
    return found


def overlapping(runs: Iterable[Seen]) -> list[str]:
    """A line for each run of a task that began while another run of the same task was going on."""
    return exceeded(runs, lambda run: run.uuid, lambda run: 0)


def most_at_once(runs: Iterable[Seen], group: Callable[[Seen], Hashable]) -> Mapping[Hashable, int]:
    """The largest number of runs of each group that went on at the same time: a test of limits must reach them."""
    most: dict[Hashable, int] = defaultdict(int)
    going: dict[Hashable, list[Seen]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.start):
        key = group(run)
        going[key] = [*(other for other in going[key] if other.last > run.start), run]
        most[key] = max(most[key], len(going[key]))
    return most
