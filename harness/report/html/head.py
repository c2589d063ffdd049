"""The head of a report: what was run, where, the verdict in a sentence, its figures, the table of cells. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from harness.analysis import Summary
from harness.analysis.remedy import WORTH_ACTING_RATIO
from harness.plain_text import counted, duration_text, duration_texts, gain_text, interval_text, some_of
from harness.report.html.machine import machine_words
from harness.report.html.report_cells import Cell, headline, headlines
from harness.report.html.safe_text import NOTHING, ratio_text, share_text, visible

_VERDICTS: Final = {
    "faster": "faster than serial",
    "slower": "slower than serial",
    "undecided": "too close to serial to decide",
}
_LABELS_SHOWN: Final = 6
_SCENARIOS_SHOWN: Final = 4
_RUN_CHARACTERS: Final = 12
_RUNS_NAMED: Final = 3
# Less than that share of the makespan is no loss worth a name.
_NOTHING_RATIO: Final = 0.005


class Figure(NamedTuple):
    """A number with its name and a remark."""

    name: str
    value: str
    remark: str = ""


class Value(NamedTuple):
    """A place of the table of cells. ``more`` is said in smaller letters."""

    column: str
    text: str
    more: str = ""

    @property
    def says_nothing(self) -> bool:
        """Whether it is a dash."""
        return self.text == NOTHING


class CellRow(NamedTuple):
    """A row of the table of cells. ``number``: of the cell, from 0."""

    number: int
    label: str
    makespan: str
    values: list[Value]


class Head(NamedTuple):
    """Everything above the first chart. ``verdicts``: a sentence for each scenario, the first about ``about``."""

    title: str
    runs: list[tuple[str, str]]
    verdicts: list[str]
    remedy_title: str
    remedy: str
    about: str
    figures: list[Figure]
    notes: list[str]
    columns: list[str]
    rows: list[CellRow]
    failures: list[dict[str, str]]
    machines: list[tuple[str, str]]


def head_of(
    documents: Sequence[Mapping[str, Any]], cells: Sequence[Cell], analyses: Sequence[Mapping[str, Any]] = ()
) -> Head:
    """The head for all documents; the verdict speaks of the headline cell. ``analyses``: of traces, one for each cell;
    what they conclude takes the place of what follows from a run whose dependencies are all known.
    """
    chosen = headline(cells)
    analysis = analyses[cells.index(chosen)] if len(analyses) == len(cells) else None
    scenarios = list(dict.fromkeys(visible(cell.scenario, 120) for cell in cells))
    rows = [_row(number, cell) for number, cell in enumerate(cells)]
    return Head(
        title=some_of(scenarios, 3),
        runs=[(visible(str(one["run_id"]), 80), _moment(one["started_at"])) for one in documents],
        verdicts=_verdicts(cells) if analysis is None else [_conclusion(chosen, analysis)],
        remedy_title=_remedy_title(chosen) if analysis is None else "What would settle it",
        remedy=chosen.remedy if analysis is None else _settled_by(analysis),
        about=chosen.label,
        figures=_figures(chosen, is_alone=len(cells) == 1),
        notes=_notes(documents, cells),
        columns=_said_columns(rows),
        rows=rows,
        failures=chosen.failures,
        machines=_machines(documents),
    )


def _machines(documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Of each run where it ran, as far as that is known; runs of one machine together."""
    runs: dict[str, list[str]] = {}
    for one in documents:
        if words := machine_words(one["environment"]):
            runs.setdefault(words, []).append(visible(str(one["run_id"])[:_RUN_CHARACTERS]))
    if len(runs) == 1:
        return [("where it ran", words) for words in runs]
    return [(f"run {some_of(those, _RUNS_NAMED)}", words) for words, those in runs.items()]


def _said_columns(rows: Sequence[CellRow]) -> list[str]:
    """The columns in which some cell says something. What nothing failed in says nothing."""
    names = [value.column for value in rows[0].values]
    return [name for place, name in enumerate(names) if not all(row.values[place].says_nothing for row in rows)]


def _remedy_title(cell: Cell) -> str:
    return "What failed" if cell.has_failed else "What held it back"


def _verdicts(cells: Sequence[Cell]) -> list[str]:
    chosen = headlines(cells)
    if len(chosen) == 1:
        return [_verdict(chosen[0])]
    said = [_verdict(cell) for cell in chosen[:_SCENARIOS_SHOWN]]
    left = len(chosen) - _SCENARIOS_SHOWN
    return [*said, f"{counted(left, 'more scenario')} in the table."] if left > 0 else said


