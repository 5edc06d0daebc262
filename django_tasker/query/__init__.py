"""The query language: one JSON object that says which tasks are meant, the same for every door and database.

`parse` checks it and returns a tree; `to_q` and `to_predicate` ask the tree's question of the database and of one
task in memory, with the same answer. Nothing here knows rows.
"""

from __future__ import annotations

from .dump import dump
from .nodes import Node, equalities, fields_of
from .parse import parse
from .predicate import to_predicate
from .q import sort_keys, to_q

__all__ = ["Node", "dump", "equalities", "fields_of", "parse", "sort_keys", "to_predicate", "to_q"]
