"""Ids of tasks are UUIDs of version 7 that sort by time."""

import time

from django_tasker.uuids import uuid7


def test_it_is_a_uuid_of_version_7_that_tells_its_millisecond():
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= after


def test_later_ones_sort_after_earlier_ones():
    made = []
    for _ in range(50):
        made.append(uuid7())
        time.sleep(0.0005)
    assert made == sorted(made)
    assert [str(each) for each in made] == sorted(str(each) for each in made)


def test_no_two_are_equal():
    assert len({uuid7() for _ in range(20_000)}) == 20_000
