"""The cells of a report: one for each result of each document, with a name that distinguishes it. Pure.

Rules of this module:
- A name says executor and workers, and else only what differs between the cells.
- Figures are the document's own; the timeline is made from it again.
- Makespans of different scenarios are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from executor.record.timeline import NANOSECONDS, Attempt, Interval, Timeline, Wait
from harness.analysis import AttemptIndex, CriticalStep, Summary, remedy
from harness.analysis.failures import FailureGroup
from harness.analysis.lost_time import RUNNING
from harness.plain_text import duration_text
from harness.report.html.capacity import CapacityCurve, capacity_curves
from harness.report.html.gantt import waited_by_reason
from harness.report.html.safe_text import visible
from harness.result import SCHEMA, Document, DocumentError, attempts_before, results_of, timeline_from_document
from harness.statistics import cheapest_of_equals, cost_of

_MESSAGE_LIMIT: Final = 200
_CELLS_SHOWN: Final = 2
_STARTUP_RATIO: Final = 0.1


@dataclass(frozen=True, slots=True)
class Cell:
    """A result with what its document says about the whole run. ``label`` is unique within a report."""

    label: str
    run_id: str
    scenario: str
    result: Document
    timeline: Timeline
    index: AttemptIndex
    summary: Summary
    # What is drawn: with a run that was resumed before it, which ends `seam` nanoseconds from the drawing's beginning.
    drawn: Timeline
    seam: int = 0

    @property
    def workers(self) -> int:
        """How many there were."""
        return int(self.result["workers"])

    @property
    def makespan_seconds(self) -> float:
        """The median over the repetitions."""
        return float(self.result["makespan_seconds"]["median"])

    @property
    def speedup(self) -> Document | None:
        """``median`` and ``ci95``, or None."""
        speedup: Document | None = self.result["speedup_ratio"]
        return speedup

    @property
    def group(self) -> tuple[str, ...]:
        """What cells have in common that differ in workers alone."""
        result = self.result
        return self.scenario, str(result["executor"]), str(result["policy"]), parameters_text(result["parameters"])

    @property
    def has_failed(self) -> bool:
        """Whether a step failed."""
        return "failed" in self.timeline.statuses

    @property
    def startup_seconds(self) -> float:
        """What it takes to bring the workers up where none were kept; 0 where it is unknown."""
        return float(self.result.get("cold_startup_seconds", self.result.get("startup_seconds")) or 0.0)

    @property
    def startup_counts(self) -> bool:
        """Whether what it took to start the workers is worth a column."""
        return not self.result.get("simulated") and self.startup_seconds >= _STARTUP_RATIO * self.makespan_seconds > 0

    @property
    def waited(self) -> list[tuple[str, int, float]]:
        """``(reason, attempts, seconds)`` of all waits, longest first."""
        return [
            (visible(reason), attempts, time / NANOSECONDS)
            for reason, attempts, time in waited_by_reason(self.timeline.attempts)
        ]

    @property
    def failures(self) -> list[dict[str, str]]:
        """The failed attempts in groups, as text; largest first."""
        return [
            {
                "tool": visible(one.tool or "not named"),
                "error_type": visible(one.error_type),
                "status": "–" if one.http_status_code is None else str(one.http_status_code),
                "attempts": str(one.attempts),
                "calls": str(one.calls),
                "asked": "–" if one.retry_after_seconds is None else duration_text(one.retry_after_seconds),
                "message": visible(one.message, _MESSAGE_LIMIT),
            }
            for one in self.summary.failures
        ]

    @property
    def capacities(self) -> list[CapacityCurve]:
        """What was found out of capacities while it ran; empty for most runs."""
        return capacity_curves(self.timeline)

    @property
    def remedy(self) -> str:
        """What held it back, with what to do: in the document's own words where a benchmark wrote them."""
        words = self.result.get("remedy")
        return visible(words if isinstance(words, str) else remedy(self.summary, self.timeline))


