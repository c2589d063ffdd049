"""A comparison as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.compare.compared_figures import Figures, Method
from harness.result.cell_key import Cell
from harness.statistics import Change, NoiseWarning, Verdict

SideName = Literal["before", "after"]
PutDownTo = Literal["ours", "the work's", "both"]


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
    """How much longer (seconds; negative: shorter) all attempts of a step ran."""

    step_id: str
    seconds: float


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
