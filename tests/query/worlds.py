"""Hypothesis strategies: tasks whose values are apt to be confused, and queries that ask for them.

All draw from small pools, so that queries hit: numbers that meet in a double, strings that collations fold, keys that
paths, SQL, JSON or Django could read as something else.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from django_tasker.models import Task
from tests.query.conftest import new_task

NUMBERS = [
    *(0, 1, -1, 2, 7, 1.0, -0.0, 0.1, 0.30000000000000004, 1.5, -1.5, 1e-7, 5e-324, 1.7976931348623157e308),
    *(2**53 - 1, 2**53, 2**53 + 1, float(2**53), 10**15, 1e15, 10**16, 1e16, 1e16 + 2, 10**16 + 1, -(10**16), -1e16),
    *(2**62, 2.0**62, 4611686018427388000, 2**63 - 1, 2.0**63, -(2**63 - 1), 1e20, 1e300, -1e300, 1700000000.123456),
]
STRINGS = [
    *(
        "",
        " ",
        "a",
        "A",
        "a ",
        " a",
        "ab",
        "aB",
        "b",
        "á",
        "a\u0301",
        "é",
        "É",
        "ß",
        "ss",
        "İ",
        "i",
        "I",
        "K",
        "\u212a",
    ),
    *("😀", "😀a", "\ue000", "\uffee", "\U00010000", "1", "1.0", "01", "true", "null", "[1]", "{}", "Infinity", "NaN"),
    *('"', 'q"q', "\\", "b\\s", "\\u0041", "'", "''", "%", "%s", "_", "a_b", "a%b", "\n", "a\n", "\t", "\x01", "\x7f"),
    *("2030-01-01", "2030-01-01T00:00:00+00:00", "12345678-1234-5678-1234-567812345678", "$x", "*", "-- ", "?"),
]
KEYS = [
    *(
        "a",
        "b",
        "A",
        "a ",
        "a b",
        'q"q',
        "b\\s",
        "'",
        "%",
        "%s",
        "%(x)s",
        "-",
        "--",
        "-a",
        "a__gt",
        "pk",
        "$x",
        "$",
        "*",
        "[0]",
        "[*]",
    ),
    *(
        "-",
        "-a",
        "é",
        "e\u0301",
        "😀",
        "0",
        "1",
        "01",
        "-1",
        "+1",
        " 0",
        "last",
        "\n",
        "\x7f",
        "?",
        "{}",
        "{0}",
        "--",
        "null",
    ),
]
ODD_KEYS = ["", "a.b", ".", "$.a"]  # no path leads there, but they may lie about
PATTERNS = [
    *(
        "a",
        "^a",
        "a$",
        "^a$",
        "^$",
        "",
        ".",
        "^.$",
        "^..$",
        "[a-c]",
        "[^a]",
        r"\d",
        r"^\d+$",
        r"\w",
        r"^\W$",
        r"\s",
        r"\S",
    ),
    *(
        "a|b",
        "(a|b)+",
        "(?:a|é)b?",
        "é",
        "😀",
        "[à-ü]",
        "[😀é]",
        "a{2}",
        "a{0,2}b",
        "a{1,}",
        "a+?",
        r"\\",
        r"\"",
        "%",
        "_",
    ),
    *(r"\.", r"\[1\]", "^(|a)b$", r"[\]\-a]", r"[\w ]+", "(a*)*b", r"\$x", "'", r"\{\}", "-- ", "#", "[a-]", "[&~]"),
]
UUIDS = [UUID(int=1), UUID("12345678-1234-5678-1234-567812345678"), UUID(int=2**128 - 1), UUID(int=2**127)]
TIMES = [
    datetime(2030, 1, 1, tzinfo=UTC),
    datetime(2030, 1, 1, microsecond=1, tzinfo=UTC),
    datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    datetime(2030, 1, 1, 12, 30, 15, 500_000, tzinfo=UTC),
    datetime(2029, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-5))),
]
PRIORITIES = [float("-inf"), -10.0, -0.0, 0.0, 0.1, 5.0, 1e300, float("inf")]
STATUSES = ["new", "running", "done", "failed", "aborted"]


def any_of(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """one_of, but opaque: hypothesis spells out the whole of nested strategies at length."""

    @st.composite
    def chosen(draw: st.DrawFn) -> Any:
        return draw(strategies[draw(st.integers(0, len(strategies) - 1))])

    return chosen()


numbers = st.sampled_from(NUMBERS) | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False)
strings = st.sampled_from(STRINGS)
scalars = any_of(st.none(), st.booleans(), numbers, strings, strings)
keys = st.sampled_from(KEYS)
documents = any_of(
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(keys | st.sampled_from(ODD_KEYS), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
objects = st.dictionaries(keys, documents, max_size=4)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    status = draw(st.sampled_from(STATUSES))
    return new_task(
        data=draw(objects | objects | documents),
        result=draw(documents),
        error=draw(st.none() | objects),
        operation=draw(strings),
        queue=draw(strings),
        status=status,
        priority=draw(st.sampled_from(PRIORITIES)),
        attempt=draw(st.integers(0, 2)),
        run_timeout=draw(st.sampled_from([None, 0.1, 1.0, 2.5])),
        unique_key=draw(st.none() | strings),
        abort_reason=draw(st.none() | strings),
        added_by=draw(st.none() | strings),
        concurrency=draw(documents.filter(lambda document: document is not None)),
        queue_timeout=draw(st.none() | objects),
        run_at=draw(st.none() | st.sampled_from(TIMES)),
        added_at=draw(st.sampled_from(TIMES)),
        expires_at=draw(st.none() | st.sampled_from(TIMES)),
    )


@st.composite
def paths(draw: st.DrawFn) -> str:
    column = draw(st.sampled_from(["data", "data", "data", "result", "error"]))
    return ".".join([column, *draw(st.lists(keys, max_size=2))])


def as_value(document: Any) -> Any:
    """How to ask for equality with a document: as it is, unless it looks like operators."""
    looks_like_operators = isinstance(document, dict) and any(key.startswith("$") for key in document)
    return {"$eq": document} if looks_like_operators else document


def in_lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {}, optional={"$in": st.lists(values, max_size=4), "$nin": st.lists(values, max_size=3)}
    )


def operators(values: st.SearchStrategy[Any], names: str) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), values))


exists = st.booleans().map(lambda value: {"$exists": value})
regexes = st.sampled_from(PATTERNS).map(lambda pattern: {"$regex": pattern})
regexes_i = st.sampled_from(PATTERNS).map(lambda pattern: {"$regex": pattern, "$options": "i"})
text_tests = any_of(
    operators(strings, "$gt $gte $lt $lte"), operators(strings, "$contains $startswith"), regexes, regexes_i
)
json_tests = any_of(
    operators(documents, "$eq $ne"),
    in_lists(documents),
    operators(numbers, "$gt $gte $lt $lte"),
    operators(documents, "$contains"),
    text_tests,
    exists,
)


def of_column(name: str, values: st.SearchStrategy[Any], tests: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    values = st.none() | values
    equality = any_of(values, operators(values, "$eq $ne"), in_lists(values), exists)
    test = (equality | tests).map(lambda test: test if test != {} else {"$exists": True})
    return st.tuples(st.just(name), test).map(lambda pair: {pair[0]: pair[1]})


def _ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return operators(values, "$gt $gte $lt $lte")


leaf_queries = any_of(
    *(
        st.tuples(
            paths(),
            documents.map(as_value) | json_tests | json_tests.map(lambda test: {"$not": test or {"$exists": True}}),
        ).map(lambda pair: {pair[0]: pair[1]})
        for _ in range(4)
    ),
    of_column("operation", strings, text_tests),
    of_column("unique_key", strings, text_tests),
    of_column("abort_reason", strings, text_tests),
    of_column("added_by", strings, text_tests),
    st.tuples(st.sampled_from(["concurrency", "queue_timeout"]), documents.map(as_value) | json_tests).map(
        lambda pair: {pair[0]: pair[1]}
    ),
    of_column("status", st.sampled_from(STATUSES), exists),
    of_column("priority", st.sampled_from(PRIORITIES), _ranges(st.sampled_from(PRIORITIES))),
    of_column("attempt", st.integers(-1, 3) | st.just(2**40), _ranges(st.integers(-1, 3))),
    of_column("run_timeout", st.sampled_from([0.1, 1, 2.5]), _ranges(st.sampled_from([0.1, 1, 2.5]))),
    of_column("run_at", st.sampled_from(TIMES), _ranges(st.sampled_from(TIMES))),
    of_column("expires_at", st.sampled_from(TIMES), _ranges(st.sampled_from(TIMES))),
    of_column("added_at", st.sampled_from(TIMES).map(datetime.isoformat), _ranges(st.sampled_from(TIMES))),
    of_column("uuid", st.sampled_from(UUIDS) | st.sampled_from(UUIDS).map(str), exists),
)
queries = st.recursive(
    leaf_queries,
    lambda inner: any_of(
        st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        inner.map(lambda query: {"$not": query}),
        st.tuples(inner, inner).map(lambda pair: {**pair[0], **pair[1]}),
    ),
    max_leaves=4,
)
