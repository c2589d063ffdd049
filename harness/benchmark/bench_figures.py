"""From repetitions to the document: intervals, speedups, verdicts, warnings, predictions.

Rules of this module:
- Figures that describe one run come from the repetition with the lower median makespan.
- A speedup is formed in each repetition with the serial run of the same round; repetitions without one do not count.
- What would help is predicted for the measured cell of each scenario and its parameters that one would choose: of those
  as fast as the fastest, the one with the fewest workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from executor.record.timeline import NANOSECONDS
from harness.analysis import RunAnalysis, in_seconds
from harness.analysis.families import SlowFamily, asked_in, slow_family
from harness.analysis.slowdown import SlowdownCaution, largest_lost_cause, remedy_beside_serial, with_cause
from harness.benchmark.matrix import Case, MatrixCell
from harness.benchmark.session import Outcome, Sample, Series
from harness.expectations import Verdict, judge
from harness.plain_text import duration_texts
from harness.result import Document, Estimate, Repetition, result_document, step_seconds
from harness.result.cell_key import Cell
from harness.simulation.simulation_document import order_document
from harness.simulation.what_if import predicted_gains
from harness.statistics import (
    Interval,
    PairedRatio,
    Scalability,
    cheapest_of_equals,
    cost_of,
    fit_scalability,
    interval,
    noise_warnings,
    paired_ratio,
)

# The gains of larger workflows take too long to predict.
_PREDICTED_AT_MOST_STEPS: Final = 5_000


def sample_document(sample: Sample) -> Document:
    """One entry of ``samples``."""
    figures, usage = sample.figures, sample.usage
    return {
        "makespan_seconds": figures.makespan_seconds,
        "baseline_seconds": sample.baseline_seconds,
        "work_seconds": figures.work_seconds,
        "lower_bound_seconds": figures.lower_bound_seconds,
        "lost_seconds": in_seconds(sample.lost_nanoseconds),
        **({} if sample.started_at is None else {"started_at": sample.started_at}),
        "repetition": sample.repetition,
        "seed": sample.seed,
        "errors": sample.errors,
        "cpu_seconds": usage.cpu_seconds,
        "voluntary_context_switches": usage.voluntary_context_switches,
        "involuntary_context_switches": usage.involuntary_context_switches,
        "peak_memory_bytes": usage.peak_memory_bytes,
        "children_peak_memory_bytes": usage.children_peak_memory_bytes,
        "startup_seconds": sample.timeline.startup_seconds,
        "step_seconds": step_seconds(sample.timeline),
    }


def bench_document(
    outcome: Outcome, head: Mapping[str, Any], *, seed: int, predictions: bool = True, usable_cores: int | None = None
) -> Document:
    """The whole ``makespan.run/1`` document. ``head`` has what is known before the first run."""
    measured = [series for series in outcome.series if series.samples]
    chosen = _chosen(measured) if predictions else set()
    results = [_result(series, predicted=series.cell in chosen, usable_cores=usable_cores) for series in measured]
    return {
        **head,
        "results": results,
        "benchmark": {
            "seed": seed,
            "rounds": outcome.rounds,
            "stopped_by": outcome.stopped_by,
            "calls": outcome.calls,
            "tokens": outcome.tokens,
            "too_wide": [str(cell.key) for cell in outcome.too_wide],
            "scalability": _scalability(measured),
        },
    }


def judged(case_results: Mapping[str, Any], case: Case) -> list[Verdict]:
    """The verdicts on a scenario's expectations, over the results of that scenario alone."""
    results = [one for one in case_results["results"] if one["scenario"] == case.scenario]
    return judge(case.expectations, {**case_results, "scenario": case.scenario, "results": results})


def stored_cell(sample: Sample) -> Cell:
    """The cell under which a sample is stored: that of its result."""
    key, timeline = sample.cell.key, sample.timeline
    return replace(key, workers=timeline.workers, policy=timeline.policy)


