"""Random worlds for admission: rows, conditions and slots, as hypothesis strategies."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from hypothesis import strategies as st

OPERATIONS = ("a", "b", "c")

priorities = st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 2.5, math.inf, -math.inf])
keys = st.integers(0, 3)
data = st.fixed_dictionaries({"key": keys, "kind": st.sampled_from(["read", "write"])})

queries = st.one_of(
    st.just({"data.key": {"$ref": "data.key"}}),
    st.just({"data.key": {"$ref": "data.key"}, "operation": {"$ref": "operation"}}),
    st.builds(lambda key: {"data.key": key}, keys),
    st.builds(lambda kind: {"data.kind": kind}, st.sampled_from(["read", "write"])),
    st.just({}),
    st.builds(lambda operation: {"operation": operation}, st.sampled_from(OPERATIONS)),
    st.builds(lambda key: {"data.key": {"$gte": key}}, keys),
    st.just({"$or": [{"data.key": 0}, {"operation": "b"}]}),
    st.just({"data.key": {"$ne": {"$ref": "data.key"}}}),
    st.just({"priority": {"$lt": 1}}),
    st.just({"attempt": {"$gt": 0}}),
)
conditions = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(["running", "running", "queued_before", "active"]),
        "query": queries,
        "limit": st.integers(0, 3),
    }
)
# Few distinct lists, so that tasks share lanes as they do in life.
lists = st.lists(conditions, max_size=3)


@st.composite
def tasks(draw: st.DrawFn, max_size: int = 40) -> list[dict[str, Any]]:
    shared = draw(st.lists(lists, min_size=1, max_size=4))
    task = st.fixed_dictionaries(
        {
            "operation": st.sampled_from(OPERATIONS),
            "data": data,
            "priority": priorities,
            "concurrency": st.sampled_from(shared),
            "later": st.sampled_from([False, False, False, True]),
            "running": st.sampled_from([False, False, False, True]),
        }
    )
    return draw(st.lists(task, min_size=1, max_size=max_size))


free = st.fixed_dictionaries({operation: st.integers(0, 6) for operation in OPERATIONS})
limits = st.one_of(st.integers(1, 5), st.integers(1, 50))


SAME = {"data.key": {"$ref": "data.key"}}
# Answered by keys, by keys and reading, or by reading alone.
OF_QUEUE: list[dict[str, Any]] = [
    SAME,
    SAME,
    {**SAME, "data.kind": "write"},
    {**SAME, "data.kind": "write"},
    {**SAME, "data.kind": {"$ne": "read"}},
    {**SAME, "priority": {"$lte": 0}},
    {"$and": [{"data.kind": "write"}, SAME]},
    {"operation": "b"},
    {"operation": {"$ref": "operation"}, "data.more": {"$exists": True}},
    {"data.more": 1},
    {"data.more": True},
    {"data.more": [1]},
    {"data.more": {"a": 1.0}},
    {"data.more": None},
    {"data.key": {"$gte": 2}},
    {"$or": [{"data.key": 0}, {"operation": "b"}]},
    {"run_at": None, "data.kind": "read"},
    {},
]
MORE: list[Any] = [None, 1, 1.0, True, "1", [1.0], {"a": 1}]


def crowded(choose: Random) -> list[dict[str, Any]]:
    """A world of crowds, in which most conditions look at the queue; many tasks carry none, or one of `running`."""

    def condition() -> dict[str, Any]:
        scope = choose.choice(["running", "queued_before", "queued_before", "active"])
        return {"scope": scope, "query": choose.choice(OF_QUEUE), "limit": choose.choice([0, 0, 0, 1, 2, 6])}

    shared: list[list[dict[str, Any]]] = [[condition() for _ in range(choose.randint(1, 3))] for _ in range(3)]
    shared += [[], [{"scope": "running", "query": choose.choice([SAME, {"operation": "a"}, {}]), "limit": 0}]]
    priorities = choose.choice([[0.0], [0.0, 0.0, 0.0, 1.0, -1.0], [0.0, math.inf, -math.inf]])
    found = []
    for _ in range(choose.randint(10, 70)):
        more = {"more": choose.choice(MORE)} if choose.random() < 0.3 else {}
        task = {
            "operation": choose.choice(OPERATIONS),
            "data": {"key": choose.randrange(3), "kind": choose.choice(["read", "read", "write"]), **more},
            "priority": choose.choice(priorities),
            "concurrency": choose.choice(shared),
            "later": choose.random() < 0.1,
            "running": choose.random() < 0.1,
        }
        found.append(task)
    return found
