"""Whether a failed attempt is tried again, and how long it waits before."""

from __future__ import annotations

import pytest

from executor.model.workflow import Retry
from executor.record.timeline import NANOSECONDS
from executor.scheduler.backoff import backoff_nanoseconds, jitter_ratio
from tests.unit.scheduling import Hand, step

TRIPLING = Retry(max_attempts=3, backoff_seconds=2, multiplier=3, jitter="none")

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


# ---------------------------------------------------------------------- retries


def test_a_failed_attempt_is_tried_again_after_its_backoff_and_no_earlier() -> None:
    hand = Hand([step("a", retry=TRIPLING)])
    hand.start()
    assert hand.end("a", 1, "failed") == "backing_off"
    assert hand.wake_at() == 3
    assert hand.start(2.9) == []
    assert hand.start(3) == ["a"]
    assert hand.waits("a", 2) == [("backoff", 1, 3)]
    assert hand.end("a", 4, "failed") == "backing_off"
    assert hand.wake_at() == 10
    hand.start(10)
    assert hand.end("a", 11, "failed") == "failed"


def test_full_jitter_depends_on_the_seed_alone() -> None:
    def due(seed: int) -> float | None:
        hand = Hand([step("a", retry=Retry(backoff_seconds=10))], seed=seed)
        hand.start()
        hand.end("a", 0, "failed")
        return hand.wake_at()

    assert due(1) == due(1)
    assert len({due(seed) for seed in range(20)}) == 20
    assert all(0 <= (due(seed) or 0) <= 10 for seed in range(20))


def test_retry_after_is_a_least_wait() -> None:
    hand = Hand([step("a", retry=TRIPLING)])
    hand.start()
    hand.end("a", 1, "failed", retry_after_seconds=30)
    assert hand.wake_at() == 31


def test_a_failure_that_another_attempt_cannot_help_is_final() -> None:
    hand = Hand([step("a", retry=TRIPLING)])
    hand.start()
    assert hand.end("a", 1, "failed", retryable=False) == "failed"


def test_a_step_whose_worker_died_is_tried_again_although_it_states_no_retry() -> None:
    hand = Hand([step("a")])
    hand.start()
    assert hand.end("a", 1, "worker_died") == "backing_off"
    assert hand.start(1) == ["a"]
    hand.end("a", 2, "worker_died")
    hand.start(2)
    assert hand.end("a", 3, "worker_died") == "failed"


def test_a_step_that_is_not_idempotent_is_not_tried_again_when_its_worker_died() -> None:
    hand = Hand([step("a", idempotent=False, retry=TRIPLING)])
    hand.start()
    assert hand.end("a", 1, "worker_died") == "failed"
