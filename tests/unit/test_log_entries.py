"""Records of every sort as entries that can be stored."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_tasker import json_values
from django_tasker.log_entries import MAX_MESSAGE_CHARACTERS, entry_of

pytestmark = pytest.mark.sqlite_only


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


def record(message, /, *args, **attributes) -> logging.LogRecord:
    made = logging.LogRecord("some.logger", logging.INFO, __file__, 1, message, args, None)
    vars(made).update(attributes)
    return made


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("plain", (), "plain"),
        ("%s is %d", ("x", 3), "x is 3"),
        ("100%", (), "100%"),
        (b"\xff\xfe", (), "b'\\xff\\xfe'"),
        (None, (), "None"),
        ("NUL \0", (), "NUL \\x00"),
        ("surrogate \udcff", (), "surrogate \\udcff"),
        ("%d", ("x",), "%d (its arguments ('x',) don't fit: TypeError)"),
        ("%s", (1, 2), "%s (its arguments (1, 2) don't fit: TypeError)"),
    ],
)
def test_messages(message, args, expected):
    assert entry_of(record(message, *args)).message == expected


@pytest.mark.parametrize("made", [record(Unprintable()), record("%s", Unprintable()), record("%d", Unprintable())])
def test_what_can_not_be_printed_is_named(made):
    assert "that can't be printed" in entry_of(made).message


def test_a_very_long_message_is_cut_and_says_so():
    entry = entry_of(record("x" * 100_000_000))

    assert entry.message.startswith("x" * MAX_MESSAGE_CHARACTERS + "… (99,900,000")
    assert entry.size < MAX_MESSAGE_CHARACTERS + 100


def test_an_exception_becomes_a_traceback():
    made = record("failed")
    try:
        raise KeyError("lost \0")
    except KeyError:
        made.exc_info = sys.exc_info()

    entry = entry_of(made)

    assert entry.traceback.startswith("Traceback (most recent call last):")
    assert "KeyError: 'lost \\x00'" in entry.traceback
    assert entry.size > len(entry.traceback)


def test_exception_info_without_exception_is_none():
    made = record("failed")
    made.exc_info = (None, None, None)

    assert entry_of(made).traceback is None


def test_a_stack_is_kept():
    assert entry_of(record("here", stack_info="Stack (most recent call last):")).traceback.startswith("Stack")


def test_a_plain_record_has_no_extra():
    made = record("plain", message="plain", asctime="now", taskName="t")  # a formatter was here

    assert entry_of(made).extra is None


def test_extra_is_kept_as_json():
    entry = entry_of(record("x", user={"id": 7}, n=float("nan"), it=Unprintable(), s="\0", kind=dict))

    assert entry.extra["user"] == {"id": 7}
    assert entry.extra["n"] == "nan"
    assert entry.extra["s"] == "\\x00"
    assert entry.extra["kind"] == "<class 'dict'>"
    assert "can't be printed" in entry.extra["it"]


def test_too_much_extra_is_left_out():
    entry = entry_of(record("x", **{f"key{number}": "v" * 1000 for number in range(100)}))

    assert entry.extra["…"] == "more was left out"
    assert len(entry.extra) < 15 and entry.size < 11_000


@given(message=st.one_of(st.text(), st.binary(), st.integers()), args=st.lists(st.one_of(st.text(), st.integers())))
def test_whatever_is_logged_can_be_stored(message, args):
    entry = entry_of(record(message, *args, odd=args))

    json_values.check_text(entry.message, "message")
    json_values.dumps(entry.extra)
    assert json.dumps(entry.extra)
