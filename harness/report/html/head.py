"""The head of a report: what was run, where, the verdict in a sentence, its figures, the table of cells. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from harness.plain_text import duration_text, gain_text, interval_text, some_of
from harness.report.html.report_cells import Cell, headline
from harness.report.html.safe_text import ratio_text, share_text, visible

_VERDICTS: Final = {
    "faster": "faster than serial",
    "slower": "slower than serial",
    "undecided": "too close to serial to tell",
}
_LABELS_SHOWN: Final = 6
_FACTS: Final = (
    ("machine", "machine"),
    ("platform", "system"),
    ("architecture", "architecture"),
    ("usable_cores", "usable cores"),
    ("cores", "cores"),
    ("cpu_limit_cores", "CPU limit (cores)"),
    ("memory_bytes", "memory"),
    ("memory_limit_bytes", "memory limit"),
    ("python_version", "Python"),
    ("python_implementation", "Python build"),
    ("makespan_version", "makespan"),
    ("revision", "revision"),
)


class Figure(NamedTuple):
    """A number with its name and a remark."""

    name: str
    value: str
    remark: str = ""


class CellRow(NamedTuple):
    """A row of the table of cells, as text."""

    label: str
    repetitions: int
    makespan: str
    makespan_interval: str
    speedup: str
    speedup_interval: str
    verdict: str
    efficiency: str
    bound: str
    gap: str
    concurrency: str
    lost: str


class Head(NamedTuple):
    """Everything above the first chart."""

    title: str
    runs: list[tuple[str, str]]
    verdict: str
    remedy_title: str
    remedy: str
    about: str
    figures: list[Figure]
    notes: list[str]
    rows: list[CellRow]
    facts: list[list[tuple[str, str]]]


def head_of(
    documents: Sequence[Mapping[str, Any]], cells: Sequence[Cell], analyses: Sequence[Mapping[str, Any]] = ()
) -> Head:
    """The head for all documents; the verdict speaks of the headline cell. ``analyses``: of traces, one for each cell;
    what they conclude takes the place of what follows from a run whose dependencies are all known.
    """
    chosen = headline(cells)
    analysis = analyses[cells.index(chosen)] if len(analyses) == len(cells) else None
    scenarios = list(dict.fromkeys(visible(cell.scenario, 120) for cell in cells))
    return Head(
        title=some_of(scenarios, 3),
        runs=[(visible(str(one["run_id"]), 80), _moment(one["started_at"])) for one in documents],
        verdict=_verdict(chosen) if analysis is None else _conclusion(chosen, analysis),
        remedy_title="What held it back" if analysis is None else "What would settle it",
        remedy=chosen.remedy if analysis is None else _settled_by(analysis),
        about=chosen.label,
        figures=_figures(chosen),
        notes=_notes(documents, cells),
        rows=[_row(cell) for cell in cells],
        facts=[list(_facts(one["environment"])) for one in documents],
    )


def _verdict(cell: Cell) -> str:
    speedup = cell.speedup
    time = duration_text(cell.makespan_seconds)
    if speedup is None or cell.result["executor"] == "serial":
        share = cell.summary.schedule_efficiency_ratio
        tail = "" if share is None else f", {share_text(share)} of it the lower bound"
        return f"{cell.label} took {time}{tail}."
    interval = "" if speedup["ci95"] is None else f" ({speedup['ci95'][0]:.2f} to {speedup['ci95'][1]:.2f})"
    verdict = _VERDICTS.get(str(cell.result["speedup_verdict"]))
    said = f": {verdict}" if verdict else ""
    return f"{cell.label} took {time}, {ratio_text(speedup['median'])} the speed of serial{interval}{said}."


def _conclusion(cell: Cell, analysis: Mapping[str, Any]) -> str:
    """What another schedule of a trace gains for sure, and what it may gain."""
    whole = float(analysis["makespan_seconds"])
    sure, possible = (float(analysis["headline"][key]) for key in ("sure_gain_seconds", "possible_gain_seconds"))
    took = f"{cell.label} took {duration_text(whole)}"
    said = gain_text(sure, whole) if sure else "nothing"
    if possible <= sure:
        return f"{took}; another schedule gains {said}, and no more."
    return f"{took}; another schedule gains {said} for sure, and at most {gain_text(possible, whole)}."


def _settled_by(analysis: Mapping[str, Any]) -> str:
    settle = [visible(str(one), 300) for one in analysis["headline"]["settle"]]
    return f"{'; or '.join(settle)}." if settle else ""


def _figures(cell: Cell) -> list[Figure]:
    figures, result = cell.summary, cell.result
    statuses = Counter(cell.timeline.statuses)
    remark = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    found = [Figure("makespan", duration_text(cell.makespan_seconds), _interval(result["makespan_seconds"]["ci95"]))]
    if cell.speedup is not None:
        efficiency = share_text(result["efficiency_ratio"])
        found.append(Figure("speedup", ratio_text(cell.speedup["median"]), f"efficiency {efficiency}"))
    bound = "" if figures.binding_bound is None else f"set by {visible(figures.binding_bound).replace('_', ' ')}"
    found += [
        Figure("lower bound", duration_text(figures.lower_bound_seconds), bound),
        Figure("schedule efficiency", share_text(figures.schedule_efficiency_ratio), "lower bound ÷ makespan"),
        Figure("critical path", duration_text(figures.critical_path_seconds), f"{len(figures.critical_path)} steps"),
        Figure(
            "mean concurrency",
            "–" if figures.concurrency_mean is None else f"{figures.concurrency_mean:.2f}",
            f"at most {figures.concurrency_max} at once",
        ),
        Figure("steps", f"{len(cell.timeline.step_ids):,}", remark),
    ]
    retries = sum(1 for attempt in cell.timeline.attempts if attempt.attempt > 1)
    if retries:
        found.append(Figure("attempts", f"{figures.attempts:,}", f"{retries:,} of them retries"))
    return found


def _notes(documents: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> list[str]:
    """What a reader must know before believing a figure."""
    notes = []
    if any(one["environment"].get("simulated") for one in documents):
        notes.append("Simulated: no tool ran, durations are the stated ones, outputs are placeholders.")
    if any(one["environment"].get("stand_in") for one in documents):
        notes.append("Stand-in: no model was asked; the answers come from the stand-in service.")
    machines = {str(one["environment"].get("machine")) for one in documents}
    if len(machines) > 1:
        notes.append("The runs come from different machines: their times do not compare.")
    about: dict[str, list[str]] = {}
    for cell in cells:
        for caution in cell.result["cautions"]:
            about.setdefault(visible(str(caution)), []).append(cell.label)
    notes += [f"{_together(labels, len(cells))}: {caution}" for caution, labels in about.items()]
    return notes


def _together(labels: Sequence[str], of: int) -> str:
    if len(labels) == of > 1:
        return "every cell"
    return some_of(labels, _LABELS_SHOWN)


def _row(cell: Cell) -> CellRow:
    figures, result = cell.summary, cell.result
    makespan, bound = figures.makespan_seconds, figures.lower_bound_seconds
    cause = figures.largest_lost_cause
    speedup = cell.speedup
    lost = "–"
    if cause is not None and makespan:
        seconds = figures.lost_seconds[cause]
        lost = f"{visible(cause)} {duration_text(seconds)} ({share_text(seconds / makespan)})"
    return CellRow(
        label=cell.label,
        repetitions=result["repetitions"],
        makespan=duration_text(cell.makespan_seconds),
        makespan_interval=_interval(result["makespan_seconds"]["ci95"]),
        speedup="–" if speedup is None else ratio_text(speedup["median"]),
        speedup_interval="" if speedup is None else _ratios(speedup["ci95"]),
        verdict="baseline" if result["executor"] == "serial" and speedup else str(result["speedup_verdict"] or "–"),
        efficiency=share_text(result["efficiency_ratio"]),
        bound=duration_text(bound),
        gap=f"+{share_text(makespan / bound - 1)}" if bound > 0 else "–",
        concurrency="–" if figures.concurrency_mean is None else f"{figures.concurrency_mean:.2f}",
        lost=lost,
    )


def _moment(text: object) -> str:
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M:%S %Z").rstrip()
    except ValueError:
        return visible(str(text), 40)


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else interval_text(*ends)


def _ratios(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def _facts(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    named = dict(_FACTS)
    known = [(label, _fact(key, environment[key])) for key, label in _FACTS if environment.get(key) is not None]
    others = [
        (visible(key, 40).replace("_", " "), visible(str(value), 200))
        for key, value in environment.items()
        if key not in named and value is not None
    ]
    return known + others


def _fact(key: str, value: Any) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    return visible(str(value), 200)


def machine_line(documents: Sequence[Mapping[str, Any]]) -> str:
    """The machine of the first document in a line."""
    environment = documents[0]["environment"]
    parts = [visible(str(environment[key]), 80) for key in ("machine", "platform") if environment.get(key)]
    if environment.get("usable_cores"):
        parts.append(f"{environment['usable_cores']} usable cores")
    if environment.get("python_version"):
        parts.append(f"Python {visible(str(environment['python_version']), 20)}")
    return " · ".join(parts)
