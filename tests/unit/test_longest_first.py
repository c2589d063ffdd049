"""Tests that may take longer than others begin before them: a long one that began last would run alone at the end."""

from __future__ import annotations

import pytest

from tests.conftest import limit_seconds


def test_what_has_no_limit_of_its_own_comes_after_what_has_a_longer_one(request: pytest.FixtureRequest) -> None:
    limits = [limit_seconds(item) for item in request.session.items]
    assert limits == sorted(limits, reverse=True)


@pytest.mark.timeout(100_000)
def test_what_has_a_long_limit_comes_next(request: pytest.FixtureRequest) -> None:
    assert limit_seconds(request.node) == 100_000


@pytest.mark.timeout(0)
def test_what_has_no_limit_comes_first(request: pytest.FixtureRequest) -> None:
    assert limit_seconds(request.node) == float("inf")
