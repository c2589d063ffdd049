"""``makespan.run/1`` documents for tests, made of times alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from executor.record.timeline import NANOSECONDS, Attempt, Timeline
from harness.result import Estimate, Repetition, result_document, run_document
from harness.statistics import interval

ENVIRONMENT: dict[str, Any] = {
    "makespan_version": "0.1.0",
    "python_version": "3.11.2",
    "machine": "builder",
    "architecture": "x86_64",
    "cores": 8,
    "usable_cores": 4,
    "cpu_limit_cores": None,
    "revision": "0123456789abcdef0123456789abcdef01234567",
}


def timeline(seconds: float, overhead_seconds: float = 0.0, **more: Any) -> Timeline:
    """A step that runs for ``seconds`` after ``overhead_seconds`` in which it was not started."""
    start, end = round(overhead_seconds * NANOSECONDS), round((seconds + overhead_seconds) * NANOSECONDS)
    attempt = Attempt(0, "fetch", 1, 0, start)
    attempt.started, attempt.ended, attempt.known, attempt.outcome = start, end, end, "succeeded"
    settings: dict[str, Any] = {"workers": 4, "backend": "threads", **more}
    return Timeline(["fetch"], [()], [()], ["succeeded"], [attempt], **settings)


def result(
    times: Sequence[float],
    *,
    overheads: Sequence[float] | None = None,
    baselines: Sequence[float] | None = None,
    parameters: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One cell: ``times[i]`` is how long the step ran, ``overheads[i]`` what came on top, in seconds."""
    costs = overheads if overheads is not None else [0.0] * len(times)
    repetitions = [
        Repetition(timeline(seconds, cost, **more), baseline_seconds=None if baselines is None else baselines[place])
        for place, (seconds, cost) in enumerate(zip(times, costs, strict=True))
    ]
    makespans = [one.timeline.makespan_seconds for one in repetitions]
    found = interval(makespans)
    speedup = None
    if baselines is not None:
        ratios = interval([base / span for base, span in zip(baselines, makespans, strict=True)])
        speedup = Estimate(ratios.median, ratios.ci95)
    return result_document(
        repetitions, parameters=parameters, makespan=Estimate(statistics.median(makespans), found.ci95), speedup=speedup
    )


def document(*results: dict[str, Any], run_id: str = "run-1", **more: Any) -> dict[str, Any]:
    """A whole document."""
    environment = {**ENVIRONMENT, **more.pop("environment", {})}
    settings: dict[str, Any] = {"scenario": "jokes", "started_at": "2026-01-02T03:04:05.000+00:00", **more}
    return run_document(run_id=run_id, environment=environment, results=results, **settings)
