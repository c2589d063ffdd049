"""When t = 0 of a run was, on the wall clock: the one look at it that places a run in the world's time.

Rules of this module:
- It is an instrument that watches no attempt: it costs one look at a clock a run.
"""

from __future__ import annotations

from datetime import UTC, datetime

from executor.engine.instruments import Instrument, WatchedRun


class StartClock(Instrument):
    """After ``run(…, instruments=[clock])``, ``started_at`` is ISO 8601 to the microsecond; None if no run began."""

    def __init__(self) -> None:
        self.started_at: str | None = None

    def run_started(self, engine: WatchedRun) -> None:
        """The next thing that happens is t = 0."""
        self.started_at = datetime.now(UTC).isoformat(timespec="microseconds")
