"""A run's document from what was stored while it ran: for runs that were killed or interrupted. Pure.

Rules of this module:
- As in a finished document: figures of one run, and ``steps``, come from the repetition with the lower median makespan,
  here of those whose whole result was stored.
- Intervals are computed as the benchmark computes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.statistics import Interval, interval, paired_ratio

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredSample:
    """One repetition: its entry of ``samples``, and its own result (an entry of ``results``) where it was stored."""

    sample: Mapping[str, Any]
    result: Mapping[str, Any] | None


def assembled(head: Mapping[str, Any], cells: Sequence[Sequence[StoredSample]]) -> Document:
    """The document: its head, and one result for each cell with at least one stored result."""
    results = [_result(samples) for samples in cells if any(one.result is not None for one in samples)]
    return {**head, "results": results}


def _result(samples: Sequence[StoredSample]) -> Document:
    makespans = [float(one.sample["makespan_seconds"]) for one in samples]
    order = sorted(range(len(samples)), key=lambda place: makespans[place])
    whole = [samples[place].result for place in order if samples[place].result is not None]
    shown = whole[(len(whole) - 1) // 2] or {}
    result = {
        **shown,
        "repetitions": len(samples),
        "makespan_seconds": _estimate(interval(makespans)),
        "samples": [dict(one.sample) for one in samples],
    }
    baselines = [one.sample["baseline_seconds"] for one in samples]
    if None in baselines or min(makespans) <= 0 or min(baselines) <= 0:
        return {**result, "speedup_ratio": None, "speedup_verdict": None, "efficiency_ratio": None}
    speedup = paired_ratio(baselines, makespans)
    workers = result["workers"]
    return {
        **result,
        "speedup_ratio": _estimate(speedup.interval),
        "speedup_verdict": speedup.verdict,
        "efficiency_ratio": speedup.interval.median / workers if workers >= 1 else None,
    }


def _estimate(found: Interval) -> Document:
    return {"median": found.median, "ci95": None if found.ci95 is None else list(found.ci95)}
