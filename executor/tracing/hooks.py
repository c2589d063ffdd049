"""Where backends meet tracing: nothing of OpenTelemetry is imported before a run is traced.

Rules of this module:
- Standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from executor.child_steps.step_context import Place, Running


class WorkerTrace(Protocol):
    """A worker's part of a run's trace."""

    def enter(self, place: Place) -> None:
        """From here on the code of this thread runs below the spans of its steps."""

    def facts(self, running: Running, facts: dict[str, Any] | None) -> dict[str, Any] | None:
        """The facts of a call that has ended, with what its code said and opened."""


def worker_tracing(carrier: Mapping[str, str] | None) -> WorkerTrace | None:
    """What a worker process does for the run's trace; None where the run is not traced."""
    if carrier is None:
        return None
    from executor.tracing.worker_spans import tracing_for  # noqa: PLC0415  # OpenTelemetry costs every worker's start

    return tracing_for(carrier)
