"""How long a failed attempt waits before the next."""

from __future__ import annotations

import pytest

from executor.model.workflow import Retry
from executor.record.timeline import NANOSECONDS
from executor.scheduler.backoff import backoff_nanoseconds, jitter_ratio

GROWING = Retry(max_attempts=9, backoff_seconds=1.5, multiplier=2.5, max_backoff_seconds=20, jitter="none")


def test_the_wait_grows_by_the_multiplier_up_to_the_largest() -> None:
    waits = [backoff_nanoseconds(GROWING, 0, "a", attempt) / NANOSECONDS for attempt in range(1, 6)]
    assert waits == [1.5, 3.75, 9.375, 20, 20]


def test_a_wait_too_large_for_a_number_is_the_largest() -> None:
    retry = GROWING.model_copy(update={"multiplier": 1e300})
    assert backoff_nanoseconds(retry, 0, "a", 1000) == 20 * NANOSECONDS


def test_full_jitter_takes_a_part_of_the_wait() -> None:
    retry = GROWING.model_copy(update={"jitter": "full"})
    for attempt, wait in enumerate((1.5, 3.75, 9.375, 20, 20), 1):
        expected = round(wait * jitter_ratio(7, "a", attempt) * NANOSECONDS)
        assert backoff_nanoseconds(retry, 7, "a", attempt) == expected


@pytest.mark.parametrize(("asked", "served"), [(None, 1.5), (0.0, 1.5), (1.0, 1.5), (2.0, 2.0), (99.0, 99.0)])
def test_a_service_that_says_when_to_come_again_is_waited_for_past_the_largest_wait(
    asked: float | None, served: float
) -> None:
    assert backoff_nanoseconds(GROWING, 0, "a", 1, asked) == served * NANOSECONDS


def test_jitter_is_drawn_evenly_from_zero_to_one() -> None:
    ratios = sorted(jitter_ratio(seed, "a", 1) for seed in range(2000))
    assert all(abs(ratio - place / 2000) < 0.05 for place, ratio in enumerate(ratios))
    assert 0 <= ratios[0] < ratios[-1] < 1


def test_jitter_depends_on_the_seed_the_step_and_the_attempt_and_is_the_same_on_every_machine() -> None:
    assert jitter_ratio(0, "a", 1) == 0.74135775350983
    assert len({jitter_ratio(*facts) for facts in ((0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2))}) == 4
    assert jitter_ratio(0, "naïve 🙂", 1) == 0.7809102031670855