def single_result(sample: Sample) -> Document:
    """The whole entry of ``results`` for one repetition, before the others are there."""
    return _result(Series(sample.cell, [sample]), predicted=False)


# ---------------------------------------------------------------------- a cell


def _result(series: Series, *, predicted: bool, usable_cores: int | None = None) -> Document:
    cell, samples = series.cell, series.samples
    shown = _lower_median(samples)
    speedup = _speedup(samples, cell.case.seed)
    found = result_document(
        [
            Repetition(
                shown.timeline,
                shown.outputs,
                shown.step_errors,
                shown.baseline_seconds,
                usable_cores,
                steps={step.step_id: step for step in cell.graph.steps},
                facts=shown.facts,
            )
        ],
        executor=cell.executor,
        parameters=cell.case.loaded.parameters,
        makespan=_estimate(interval(series.makespans_seconds, seed=cell.case.seed)),
        speedup=None if speedup is None else _estimate(speedup.interval),
        speedup_verdict=None if speedup is None else speedup.verdict,
        order=order_document(cell.order),
    )
    lost_seconds = in_seconds(shown.lost_nanoseconds)
    cautions = with_cause(shown.cautions, _cause(series))
    found.update(
        scenario=cell.case.scenario,
        simulated=cell.simulated,
        repetitions=len(samples),
        samples=[sample_document(sample) for sample in samples],
        lost_seconds=lost_seconds,
        largest_lost_cause=largest_lost_cause(lost_seconds),
        remedy=remedy_beside_serial(shown.timeline, shown.figures, lost_seconds, cautions),
        cautions=_warnings(series, cautions, None if speedup is None else speedup.verdict),
        cold_startup_seconds=_cold_startup_seconds(series),
        slack_seconds=in_seconds(RunAnalysis(shown.timeline).slack_nanoseconds),
    )
    if shown.baseline is not None:
        serial = RunAnalysis(replace(shown.baseline, workers=shown.timeline.workers)).lower_bound
        found["serial_lower_bound_seconds"] = serial.nanoseconds / NANOSECONDS
    if predicted and len(shown.timeline.step_ids) <= _PREDICTED_AT_MOST_STEPS:
        prediction = predicted_gains(shown.timeline, cell.graph)
        found["predicted_gains"] = None if prediction is None else prediction.document()
    return found


def _cause(series: Series) -> SlowFamily | None:
    """What was slower side by side, over all repetitions; None where no family of steps was."""
    pairs = [(sample.timeline, sample.baseline) for sample in series.samples if sample.baseline is not None]
    if series.cell.baseline is None or not pairs:
        return None
    asked = {
        attempt.step_id: found
        for sample in series.samples for attempt, facts in sample.facts.items()
        if (found := asked_in(facts)) is not None
    }  # fmt: skip
    return slow_family(pairs, asked)


