"""Exceptions as text."""

from __future__ import annotations

import pytest

from django_tasker import json_values
from django_tasker.errors import InvalidTask
from django_tasker.tracebacks import MAX_MESSAGE_CHARACTERS, MAX_TRACEBACK_CHARACTERS, error_of

pytestmark = pytest.mark.sqlite_only


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def caught(raise_it) -> BaseException:
    try:
        raise_it()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raising(exception: BaseException):
    def raise_it() -> None:
        raise exception

    return raise_it


def test_an_error_has_type_message_and_traceback():
    error = error_of(caught(raising(ValueError("bad"))))

    assert (error["type"], error["message"]) == ("ValueError", "bad")
    assert error["traceback"].endswith("ValueError: bad\n")


def test_the_type_is_qualified():
    assert error_of(Unprintable())["type"] == f"{__name__}.Unprintable"


def test_an_exception_that_can_not_be_printed_does_no_harm():
    error = error_of(caught(raising(Unprintable())))

    assert "could not be made: ValueError" in error["message"]
    assert "Unprintable" in error["traceback"]


def test_long_texts_are_bounded():
    error = error_of(caught(raising(ValueError("x" * 1_000_000))))

    assert len(error["message"]) < MAX_MESSAGE_CHARACTERS + 100
    assert len(error["traceback"]) < MAX_TRACEBACK_CHARACTERS + 100


def test_what_can_not_be_stored_is_escaped():
    error = error_of(caught(raising(ValueError("\0 \udcff"))))

    json_values.dumps(error)
    assert error["message"] == "\\x00 \\udcff"


def test_causes_and_groups_are_told():
    def raise_it() -> None:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise ExceptionGroup("several", [ValueError("one"), TypeError("two")]) from cause

    text = error_of(caught(raise_it))["traceback"]

    assert all(part in text for part in ("KeyError: 'cause'", "direct cause", "ValueError: one", "TypeError: two"))


def test_a_deep_recursion_keeps_its_end():
    def recurse(n: int) -> None:
        recurse(n + 1)

    error = error_of(caught(lambda: recurse(0)))

    assert error["type"] == "RecursionError"
    assert len(error["traceback"]) < MAX_TRACEBACK_CHARACTERS


def test_our_own_frames_on_top_are_left_out():
    error = error_of(caught(lambda: json_values.dumps(float("nan"))))
    ours_only = error_of(caught(lambda: json_values.dumps(object())).with_traceback(None))

    assert "json_values" in error["traceback"]  # called by others: it stays
    assert ours_only["type"] == f"{InvalidTask.__module__}.InvalidTask"
