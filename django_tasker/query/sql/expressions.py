"""Django expressions that write a leaf, or a key to sort by, in the SQL of the connection's database."""

from __future__ import annotations

from typing import Any

from django.db import NotSupportedError
from django.db.models import BinaryField, BooleanField, DecimalField, Expression, F, Field, IntegerField, TextField
from django.db.models.sql.compiler import SQLCompiler

from ..nodes import Leaf, Target
from .dialect import Dialect
from .fragments import Fragment
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite


def dialect(connection: Any) -> Dialect:
    """Return the SQL of a connection's database."""
    if connection.vendor == "postgresql":
        return PostgreSQL()
    if connection.vendor == "sqlite":
        return SQLite()
    if connection.vendor == "mysql":
        return MySQL(is_mariadb=connection.mysql_is_mariadb)
    raise NotSupportedError(f"Queries on tasks need PostgreSQL, SQLite, MySQL or MariaDB, not {connection.vendor}.")


class OnColumn(Expression):
    """Something computed from one column of the task."""

    def __init__(self, target: Target, output_field: Field[Any, Any]) -> None:
        super().__init__(output_field=output_field)
        self.target = target
        self._column: Any = F(target.column)

    def get_source_expressions(self) -> list[Any]:
        return [self._column]

    def set_source_expressions(self, exprs: Any) -> None:
        (self._column,) = exprs

    def as_sql(self, compiler: SQLCompiler, connection: Any, **_extra: Any) -> tuple[str, tuple[Any, ...]]:
        text, params = compiler.compile(self._column)
        found = self.write(dialect(connection), Fragment(text, tuple(params)))
        return found.text, found.params

    def write(self, dialect: Dialect, column: Fragment) -> Fragment:
        raise NotImplementedError


class LeafMatch(OnColumn):
    """Whether a leaf on a text or JSON column holds: true or false, never NULL."""

    conditional = True

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf.target, BooleanField())
        self.leaf = leaf

    def write(self, dialect: Dialect, column: Fragment) -> Fragment:
        return dialect.leaf(self.leaf, column)


class TextSortKey(OnColumn):
    """A text column by code points, whatever its collation."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, TextField())

    def write(self, dialect: Dialect, column: Fragment) -> Fragment:
        return dialect.text_sort_key(column)


class JsonSortKey(OnColumn):
    """One of the three keys of a JSON value: its type, its number, its string."""

    _FIELDS = (IntegerField, DecimalField, BinaryField)

    def __init__(self, target: Target, key: int) -> None:
        super().__init__(target, self._FIELDS[key]())
        self.key = key

    def write(self, dialect: Dialect, column: Fragment) -> Fragment:
        return dialect.json_sort_keys(self.target, column)[self.key]
