"""A comparison as text for a terminal, as Markdown for a pull request, and as JSON for machines.

Rules of this module:
- Nothing is computed here but differences of medians.
- Names come from files: in Markdown they stay text, and control characters never reach a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from executor.model.findings import printable
from harness.compare.comparison import CellChange, Comparison, Side, StepChange
from harness.plain_text import aligned, counted, duration_text, duration_texts, some_of
from harness.result.cell_key import Cell
from harness.statistics import FewRepetitions, NoiseWarning

SCHEMA: Final = "makespan.compare/1"
_HEADINGS: Final = ("cell", "before", "after", "change", "95 % interval", "verdict", "put down to")
_CAUSES_SHOWN: Final = 3
_STEPS_SHOWN: Final = 3
_PUT_DOWN_TO: Final = {"ours": "the schedule", "the work's": "the steps", "both": "both"}
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>#|~&])")


def text(comparison: Comparison) -> str:
    """A table with a line for each cell, then what follows each real change, and the remarks."""
    rows = [list(_HEADINGS), *(_row(one, _has_many_scenarios(comparison)) for one in comparison.cells)]
    lines = [f"before: {_side(comparison.before)}", f"after:  {_side(comparison.after)}", ""]
    if comparison.cells:
        lines += [*aligned(rows), ""]
    lines += [f"{one.cell.label}: {_explanation(one)}" for one in comparison.cells]
    lines += _remarks(comparison)
    return printable("\n".join(lines).rstrip()) + "\n"


def markdown(comparison: Comparison) -> str:
    """A table in GitHub's Markdown, headed by one sentence."""
    many = _has_many_scenarios(comparison)
    lines = [f"**{_headline(comparison)}**", "", f"Before: {_escaped(_side(comparison.before))}  "]
    lines += [f"After: {_escaped(_side(comparison.after))}", ""]
    if comparison.cells:
        lines.append(f"| {' | '.join(_HEADINGS)} |")
        lines.append(f"|{' --- |' * len(_HEADINGS)}")
        lines += [f"| {' | '.join(_escaped(part) for part in _row(one, many))} |" for one in comparison.cells]
        lines.append("")
    lines += [f"- {_escaped(f'{one.cell.label}: {_explanation(one)}')}" for one in comparison.cells]
    lines += [f"- {_escaped(remark)}" for remark in _remarks(comparison)]
    return "\n".join(lines).rstrip() + "\n"


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Plain JSON values. Ratios are after ÷ before, times in seconds."""
    return {
        "schema": SCHEMA,
        "before": _side_document(comparison.before),
        "after": _side_document(comparison.after),
        "cells": [_cell_document(one) for one in comparison.cells],
        "only_before": [_cell_name(cell) for cell in comparison.only_before],
        "only_after": [_cell_name(cell) for cell in comparison.only_after],
        "notes": list(comparison.notes),
        "forced": list(comparison.forced),
    }


def _has_many_scenarios(comparison: Comparison) -> bool:
    return len({one.cell.scenario for one in comparison.cells}) > 1


def _row(one: CellChange, with_scenario: bool) -> list[str]:
    change = one.change
    ends = None if change is None else change.ratio.ci95
    return [
        str(one.cell) if with_scenario else one.cell.label,
        *duration_texts(one.before.median("makespan"), one.after.median("makespan")),
        "–" if change is None else f"{change.ratio.median - 1:+.1%}",
        "–" if ends is None else f"{ends[0] - 1:+.1%} to {ends[1] - 1:+.1%}",
        one.verdict,
        "–" if one.put_down_to is None else _PUT_DOWN_TO[one.put_down_to],
    ]


def _explanation(one: CellChange) -> str:
    """Why it is undecided; or where the change comes from."""
    if one.verdict == "undecided":
        return f"undecided: {one.reason}"
    schedule, steps = _signed(one.ours_seconds), _signed(one.work_seconds)
    parts = [f"{one.verdict} by {duration_text(abs(one.seconds))}"]
    parts.append(f"{schedule} by the schedule (time above the lower bound), {steps} by the steps (the lower bound)")
    causes = [f"{cause} {_signed(seconds)}" for cause, seconds in one.lost_seconds.items() if seconds]
    if causes:
        parts.append(f"lost time: {some_of(causes, _CAUSES_SHOWN)}")
    if one.steps:
        parts.append(f"steps: {some_of([_step(step) for step in one.steps], _STEPS_SHOWN)}")
    baseline = one.before.median("baseline"), one.after.median("baseline")
    if baseline[0] > 0 and baseline[1] > 0:
        parts.append(f"the serial run changed by {baseline[1] / baseline[0] - 1:+.1%}")
    return "; ".join(parts)


def _step(step: StepChange) -> str:
    alike = f" ({step.steps} alike)" if step.steps > 1 else ""
    return f"{step.step_id} {_signed(step.seconds)}{alike}"


def _remarks(comparison: Comparison) -> list[str]:
    remarks = [f"forced: {text}" for text in comparison.forced]
    if comparison.only_before:
        remarks.append(f"only before: {', '.join(str(cell) for cell in comparison.only_before)}")
    if comparison.only_after:
        remarks.append(f"only after: {', '.join(str(cell) for cell in comparison.only_after)}")
    remarks += [f"note: {note}" for note in comparison.notes]
    remarks += [
        f"warning: {one.cell.label}, {name}: {warning}"
        for one in comparison.cells
        for name, warning in one.warnings
        if not _is_the_reason(warning, one)
    ]
    return remarks


def _is_the_reason(warning: NoiseWarning, one: CellChange) -> bool:
    """Whether the cell is undecided by it: that stands above."""
    is_one = isinstance(warning, FewRepetitions) and warning.repetitions == 1
    return is_one and one.change is not None and one.change.ratio.low is None


def _headline(comparison: Comparison) -> str:
    counts = {verdict: sum(1 for one in comparison.cells if one.verdict == verdict)
              for verdict in ("slower", "faster", "undecided")}  # fmt: skip
    said = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return f"{counted(len(comparison.cells), 'cell')} compared: {', '.join(said) if said else 'nothing to say'}"


def _side(side: Side) -> str:
    facts = [fact for fact in (side.started_at, side.revision and f"revision {side.revision[:12]}") if fact]
    return f"{side.label} ({', '.join(facts)})" if facts else side.label


def _signed(seconds: float) -> str:
    return f"{'−' if seconds < 0 else '+'}{duration_text(abs(seconds))}"


def _escaped(words: str) -> str:
    return _MARKDOWN.sub(r"\\\1", printable(words).replace("\n", " "))


def _side_document(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "run_id": side.run_id,
        "started_at": side.started_at,
        "revision": side.revision,
        "runs": side.runs,
    }


def _cell_name(cell: Cell) -> dict[str, Any]:
    return {
        "scenario": cell.scenario,
        "executor": cell.executor,
        "workers": cell.workers,
        "policy": cell.policy,
        "parameters": cell.parameter_values,
    }


def _cell_document(one: CellChange) -> dict[str, Any]:
    change = one.change
    return {
        **_cell_name(one.cell),
        "before_seconds": one.before.median("makespan"),
        "after_seconds": one.after.median("makespan"),
        "before_repetitions": len(one.before),
        "after_repetitions": len(one.after),
        "ratio": None if change is None else {"median": change.ratio.median, "ci95": _list(change.ratio.ci95)},
        "superiority_ratio": None if change is None else change.superiority_ratio,
        "p_value": one.p_value,
        "method": one.method,
        "verdict": one.verdict,
        "reason": one.reason,
        "put_down_to": one.put_down_to,
        "ours_seconds": one.ours_seconds,
        "work_seconds": one.work_seconds,
        "lost_seconds": dict(one.lost_seconds),
        "steps": [
            {"step_id": step.step_id, "seconds": step.seconds, **({"steps": step.steps} if step.steps > 1 else {})}
            for step in one.steps
        ],
        "warnings": [f"{name}: {warning}" for name, warning in one.warnings],
    }


def _list(ends: Sequence[float] | None) -> list[float] | None:
    return None if ends is None else list(ends)
