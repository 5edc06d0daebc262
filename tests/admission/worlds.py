"""Random worlds for admission: rows, conditions and slots, as hypothesis strategies."""

from __future__ import annotations

import math
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