def _verdict(cell: Cell) -> str:
    speedup = cell.speedup
    time = duration_text(cell.makespan_seconds)
    if cell.has_failed:
        failed = cell.timeline.statuses.count("failed")
        return f"{failed:,} of {counted(len(cell.timeline.step_ids), 'step')} failed: {cell.label} ended after {time}."
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


def _figures(cell: Cell, *, is_alone: bool) -> list[Figure]:
    figures, result = cell.summary, cell.result
    statuses = Counter(cell.timeline.statuses)
    remark = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    found = [Figure("makespan", duration_text(cell.makespan_seconds), _interval(result["makespan_seconds"]["ci95"]))]
    if cell.speedup is not None:
        efficiency = share_text(result["efficiency_ratio"])
        found.append(Figure("speedup", ratio_text(cell.speedup["median"]), f"efficiency {efficiency}"))
    bound = "" if figures.binding_bound is None else f"set by {_bound_words(figures.binding_bound)}"
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
        found.append(
            Figure("attempts", f"{figures.attempts:,}", f"{retries:,} {'retry' if retries == 1 else 'retries'}")
        )
    # Of several cells it is in their table.
    if is_alone and (cause := figures.largest_lost_cause) is not None:
        seconds = figures.lost_seconds[cause]
        if (share := seconds / (_whole_seconds(figures) or 1.0)) >= WORTH_ACTING_RATIO:
            found.append(Figure("largest loss", duration_text(seconds), f"{visible(cause, 60)}, {share_text(share)}"))
    return found


def _whole_seconds(figures: Summary) -> float:
    """The makespan, with what a trace's outermost span lasts beyond the last step: the parts of it sum to that."""
    return sum(figures.lost_seconds.values())


def _bound_words(bound: str) -> str:
    """``critical path``; a limit has the name that its owner gave it."""
    return visible(bound) if "." in bound else visible(bound).replace("_", " ")


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


def _row(number: int, cell: Cell) -> CellRow:
    figures, result = cell.summary, cell.result
    bound, cause, speedup = figures.lower_bound_seconds, figures.largest_lost_cause, cell.speedup
    makespan, *ends = duration_texts(cell.makespan_seconds, *(result["makespan_seconds"]["ci95"] or ()))
    whole = _whole_seconds(figures)
    gap = f"+{share_text(whole / bound - 1)}" if bound > 0 else ""
    lost, lost_more = NOTHING, ""
    seconds = 0.0 if cause is None else figures.lost_seconds[cause]
    if cause is not None and seconds > _NOTHING_RATIO * whole:
        lost, lost_more = visible(cause), f"{duration_text(seconds)} ({share_text(seconds / whole)})"
    is_baseline = result["executor"] == "serial" and speedup is not None
    values = [
        Value("runs", str(result["repetitions"])),
        Value("makespan (95 %)", makespan, " to ".join(ends)),
        Value(
            "speedup (95 %)",
            NOTHING if speedup is None else ratio_text(speedup["median"]),
            "" if speedup is None or is_baseline else _ratios(speedup["ci95"]),
        ),
        Value("verdict", "baseline" if is_baseline else str(result["speedup_verdict"] or NOTHING)),
        Value("efficiency", share_text(result["efficiency_ratio"])),
        Value("lower bound", duration_text(bound), gap),
        Value("concurrency", NOTHING if figures.concurrency_mean is None else f"{figures.concurrency_mean:.2f}"),
        Value("largest lost cause", lost, lost_more),
        Value("failed attempts", f"{sum(one.attempts for one in figures.failures):,}" if figures.failures else NOTHING),
        Value("start-up", duration_text(cell.startup_seconds) if cell.startup_counts else NOTHING),
    ]
    return CellRow(number, cell.label, duration_text(cell.makespan_seconds), values)


def _moment(text: object) -> str:
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M:%S %Z").rstrip()
    except ValueError:
        return visible(str(text), 40)


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else interval_text(*ends)


def _ratios(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def machine_line(documents: Sequence[Mapping[str, Any]]) -> str:
    """The machine of the first document in a line."""
    environment = documents[0]["environment"]
    parts = [visible(str(environment[key]), 80) for key in ("machine", "platform") if environment.get(key)]
    if environment.get("usable_cores"):
        parts.append(f"{environment['usable_cores']} usable core{'' if environment['usable_cores'] == 1 else 's'}")
    if environment.get("python_version"):
        parts.append(f"Python {visible(str(environment['python_version']), 20)}")
    return " · ".join(parts)
