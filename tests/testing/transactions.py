"""Marks of tests that concern transactions."""

from __future__ import annotations

import pytest

either_way = pytest.mark.usefixtures("transaction_or_none")
"""The test is run in a transaction, as in TestCase, and without, as in TransactionTestCase."""
