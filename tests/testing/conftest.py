"""Fixtures of the tests of `django_tasker.testing`."""

from __future__ import annotations

import pytest


@pytest.fixture(
    params=[
        pytest.param("in a transaction", marks=pytest.mark.django_db),
        pytest.param("without", marks=pytest.mark.django_db(transaction=True)),
    ]
)
def transaction_or_none() -> None:
    """Runs the test in a transaction, as TestCase does, and without, as TransactionTestCase."""
