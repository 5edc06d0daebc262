"""Ids that appear late are found, each once, whatever the order of the commits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_tasker.listening import gaps
from django_tasker.listening.gaps import Gaps

pytestmark = pytest.mark.sqlite_only


def read(noted: Gaps, last: int, visible: set[int]) -> tuple[list[int], int]:
    """What a reader does with one look: the ids it takes, and its new place."""
    taken = []
    wanted = noted.ranges(now=0)
    for found in sorted(visible):
        if found > last:
            noted.note(last + 1, found - 1, now=0)
            last = found
        elif any(first <= found <= until for first, until in wanted):
            noted.fill(found)
        else:
            continue
        taken.append(found)
    return taken, last


@given(st.permutations(range(1, 30)), st.lists(st.integers(0, 29), max_size=10))
def test_every_id_is_taken_once(order, looks):
    noted, last, taken = Gaps(), 0, []

    for until in [*sorted(looks), len(order)]:
        more, last = read(noted, last, set(order[:until]))
        taken += more

    assert sorted(taken) == list(range(1, 30))


def test_gaps_are_forgotten_after_a_while():
    noted = Gaps()
    noted.note(1, 5, now=0)

    assert noted.ranges(now=gaps.KEEP_SECONDS - 1) == [(1, 5)]
    assert noted.ranges(now=gaps.KEEP_SECONDS + 1) == []


def test_memory_is_bounded():
    noted = Gaps()

    for number in range(1000):
        noted.note(number * 100_000, number * 100_000 + 90_000, now=0)

    ranges = noted.ranges(now=0)
    assert len(ranges) == gaps.MAX_RANGES
    assert ranges[-1] == (999 * 100_000 + 90_000 - gaps.MAX_IDS + 1, 999 * 100_000 + 90_000)


def test_no_gap_is_noted_as_none():
    noted = Gaps()

    noted.note(5, 4, now=0)

    assert noted.ranges(now=0) == []
