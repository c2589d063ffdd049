"""The functions behind the shipped scenarios compute what they say."""

from __future__ import annotations

import pytest

from harness.scenario_tools.computing import count_primes, total


def test_the_primes_up_to_a_hundred_thousand_are_as_many_as_is_known() -> None:
    ranges = [count_primes(2, 9_998), count_primes(10_000, 90_000)]
    assert total([part["primes"] for part in ranges]) == {"ranges": 2, "primes": 9_592}


@pytest.mark.parametrize(("first", "count", "primes"), [(2, 1, 1), (2, 2, 2), (9, 1, 0), (25, 1, 0), (10**7, 0, 0)])
def test_the_ends_of_a_range_count_as_they_should(first: int, count: int, primes: int) -> None:
    assert count_primes(first, count)["primes"] == primes


def test_numbers_that_a_template_made_text_are_numbers_all_the_same() -> None:
    assert count_primes("2", "10") == count_primes(2, 10)  # type: ignore[arg-type]  # what a template hands over
    assert total(["3", 4]) == {"ranges": 2, "primes": 7}


@pytest.mark.parametrize(("first", "count"), [(1, 5), (2, -1)])
def test_a_range_without_sense_is_refused_with_its_numbers(first: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"first={first} and count={count}"):
        count_primes(first, count)
