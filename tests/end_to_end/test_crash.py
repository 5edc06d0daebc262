"""Workers and children are killed in the midst of work: nothing is lost, nothing ends twice, no limit is exceeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import crashes

pytestmark = [pytest.mark.end_to_end]


def test_killed_workers_and_children_lose_nothing_and_exceed_nothing(database_url: str, tmp_path: Path) -> None:
    """The short form of `make soak`."""
    plan = crashes.Plan(
        tasks=300, worker_kills=3, child_kills=5, disconnects=4, keys=2, seconds=(0.05, 0.15), patience=90
    )

    verdict = crashes.run(database_url, tmp_path, plan)

    assert verdict.problems == []
    assert (verdict.figures["workers_killed"], verdict.figures["children_killed"]) == (3, 5)
    assert verdict.figures["losses"] >= 5
    assert verdict.figures["most_at_once_of_limit_2"] > 1