def cells_of(documents: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """All results in order.

    Raises:
        DocumentError: there is no document, or one is not a ``makespan.run/1`` result.

    """
    if not documents:
        raise DocumentError("a report needs at least one document")
    found: list[tuple[Mapping[str, Any], Document]] = []
    for document in documents:
        found += [(document, result) for result in results_of(document)]
    if not found:
        raise DocumentError("the document holds no results: nothing has been run yet")
    cells = [_cell(document, result) for document, result in found]
    labels = _labels(cells)
    return [replace(cell, label=label) for cell, label in zip(cells, labels, strict=True)]


def _cell(document: Mapping[str, Any], result: Document) -> Cell:
    timeline = timeline_from_document(result)
    before, seam = attempts_before(result)
    try:
        return Cell(
            label="",
            run_id=str(document["run_id"]),
            scenario=str(result.get("scenario") or document["scenario"]),
            result=result,
            timeline=timeline,
            index=AttemptIndex(timeline),
            summary=_summary(result, timeline),
            drawn=_behind(timeline_from_document(result), before, seam) if seam else timeline,
            seam=seam,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DocumentError(f"not a {SCHEMA} result: {error}") from error


def _behind(timeline: Timeline, before: list[Attempt], seam: int) -> Timeline:
    """The timeline on the axis of the run before it."""
    for attempt in timeline.attempts:
        waits = [Wait(reason, start + seam, end + seam) for reason, start, end in attempt.waits]
        attempt.waits = waits or None
        attempt.blocked = [Interval(start + seam, end + seam) for start, end in attempt.blocked]
        attempt.ready += seam
        attempt.granted += seam
        for name in ("started", "ended", "known"):
            value = getattr(attempt, name)
            setattr(attempt, name, None if value is None else value + seam)
    return replace(timeline, attempts=[*before, *timeline.attempts])


def _summary(result: Document, timeline: Timeline) -> Summary:
    lost = {str(cause): float(seconds) for cause, seconds in result["lost_seconds"].items()}
    largest = max((cause for cause in lost if cause != RUNNING and lost[cause] > 0), key=lost.__getitem__, default=None)
    levels = result["concurrency"]
    return Summary(
        makespan_seconds=timeline.makespan_seconds,
        work_seconds=result["work_seconds"],
        steps_run=sum(1 for step in result["steps"] if step["attempts"]),
        attempts=len(timeline.attempts),
        concurrency_mean=levels["mean"],
        concurrency_max=levels["max"],
        concurrency_seconds={int(level): seconds for level, seconds in levels["seconds"].items()},
        critical_path_seconds=result["critical_path_seconds"],
        critical_path=tuple(
            CriticalStep(part["step_id"], part["seconds"], part["share_ratio"]) for part in result["critical_path"]
        ),
        lower_bound_seconds=result["lower_bound_seconds"],
        lower_bound_terms=result["lower_bound_terms_seconds"],
        binding_bound=result["binding_bound"],
        schedule_efficiency_ratio=result["schedule_efficiency_ratio"],
        overhead_seconds_per_step=result["overhead_seconds_per_step"],
        lost_seconds=lost,
        largest_lost_cause=largest,
        cpu_seconds=result["cpu_seconds"],
        cautions=(),
        failures=tuple(_failure(one, result["steps"]) for one in result.get("failures", ())),
    )


def _failure(one: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> FailureGroup:
    def is_alike(step: Mapping[str, Any]) -> bool:
        failures = [attempt["failure"] for attempt in step["attempts"] if attempt.get("failure")]
        kinds = {(failure["error_type"], failure["http_status_code"]) for failure in failures}
        return step.get("tool") == one["tool"] and (one["error_type"], one["http_status_code"]) in kinds

    return FailureGroup(
        tool=one["tool"],
        error_type=str(one["error_type"]),
        http_status_code=one["http_status_code"],
        attempts=one["attempts"],
        calls=one["calls"],
        retry_after_seconds=one["retry_after_seconds"],
        step_ids=tuple(str(step["step_id"]) for step in steps if is_alike(step)),
        message=str(one.get("message", "")),
    )


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """``n=4, size=big``, by name."""
    return ", ".join(f"{name}={parameters[name]}" for name in sorted(parameters))


def _labels(cells: Sequence[Cell]) -> list[str]:
    labels = [f"{cell.result['executor']}@{cell.result['workers']}" for cell in cells]
    extras = (
        [str(cell.result["policy"]) for cell in cells],
        [parameters_text(cell.result["parameters"]) for cell in cells],
        [cell.scenario for cell in cells],
        [f"run {cell.run_id[:8]}" for cell in cells],
    )
    for extra in extras[:3]:
        if len(set(extra)) > 1:
            labels = [f"{label} · {more}" if more else label for label, more in zip(labels, extra, strict=True)]
    if len(set(labels)) < len(labels) and len(set(extras[3])) > 1:
        labels = [f"{label} · {more}" for label, more in zip(labels, extras[3], strict=True)]
    seen: dict[str, int] = {}
    for place, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[place] = f"{label} #{seen[label]}"
    return [visible(label) for label in labels]


def headlines(cells: Sequence[Cell]) -> list[Cell]:
    """The headline cell of each scenario, in the order of the scenarios.

    ``serial`` and simulated cells come last, then the shortest median makespan counts. Of cells that are as short, the
    one with the fewest workers is taken, as on the terminal.
    """
    by_scenario: dict[str, list[Cell]] = {}
    for cell in cells:
        by_scenario.setdefault(cell.scenario, []).append(cell)
    return [_headline(those) for those in by_scenario.values()]


def _headline(cells: Sequence[Cell]) -> Cell:
    rank = min(map(_rank, cells))
    first = [cell for cell in cells if _rank(cell) == rank]
    costs = [cost_of(cell.workers, cell.startup_seconds, cell.makespan_seconds) for cell in first]
    found = [(cell.makespan_seconds, _interval(cell), cost) for cell, cost in zip(first, costs, strict=True)]
    return first[cheapest_of_equals(found)]


def _interval(cell: Cell) -> tuple[float, float] | None:
    ends = cell.result["makespan_seconds"]["ci95"]
    return None if ends is None else (float(ends[0]), float(ends[1]))


def _rank(cell: Cell) -> tuple[bool, bool]:
    return cell.result["executor"] == "virtual", cell.result["executor"] == "serial"


def headline(cells: Sequence[Cell]) -> Cell:
    """The cell that the report speaks of first."""
    return headlines(cells)[0]


def cells_shown(cells: Sequence[Cell]) -> set[int]:
    """The numbers of the cells whose Gantt charts are open at first.

    They are the one that the report speaks of first and what it is compared with; all of a few.
    """
    if len(cells) <= _CELLS_SHOWN:
        return set(range(len(cells)))
    chosen = headline(cells)
    return {
        number for number, cell in enumerate(cells)
        if cell is chosen or (cell.scenario == chosen.scenario and cell.result["executor"] == "serial")
    }  # fmt: skip
