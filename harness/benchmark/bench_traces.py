"""The traces of a benchmark: one for each repetition, sent when all measuring is over.

Rules of this module:
- Warm-up runs are not traced, and neither is a repetition that was interrupted.
- `live` sends all repetitions as they go; of `recorded` ones those are kept that the settings say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from executor.engine.instruments import Instrument, Untraced
from harness.benchmark.matrix import MatrixCell
from harness.benchmark.session import Outcome, Sample, Series
from harness.telemetry.spans.trace_session import RunName, TracedRun, Tracing
from harness.telemetry.telemetry_settings import Telemetry


class BenchTraces:
    """Traces the repetitions of one benchmark; without ``tracing`` it keeps them untraced."""

    def __init__(self, tracing: Tracing | None, settings: Telemetry, run_id: str) -> None:
        self._tracing = tracing
        self._keep_all = settings.keep == "all"
        self._run_id = run_id
        self._traced: dict[tuple[MatrixCell, int], TracedRun] = {}

    def instruments(self, cell: MatrixCell, repetition: int) -> Sequence[Instrument]:
        """For a run that is about to begin; ``repetition`` 0 is warm-up."""
        if self._tracing is None or repetition < 1:
            # Not even by a provider that a tool's module set up: that would be measured, too.
            return [Untraced()]
        loaded = cell.case.loaded
        name = RunName(
            self._run_id,
            cell.case.scenario,
            cell.executor,
            cell.workers,
            cell.policy,
            loaded.parameters,
            repetition,
        )
        traced = self._traced[cell, repetition] = self._tracing.begin(name)
        return [traced.instrument]

    def keep(self, document: Mapping[str, Any], outcome: Outcome) -> None:
        """All measuring is over: choose what is sent, and write the ids of these traces into the document."""
        if self._tracing is None:
            return
        measured = [series for series in outcome.series if series.samples]
        for result, series in zip(document["results"], measured, strict=True):
            kept = {sample.repetition: sample for sample in self._chosen(series)}
            for number, sample in kept.items():
                traced = self._traced[series.cell, number]
                self._tracing.add(traced, sample.timeline)
                for entry in result["samples"]:
                    if entry.get("repetition") == number:
                        entry["trace_id"] = traced.trace_id
            shown = self._traced.get((series.cell, _by_makespan(series)[0].repetition))
            # One of an earlier session has no trace here.
            if shown is not None:
                result["trace_id"] = shown.trace_id
        self._traced.clear()

    def _chosen(self, series: Series) -> Sequence[Sample]:
        traced = [sample for sample in series.samples if (series.cell, sample.repetition) in self._traced]
        return traced if self._keep_all else [sample for sample in _by_makespan(series) if sample in traced]


def _by_makespan(series: Series) -> list[Sample]:
    """The repetition that results show, with the lower median makespan, and the slowest one."""
    ordered = sorted(series.samples, key=lambda sample: sample.makespan_seconds)
    median = ordered[(len(ordered) - 1) // 2]
    return [median] if ordered[-1] is median else [median, ordered[-1]]
