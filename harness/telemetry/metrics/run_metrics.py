"""The metrics of a finished run: one sample each, from its result document. Pure.

Rules of this module:
- The numbers are those of the JSON, unchanged: a dashboard shows what the document says.
- What the document has as null (a speedup that was not measured) is no sample.
- A part that is nothing in this run is 0 all the same: else the newest sample of it would be that of an earlier run.
  Of limits that only earlier runs had nothing is known here, so each part of the lost time says which run it is from.
- Where times are from the wall clock, they come from the document: its repetitions' ``started_at``, else its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from executor.record.timeline import NANOSECONDS, Attempt, Timeline
from harness.analysis.attempt_index import known_of
from harness.analysis.lost_time import LOST_CAUSES
from harness.telemetry.metrics import metric_table as table
from harness.telemetry.metrics.labels import Labels, with_others_summed
from harness.telemetry.metrics.samples import Sample, StepTotals

UNKNOWN_TOOL: Final = "unknown"
_WAITS_WITHOUT_NAME: Final = ("worker", "backoff", "barrier")


def run_samples(
    result: Mapping[str, Any], labels: Labels, *, completed_seconds: float, compared_seconds: float | None = None
) -> Iterator[Sample]:
    """The ``run_*`` gauges of one entry of ``results``. ``completed_seconds``: the end of its last repetition, seconds
    since 1970; ``compared_seconds``: that of the benchmark that it is a cell of (:func:`compared_at`).
    """
    single = {
        table.RUN_SPEEDUP: _median(result.get("speedup_ratio")),
        table.RUN_EFFICIENCY: result.get("efficiency_ratio"),
        table.RUN_MAKESPAN: _median(result.get("makespan_seconds")),
        table.RUN_CRITICAL_PATH: result.get("critical_path_seconds"),
        table.RUN_LOWER_BOUND: result.get("lower_bound_seconds"),
        table.RUN_SCHEDULE_EFFICIENCY: result.get("schedule_efficiency_ratio"),
        table.RUN_WORK: result.get("work_seconds"),
        table.RUN_STEP_OVERHEAD: result.get("overhead_seconds_per_step"),
        table.RUN_STARTUP: result.get("cold_startup_seconds", result.get("startup_seconds")),
        table.RUN_COMPLETED: completed_seconds,
        table.RUN_COMPARED: compared_seconds,
    }
    for family, value in single.items():
        if value is not None:
            yield Sample(family, labels, float(value))
    for cause, seconds in with_others_summed(_lost_by_cause(result)).items():
        yield Sample(table.RUN_LOST, (*labels, ("cause", cause)), seconds)
        yield Sample(table.RUN_LOST_COMPLETED, (*labels, ("cause", cause)), completed_seconds)


def possible_waits(result: Mapping[str, Any]) -> list[str]:
    """What attempts of this run could have waited for, as far as the document shows, whether or not one did."""
    return [*_WAITS_WITHOUT_NAME, *_named_limits(result)]


def info_sample(document: Mapping[str, Any], result: Mapping[str, Any], labels: Labels) -> Sample:
    """``run_info``: which run, revision, machine and trace the other metrics came from."""
    environment = document.get("environment") or {}
    words = (
        ("run_id", str(document["run_id"])),
        ("revision", str(environment.get("revision") or "")),
        ("machine", str(environment.get("machine") or "")),
        ("trace_id", trace_id_of(result) or ""),
    )
    return Sample(table.RUN_INFO, (*labels, *words), 1.0)


def trace_id_of(result: Mapping[str, Any]) -> str | None:
    """The trace of the repetition that the result shows; None where it was not traced."""
    samples = result.get("samples") or []
    shown = samples[shown_repetition(result)] if samples else {}
    found = result.get("trace_id") or shown.get("trace_id")
    return None if not found else str(found)


def shown_repetition(result: Mapping[str, Any]) -> int:
    """The place in ``samples`` of the repetition that ``steps`` and the single figures come from: the one with the
    lower median makespan.
    """
    makespans = [float(one["makespan_seconds"]) for one in result["samples"]]
    order = sorted(range(len(makespans)), key=lambda place: makespans[place])
    return order[(len(order) - 1) // 2]


def repetition_begins(document: Mapping[str, Any], result: Mapping[str, Any]) -> list[int]:
    """When t = 0 was in each repetition, nanoseconds since 1970. Repetitions that do not say so are taken to have run
    one after the other from the document's ``started_at`` on.
    """
    cursor = unix_nanoseconds(str(document["started_at"]))
    simulated = is_simulated(document, result)
    begins = []
    for sample in result["samples"]:
        started_at = sample.get("started_at")
        begins.append(cursor if started_at is None else unix_nanoseconds(str(started_at)))
        cursor = begins[-1] if simulated else begins[-1] + nanoseconds(sample["makespan_seconds"])
    return begins


def completed_at(document: Mapping[str, Any], result: Mapping[str, Any]) -> int:
    """The end of the last repetition, nanoseconds since 1970; of a simulated one its begin."""
    begins = repetition_begins(document, result)
    if is_simulated(document, result):
        return max(begins)
    return max(
        begin + nanoseconds(sample["makespan_seconds"])
        for begin, sample in zip(begins, result["samples"], strict=True)
    )  # fmt: skip


def compared_at(document: Mapping[str, Any], result: Mapping[str, Any]) -> float | None:
    """When the benchmark ended that the result is a cell of, seconds since 1970; None where nothing was compared."""
    if result.get("speedup_ratio") is None:
        return None
    scenario = result.get("scenario")
    cells = [
        one for one in document["results"]
        if one["samples"] and one.get("speedup_ratio") is not None and one.get("scenario") == scenario
    ]  # fmt: skip
    return max(completed_at(document, one) for one in cells) / NANOSECONDS


def repetition_results(result: Mapping[str, Any]) -> list[str]:
    """``succeeded``, ``failed`` or ``interrupted`` for each repetition."""
    shown = shown_repetition(result)
    cancelled = any(step["status"] == "cancelled" for step in result["steps"])
    found = []
    for place, sample in enumerate(result["samples"]):
        if sample.get("errors"):
            found.append("failed")
        else:
            found.append("interrupted" if cancelled and place == shown else "succeeded")
    return found


def count_samples(result: Mapping[str, Any], labels: Labels) -> Iterator[Sample]:
    """``runs_total`` and ``telemetry_lost_total``, over all repetitions."""
    results = repetition_results(result)
    for outcome in table.RUN_RESULTS:
        yield Sample(table.RUNS, (*labels, ("result", outcome)), float(results.count(outcome)))
    yield Sample(table.TELEMETRY_LOST, labels, telemetry_lost(result))


def telemetry_lost(result: Mapping[str, Any]) -> float:
    """Spans that were lost, over all repetitions; 0 where nothing was sent."""
    return float(sum(sample.get("telemetry_lost") or 0 for sample in result["samples"]))


def tools_of(result: Mapping[str, Any]) -> list[str]:
    """The tool of each step."""
    return [str(step.get("tool") or UNKNOWN_TOOL) for step in result["steps"]]


def step_totals(result: Mapping[str, Any], timeline: Timeline, *, begin: int = 0) -> StepTotals:
    """What all attempts of the repetition that is shown add up to; ``begin`` is its t = 0, nanoseconds since 1970."""
    tools = tools_of(result)
    totals = StepTotals(tuple(dict.fromkeys(tools)), begin=begin, trace_id=trace_id_of(result))
    for attempt in ended_attempts(timeline):
        totals.add(attempt, tools[attempt.index])
    return totals


def ended_attempts(timeline: Timeline) -> list[Attempt]:
    """In the order in which their ends became known."""
    return sorted((one for one in timeline.attempts if one.outcome is not None), key=known_of)


def is_simulated(document: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Whether no tool ran: the makespan passed on no clock."""
    simulated = result.get("simulated")
    return bool((document.get("environment") or {}).get("simulated") if simulated is None else simulated)


def unix_nanoseconds(text: str) -> int:
    """An ISO 8601 time as nanoseconds since 1970, to the microsecond.

    Raises:
        ValueError: it is none, or has no offset from UTC.

    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} does not say its offset from UTC")
    return round(moment.timestamp() * 1_000_000) * 1_000


def nanoseconds(seconds: float) -> int:
    """Seconds as integer nanoseconds."""
    return round(float(seconds) * NANOSECONDS)


def _lost_by_cause(result: Mapping[str, Any]) -> dict[str, float]:
    """With 0 for what could have cost time and did not: a server would go on showing what it cost an earlier run."""
    lost: Mapping[str, float] = result.get("lost_seconds") or {}
    possible = (*LOST_CAUSES, *_named_limits(result)) if lost else ()
    return dict.fromkeys(possible, 0.0) | dict(lost)


def _named_limits(result: Mapping[str, Any]) -> list[str]:
    resources = result.get("resources") or {}
    found = [f"{kind}.{name}" for kind in ("resource", "rate") for name in resources]
    return [*found, *(f"lock.{name}" for name in result.get("states") or ())]


def _median(estimate: Mapping[str, Any] | None) -> float | None:
    return None if estimate is None else estimate["median"]
