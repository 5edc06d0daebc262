"""The portable patterns: what they translate to, and that every database finds the same with them."""

from __future__ import annotations

import re

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from django_tasker.errors import InvalidQuery
from django_tasker.models import Task
from django_tasker.query import parse, to_predicate, to_q
from django_tasker.query.regex import translate
from tests.query.conftest import new_task


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("pattern", "portable"),
    [
        ("", "(?:)"),
        ("a.b", "a[^\n]b"),
        ("^a$", r"\Aa\Z"),
        (r"\d\D", "[0-9][^0-9]"),
        (r"[\d_]", "[0-9_]"),
        ("(a|)", "(?:a|(?:))"),
        ("a+?", "a+"),
        ("a{2,}", "a{2,}"),
        (r"\.", r"\."),
        (r"(\\A)+", r"(?:\\A)+"),
    ],
)
def test_patterns_are_spelled_out(pattern, portable):
    assert translate(pattern) == portable


@pytest.mark.sqlite_only
def test_ignoring_case_spells_out_ascii_letters():
    assert translate("aß[b-d]", ignore_case=True) == "[aA]ß[b-dB-D]"


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(",
            ")",
            "a)",
            "[",
            "[]",
            "[z-a]",
            "[[a]]",
            "[[:alpha:]]",
            "*",
            "a**",
            "a++",
            "a*+",
            "{",
            "a{",
            "a{2",
            "a{,2}",
        ),
        *("a{256}", "a{3,2}", "^*", "(^)*", "()*", "(?i)a", "(?=a)", "(?!a)", "(?<=a)", "(?P<n>a)", "(?#c)", r"(a)\1"),
        *(r"\b", r"\B", r"\A", r"\Z", r"\p{L}", r"\x41", r"\é", "\\", r"[\W]", "(a{255}){255}", "(" * 30 + ")" * 30),
        *("a" * 1_001, "(?", "(?:", "[a", "[a-", "[^]"),
    ],
)
def test_what_engines_read_differently_is_refused(pattern):
    with pytest.raises(InvalidQuery):
        translate(pattern)


characters = st.sampled_from(
    [*"aAbB19_ -.*$^[](){}|\\%'\"#&~:?+,/é\né😀K\u212a\u017f\u0131\u0130\t\r\x01\x7f\u2028\x85"]
)
texts = st.text(characters, max_size=5)
atoms = st.one_of(
    characters.map(lambda char: re.escape(char) if char.isascii() and char.isprintable() else char),
    st.sampled_from(
        [".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[a-z]", "[^a]", r"[\w.]", "[A-b]", "[à-ž😀]", "^", "$"]
    ),
)
quantifiers = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,1}", "{1,}", "*?"])
patterns = st.recursive(
    st.tuples(atoms, quantifiers).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, max_size=3).map("|".join),
        st.tuples(inner, quantifiers).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=5,
)


def is_portable(pattern: str) -> bool:
    try:
        translate(pattern)
    except InvalidQuery:
        return False
    return True


@pytest.mark.django_db
@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(texts, min_size=12, max_size=12), st.lists(patterns.filter(is_portable), min_size=8, max_size=8))
def test_a_pattern_finds_the_same_everywhere(values, wanted):
    with transaction.atomic():
        Task.objects.bulk_create([new_task(data={"a": value}, abort_reason=value) for value in values])
        tasks = list(Task.objects.order_by("id"))
        for index, pattern in enumerate(wanted):
            for name in ("data.a", "abort_reason"):
                node = parse({name: {"$regex": pattern, "$options": "i" if index % 2 else ""}})
                by_q = list(Task.objects.filter(to_q(node)).order_by("id"))
                assert by_q == list(filter(to_predicate(node), tasks)), node
        transaction.set_rollback(True)
