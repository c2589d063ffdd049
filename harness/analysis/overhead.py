"""Overhead: time in which nothing was lacking and yet nothing happened.

Rules of this module:
- Between "could start" and "did start": the part of [ready, started] that no wait accounts for.
- Between "ended" and "known": until the engine had the result.
"""

from __future__ import annotations

from executor.record.timeline import Attempt
from harness.analysis.attempt_index import AttemptIndex, ended_of, known_of, started_of


def overhead_nanoseconds(attempt: Attempt) -> int:
    """The overhead of one attempt."""
    started = started_of(attempt)
    later = known_of(attempt) - ended_of(attempt)
    if started == attempt.ready:
        return later
    waited = sum(
        max(0, min(end, started) - max(start, attempt.ready)) for _, start, end in attempt.waits if start < started
    )
    return started - attempt.ready - waited + later


def overhead_nanoseconds_per_step(index: AttemptIndex) -> float | None:
    """The overhead of all attempts, divided by the number of steps that ran; None if none did."""
    steps = sum(1 for tries in index.tries if tries)
    return sum(map(overhead_nanoseconds, index.ended)) / steps if steps else None