def _lower_median(samples: Sequence[Sample]) -> Sample:
    ordered = sorted(samples, key=lambda sample: sample.makespan_seconds)
    return ordered[(len(ordered) - 1) // 2]


def _speedup(samples: Sequence[Sample], seed: int) -> PairedRatio | None:
    pairs = [
        (sample.baseline_seconds, sample.makespan_seconds)
        for sample in samples if sample.baseline_seconds is not None
    ]  # fmt: skip
    if not pairs or min(min(pair) for pair in pairs) <= 0:
        return None
    return paired_ratio([above for above, _ in pairs], [below for _, below in pairs], seed=seed)


def _estimate(found: Interval) -> Estimate:
    return Estimate(found.median, found.ci95)


def _warnings(series: Series, cautions: Sequence[SlowdownCaution], speedup_verdict: str | None) -> list[str]:
    """What to know before acting on the figures: of the run shown, of the repetitions, of the runs' own warnings."""
    found = [str(caution) for caution in cautions]
    makespans = series.makespans_seconds
    if not series.cell.simulated and any(makespans):
        found += [str(warning) for warning in noise_warnings(makespans, _failed_attempts(series))]
    # Where nothing is gained for certain, there is nothing that the start could exceed.
    startup = _startup_caution(series) if speedup_verdict == "faster" else None
    if startup is not None:
        found.append(startup)
    failing = sum(1 for sample in series.samples if sample.errors)
    if 0 < failing < len(series.samples):
        found.append(
            f"steps failed in {failing} of {len(series.samples)} repetitions: these runs are not the same work"
        )
    unpaired = sum(1 for sample in series.samples if sample.baseline_seconds is None)
    if unpaired:
        found.append(f"{unpaired} of {len(series.samples)} repetitions have no serial run beside them, and no speedup")
    for sample in series.samples:
        found += sample.warnings
    return list(dict.fromkeys(found))


def _failed_attempts(series: Series) -> list[int]:
    """Of each repetition."""
    return [sum(group.attempts for group in sample.figures.failures) for sample in series.samples]


def _cold_startup_seconds(series: Series) -> float:
    """What it takes to bring the workers up where none were kept."""
    return max(sample.cold_startup_seconds for sample in series.samples)


def _startup_caution(series: Series) -> str | None:
    """That the workers take longer to start than they gain in one run, where that is so."""
    gains = [
        sample.baseline_seconds - sample.makespan_seconds
        for sample in series.samples if sample.baseline_seconds is not None
    ]  # fmt: skip
    startup = _cold_startup_seconds(series)
    if series.cell.simulated or not gains or not 0 < _median(gains) < startup:
        return None
    took, gained = duration_texts(startup, _median(gains))
    return (
        f"its workers took {took} to start, more than the {gained} that a run gains: it pays where workers are kept "
        "from run to run, or runs are longer"
    )


def _chosen(measured: Sequence[Series]) -> set[MatrixCell]:
    """The cell of each case that one would choose."""
    cases: dict[Case, list[Series]] = {}
    for series in measured:
        cases.setdefault(series.cell.case, []).append(series)
    found = set()
    for members in cases.values():
        # What one can act on is what really ran, side by side, where anything did.
        best = min((series.cell.simulated, series.cell.baseline is None) for series in members)
        able = [one for one in members if (one.cell.simulated, one.cell.baseline is None) == best]
        found.add(able[cheapest_of_equals([_candidate(series) for series in able])].cell)
    return found


def _candidate(series: Series) -> tuple[float, tuple[float, float] | None, tuple[float, float]]:
    found = interval(series.makespans_seconds, seed=series.cell.case.seed)
    workers = series.samples[0].timeline.workers
    return found.median, found.ci95, cost_of(workers, _cold_startup_seconds(series), found.median)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]


# ---------------------------------------------------------------------- over workers


def _scalability(measured: Sequence[Series]) -> list[Document]:
    """The fitted law of each executor and policy with enough numbers of workers."""
    groups: dict[tuple[Case, str, str], list[Series]] = {}
    for series in measured:
        cell = series.cell
        if cell.baseline is not None and cell.policy != "serial":
            groups.setdefault((cell.case, cell.executor, cell.policy), []).append(series)
    found = []
    for (case, executor, policy), members in groups.items():
        fitted = _fitted(members)
        if fitted is not None:
            words = {
                "scenario": case.scenario, "executor": executor, "policy": policy,
                "parameters": case.loaded.parameters,
            }  # fmt: skip
            figures = {
                "contention": fitted.contention, "coherency": fitted.coherency,
                "most_useful_workers": fitted.most_useful_workers, "fit_ratio": fitted.fit_ratio,
                "is_good": fitted.is_good, "text": str(fitted),
            }  # fmt: skip
            found.append({**words, **figures})
    return found


def _fitted(members: Sequence[Series]) -> Scalability | None:
    workers: list[int] = []
    speedups: list[float] = []
    for series in members:
        paired = _speedup(series.samples, series.cell.case.seed)
        if paired is not None:
            workers += [series.cell.workers] * len(paired.ratios)
            speedups += paired.ratios
    return fit_scalability(workers, speedups) if workers else None
