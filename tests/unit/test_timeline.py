"""The record by itself: waits and the makespan."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from executor.record.timeline import Attempt, Interval, Timeline, Wait


@pytest.mark.parametrize(
    ("granted", "waits", "recorded"),
    [
        (5, None, []),
        (5, "worker", [Wait("worker", 2, 5)]),
        (2, "worker", []),
        (5, [Wait("lock.s", 2, 3), Wait("worker", 3, 5)], [Wait("lock.s", 2, 3), Wait("worker", 3, 5)]),
        (5, (), []),
    ],
)
def test_the_waits_of_an_attempt(granted: int, waits: str | Sequence[Wait] | None, recorded: list[Wait]) -> None:
    attempt = Attempt(0, "a", 1, 2, granted, waits=[*waits] if isinstance(waits, list) else waits)
    assert list(attempt.waits) == recorded
    for later in (Wait("resuming", 7, 8), Wait("worker", 9, 10)):
        attempt.add_wait(later)
        recorded = [*recorded, later]
        assert list(attempt.waits) == recorded
    attempt.waits = None
    assert list(attempt.waits) == []


def test_an_attempt_says_what_it_is() -> None:
    attempt = Attempt(3, "a", 2, 5, 7, released_by="b", parent="p")
    assert (attempt.index, attempt.step_id, attempt.attempt) == (3, "a", 2)
    assert (attempt.ready, attempt.granted, attempt.released_by, attempt.parent) == (5, 7, "b", "p")
    assert (attempt.started, attempt.ended, attempt.known, attempt.outcome, list(attempt.blocked)) == (
        None, None, None, None, [],
    )  # fmt: skip
    attempt.started, attempt.blocked = 8, [Interval(8, 9)]
    assert repr(attempt) == "<Attempt 'a' #2 ready=5 granted=7 started=8 ended=None known=None outcome=None>"


def timeline(ends: Sequence[int | None]) -> Timeline:
    attempts = [Attempt(0, "a", number, 0, 0) for number, _ in enumerate(ends, 1)]
    for attempt, ended in zip(attempts, ends, strict=True):
        attempt.ended = ended
    return Timeline(["a"], [()], [()], ["failed"], attempts, 1)


@pytest.mark.parametrize(
    ("ends", "nanoseconds"), [([], 0), ([None], 0), ([2_500_000_000, 1, None], 2_500_000_000), ([1, 3], 3)]
)
def test_the_makespan_is_the_last_end(ends: list[int | None], nanoseconds: int) -> None:
    assert timeline(ends).makespan_nanoseconds == nanoseconds
    assert timeline(ends).makespan_seconds == nanoseconds / 1e9
