"""Recorded programs as ``makespan.run/1`` documents, so that history, comparison and dashboards have them.

Rules of this module:
- Traces of one shape are repetitions of one cell. The cell has to be the same when the program is recorded again: its
  executor is ``recorded``, its policy ``dataflow``, and its workers are unknown, which count as :data:`WORKERS`, or
  the next power of two that is not too few.
"""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from executor.record.timeline import NANOSECONDS, Timeline
from harness.environment import environment_facts
from harness.result import Estimate, Repetition, result_document, run_document
from harness.traces import ForeignRun
from harness.traces.diagnosis.diagnosis import GAP

EXECUTOR: Final = "recorded"
WORKERS: Final = 64


def recorded_document(name: str, groups: Sequence[tuple[str, Sequence[ForeignRun]]]) -> dict[str, Any]:
    """The document. ``groups``: for each shape of trace what to call it, and its runs."""
    origins = [run.origin for _, runs in groups for run in runs]
    begun = min((one for one in origins if 0 < one < 1 << 62), default=0)
    started = datetime.fromtimestamp(begun / NANOSECONDS, UTC) if begun else datetime.now(UTC)
    results = [_result(name if len(groups) == 1 else f"{name}: {called}", runs) for called, runs in groups]
    return run_document(
        run_id=uuid.uuid4().hex,
        scenario=name,
        started_at=started.isoformat(timespec="milliseconds"),
        environment={**environment_facts(), "stand_in": False, "simulated": False},
        results=results,
    )


def _result(scenario: str, runs: Sequence[ForeignRun]) -> dict[str, Any]:
    workers = WORKERS
    while workers < max(run.timeline.workers for run in runs):
        workers *= 2
    repetitions = [
        Repetition(
            _as_recorded(run.timeline, workers),
            foreign=True,
            trace_id=run.trace_id or None,
            started_at=datetime.fromtimestamp(run.origin / NANOSECONDS, UTC).isoformat(timespec="milliseconds"),
        )
        for run in runs
    ]
    tails = [run.tail_nanoseconds / NANOSECONDS for run in runs]
    makespans = [
        one.timeline.makespan_seconds + tail for one, tail in zip(repetitions, tails, strict=True)
    ]  # fmt: skip
    result = result_document(
        repetitions, executor=EXECUTOR, scenario=scenario, makespan=Estimate(statistics.median(makespans))
    )
    for sample, tail in zip(result["samples"], tails, strict=True):
        sample["makespan_seconds"] += tail
        _add_gap(sample["lost_seconds"], tail)
    shown = sorted(range(len(runs)), key=lambda number: repetitions[number].timeline.makespan_nanoseconds)
    _add_gap(result["lost_seconds"], tails[shown[(len(shown) - 1) // 2]])
    return result


def _add_gap(lost_seconds: dict[str, float], seconds: float) -> None:
    """The time of the outermost span behind its last child."""
    if seconds:
        lost_seconds[GAP] = lost_seconds.get(GAP, 0.0) + seconds


def _as_recorded(timeline: Timeline, workers: int) -> Timeline:
    return replace(timeline, workers=workers, policy="dataflow")
