"""Comparing a JSON number with a literal where the database reads it as an integer or as a double.

The rule of the language (see `literals`) is about decimals. For an integer that is its value. A float whose double
is not the literal's double lies on the same side of the literal as its decimal does; for the one float that shares
the double, the answer is known beforehand. So no decimal arithmetic is needed.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

from ..literals import MAX_INTEGER, decimal_key
from .fragments import COMPARISONS

_TESTS = {"$eq": operator.eq, "$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


@dataclass(frozen=True)
class BigNumber:
    """How to compare with a literal of 16 digits or more."""

    integer: int | None
    """What an integer compares with; None where it is beyond 64 bits: `for_integers` is the answer."""
    for_integers: bool
    double: float
    for_floats: str | None
    """The SQL operator between a float and `double`, which admits equality only if the tie holds; None: no match."""


def is_big(number: int | float) -> bool:
    return abs(number) >= 10**15


def big_number(symbol: str, number: int | float) -> BigNumber:
    """Return how `value symbol number` is asked, for `$eq` and the ranges."""
    exact, double = int(decimal_key(number)), float(number)
    tie = bool(_TESTS[symbol](decimal_key(double), exact))
    fits = -MAX_INTEGER <= exact <= MAX_INTEGER
    return BigNumber(
        integer=exact if fits else None,
        for_integers=bool(_TESTS[symbol](0, exact)),
        double=double,
        for_floats=_double_operator(symbol, tie),
    )


def _double_operator(symbol: str, tie: bool) -> str | None:
    if symbol == "$eq":
        return "=" if tie else None
    return COMPARISONS[symbol][0] + ("=" if tie else "")
