"""Two runs, cell by cell: is it a change, how large is it, whose is it. The comparison is data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from harness.analysis.families import most_of
from harness.compare.compared_figures import Figures, Method, change_of, figures_of
from harness.plain_text import some_of
from harness.result import results_of
from harness.result.cell_key import Cell, cell_of, machine_differences
from harness.statistics import Change, Drift, NoiseWarning, Verdict, holm, noise_warnings

SideName = Literal["before", "after"]
PutDownTo = Literal["ours", "the work's", "both"]
Document = Mapping[str, Any]
_SIGNIFICANCE: Final = 0.05
_SMALLEST_CHANGE: Final = 0.01
# One of the two parts has to make up that share of the change to be the one that it is put down to.
_MOST_OF_IT: Final = 0.7
_CELLS_NAMED: Final = 5
# A step whose change is less than this share of the whole one explains nothing.
_WORTH_SAYING_RATIO: Final = 0.05
# Facts that may differ, and that a reader of the comparison wants to know.
_VERSIONS: Final = {
    "machine": "machine",
    "python_version": "Python",
    "python_implementation": "Python implementation",
    "makespan_version": "makespan",
}


class CompareError(ValueError):
    """Runs that cannot be compared, or not without force; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a run, or (``run_id`` None) a baseline made of ``runs`` earlier ones."""

    label: str
    run_id: str | None = None
    started_at: str | None = None
    revision: str | None = None
    runs: int = 1


@dataclass(frozen=True, slots=True)
class StepChange:
    """How much longer (seconds; negative: shorter) all attempts of a step ran, or of ``steps`` that are alike."""

    step_id: str
    seconds: float
    steps: int = 1


@dataclass(frozen=True, slots=True)
class CellChange:
    """A cell on both sides.

    ``before`` and ``after`` hold the figures of each repetition (of each run, where the first side is a baseline).
    ``change`` is that of the makespan, None where it has no length. ``p_value`` is corrected for the number of cells.
    ``reason`` says why the verdict is undecided, else it is empty. ``ours_seconds + work_seconds`` is about the change
    of the median makespan: how much went to the schedule and its overhead, and how much to the lower bound.
    ``put_down_to`` is None while it is undecided. ``lost_seconds``: by cause, the largest changes first.
    ``warnings``: what is odd about the repetitions of a side.
    """

    cell: Cell
    before: Figures
    after: Figures
    method: Method
    change: Change | None
    p_value: float | None
    verdict: Verdict
    reason: str
    put_down_to: PutDownTo | None
    ours_seconds: float
    work_seconds: float
    lost_seconds: Mapping[str, float]
    steps: tuple[StepChange, ...] = ()
    warnings: tuple[tuple[SideName, NoiseWarning], ...] = ()

    @property
    def seconds(self) -> float:
        """By how much the median makespan grew."""
        return self.after.median("makespan") - self.before.median("makespan")


@dataclass(frozen=True, slots=True)
class Comparison:
    """All cells of two sides, those that matter most first.

    ``notes`` are remarks about the whole: other versions, cells without enough history. ``forced``: why it took force.
    """

    before: Side
    after: Side
    cells: tuple[CellChange, ...]
    only_before: tuple[Cell, ...] = ()
    only_after: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()


def compare(before: Document, after: Document, *, force: bool = False, paired: bool = False) -> Comparison:
    """What changed from one run to the other, the cells that matter most first.

    ``force``: compare different scenarios and machines all the same; cells are then matched without their scenario.
    ``paired``: repetition i of one run was measured right beside repetition i of the other. Runs at different times are
    not paired.

    Raises:
        CompareError: nothing can be compared, or not without force.
        DocumentError: a document is of another kind or version.

    """
    old, new = cells_of(before), cells_of(after)
    forced = _obstacles(before, after, old, new)
    if forced and not force:
        raise CompareError(f"{'; '.join(forced)}. Compare them all the same with --force")
    if forced and not set(old) & set(new):
        old, new = _without_scenarios(old, new)
    shared = [cell for cell in new if cell in old]
    if not shared:
        raise CompareError(
            f"the runs have no cell in common: {_listed(old)} against {_listed(new)}; measure the same executors, "
            "workers, policies and parameters"
        )
    method: Method = "paired" if paired else "unpaired"
    changes = [cell_change(cell, figures_of(old[cell]), figures_of(new[cell]), method) for cell in shared]
    return Comparison(
        before=side_of(before),
        after=side_of(after),
        cells=judged_together(changes),
        only_before=tuple(cell for cell in old if cell not in new),
        only_after=tuple(cell for cell in new if cell not in old),
        notes=tuple(version_notes(before, after)),
        forced=tuple(forced),
    )


def cells_of(document: Document) -> dict[Cell, list[Mapping[str, Any]]]:
    """The results of a document by cell, in their order.

    Raises:
        DocumentError: the document is of another kind or version.

    """
    cells: dict[Cell, list[Mapping[str, Any]]] = {}
    for result in results_of(document):
        cells.setdefault(cell_of(result, str(document["scenario"])), []).append(result)
    return cells


def side_of(document: Document) -> Side:
    """How a run is named in a comparison."""
    run_id = str(document["run_id"])
    revision = document["environment"].get("revision")
    return Side(run_id[:12], run_id, str(document["started_at"]), None if revision is None else str(revision))


def version_notes(before: Document, after: Document) -> list[str]:
    """What else is not the same: worth knowing, no reason to refuse."""
    old, new = before["environment"], after["environment"]
    return [
        f"{words}: {old.get(name)} before, {new.get(name)} after"
        for name, words in _VERSIONS.items()
        if old.get(name) != new.get(name)
    ]


def _obstacles(before: Document, after: Document, old: Iterable[Cell], new: Iterable[Cell]) -> list[str]:
    found = []
    scenarios = {cell.scenario for cell in old}, {cell.scenario for cell in new}
    if not scenarios[0] & scenarios[1] and scenarios[0] and scenarios[1]:
        names = [", ".join(repr(name) for name in sorted(side)) for side in scenarios]
        found.append(f"the runs are of different scenarios: {names[0]} against {names[1]}")
    differences = machine_differences(before["environment"], after["environment"])
    if differences:
        found.append(f"the runs are from different machines ({'; '.join(differences)})")
    return found


def _without_scenarios(
    old: Mapping[Cell, list[Mapping[str, Any]]], new: Mapping[Cell, list[Mapping[str, Any]]]
) -> tuple[dict[Cell, list[Mapping[str, Any]]], dict[Cell, list[Mapping[str, Any]]]]:
    """Both with the scenario of the second run: now cells are the same where all else is."""
    bare = {replace(cell, scenario=""): cell for cell in new}
    renamed = {bare.get(replace(cell, scenario=""), cell): results for cell, results in old.items()}
    return renamed, dict(new)


def _listed(cells: Iterable[Cell]) -> str:
    return some_of([cell.label for cell in cells], _CELLS_NAMED) or "none"


def cell_change(cell: Cell, before: Figures, after: Figures, method: Method) -> CellChange:
    """One cell by itself; :func:`judged_together` gives it its verdict."""
    change = change_of(before, after, "makespan", method)
    ours = _above_the_bound(after) - _above_the_bound(before)
    work = after.median("lower_bound") - before.median("lower_bound")
    warnings = [(name, one) for name, side in _sides(before, after, method)
                for one in noise_warnings(side.values["makespan"])]  # fmt: skip
    return CellChange(
        cell=cell,
        before=before,
        after=after,
        method=method,
        change=change,
        p_value=None if change is None else change.p_value,
        verdict="undecided",
        reason="",
        put_down_to=None,
        ours_seconds=ours,
        work_seconds=work,
        lost_seconds=_lost_changes(before, after),
        steps=_step_changes(before, after),
        warnings=tuple(warnings),
    )


def _sides(before: Figures, after: Figures, method: Method) -> list[tuple[SideName, Figures]]:
    # A baseline's figures are days apart: what is odd about repetitions does not apply to them.
    return [("after", after)] if method == "against history" else [("before", before), ("after", after)]


def _above_the_bound(figures: Figures) -> float:
    return figures.median("makespan") - figures.median("lower_bound")


def _lost_changes(before: Figures, after: Figures) -> dict[str, float]:
    causes = {cause for side in (before, after) for lost in side.lost_seconds for cause in lost}
    changes = {cause: after.lost_median(cause) - before.lost_median(cause) for cause in sorted(causes)}
    return dict(sorted(changes.items(), key=lambda item: -abs(item[1])))


def _step_changes(before: Figures, after: Figures) -> tuple[StepChange, ...]:
    """The steps that changed most, of those that both sides ran and whose change is worth a word.

    Copies of a step and items of a list are one: which of them was slow is chance. Where one tool or host accounts for
    most of what grew, it is in place of its steps.
    """
    whole = max(after.median("makespan"), before.median("makespan"))
    changes = {
        step_id: seconds - before.run_seconds[step_id]
        for step_id, seconds in after.run_seconds.items() if step_id in before.run_seconds
    }  # fmt: skip
    known = [replace(one, step_ids=one.step_ids & changes.keys()) for one in after.families]
    alike = {step_id: one.name for one in known if one.kind in ("items", "copies") for step_id in one.step_ids}
    groups: dict[str, set[str]] = {}
    for step_id in changes:
        groups.setdefault(alike.get(step_id, step_id), set()).add(step_id)

    blamed = most_of([one for one in known if len(one.step_ids) > 1], before.run_seconds, after.run_seconds)
    if blamed is not None and blamed.kind not in ("items", "copies"):
        groups = {name: ids for name, ids in groups.items() if not ids <= blamed.step_ids}
        groups[blamed.name] = set(blamed.step_ids)
    found = [
        StepChange(name, math.fsum(changes[step_id] for step_id in sorted(ids)), len(ids))
        for name, ids in groups.items()
    ]  # fmt: skip
    worth = [one for one in found if abs(one.seconds) > _WORTH_SAYING_RATIO * whole]
    return tuple(sorted(worth, key=lambda one: -abs(one.seconds)))


def judged_together(changes: Sequence[CellChange]) -> tuple[CellChange, ...]:
    """The cells with their verdicts, which depend on how many there are; those that matter most first."""
    corrected = holm([change.p_value for change in changes])
    judged = [_judged(change, p_value) for change, p_value in zip(changes, corrected, strict=True)]
    return tuple(sorted(judged, key=lambda one: (one.verdict == "undecided", -abs(one.seconds))))


def _judged(one: CellChange, p_value: float | None) -> CellChange:
    verdict, reason = _verdict(one, one.change, p_value)
    put_down_to = None if verdict == "undecided" else _put_down_to(one.ours_seconds, one.work_seconds)
    return replace(one, p_value=p_value, verdict=verdict, reason=reason, put_down_to=put_down_to)


def _too_few(one: CellChange) -> str:
    single = [name for name, side in (("before", one.before), ("after", one.after)) if len(side) == 1]
    named = f" {single[0]}" if len(single) == 1 else ""
    return f"one repetition{named} says nothing about noise: use at least 6 repetitions"


def _verdict(one: CellChange, change: Change | None, p_value: float | None) -> tuple[Verdict, str]:
    if change is None:
        return "undecided", "a run without length has no ratio"
    if change.ratio.low is None or p_value is None:
        return "undecided", _too_few(one)
    if change.spans_one:
        return "undecided", "the interval allows for no change at all"
    if p_value >= _SIGNIFICANCE:
        chance = f"noise alone would look like this in {p_value:.0%} of cases, all cells considered"
        return "undecided", f"{chance}: more repetitions may decide"
    if abs(change.ratio.median - 1) < _SMALLEST_CHANGE:
        return "undecided", f"it is smaller than {_SMALLEST_CHANGE:.0%}, which two runs of one thing differ by"
    drift = max((abs(found.change_ratio) for _, found in one.warnings if isinstance(found, Drift)), default=0.0)
    if abs(change.ratio.median - 1) <= drift:
        return "undecided", f"repetitions of one run drifted by {drift:.0%}, more than the runs differ"
    return ("slower" if change.ratio.median > 1 else "faster"), ""


def _put_down_to(ours: float, work: float) -> PutDownTo:
    whole = ours + work
    if whole == 0:
        return "both"
    if work / whole >= _MOST_OF_IT:
        return "the work's"
    return "ours" if ours / whole >= _MOST_OF_IT else "both"
