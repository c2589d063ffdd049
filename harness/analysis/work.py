"""Work: what a single worker that never waits would need.

Rules of this module:
- The run time of an attempt is started to ended, less blocked and resuming; work is the sum over all attempts.
"""

from __future__ import annotations

from executor.record.timeline import Timeline
from harness.analysis.attempt_index import AttemptIndex


def work_nanoseconds(index: AttemptIndex) -> int:
    """The sum of all run times."""
    return sum(map(index.run_nanoseconds, index.ended))


def cpu_seconds(timeline: Timeline) -> float | None:
    """The sum of measured CPU seconds; None where no attempt has any."""
    measured = [attempt.cpu_seconds for attempt in timeline.attempts if attempt.cpu_seconds is not None]
    return sum(measured) if measured else None
