"""``--against "median(14)"``: one run against the runs that were accepted before it.

Rules of this module:
- Only accepted runs count, of the same cell and class of machine. The newest of them are left out (the lag): a slow
  regression that passed each night would else become its own baseline.
- A run differs from the next by more than its repetitions do. So the interval is that of a prediction from how far the
  accepted runs lie apart (:func:`harness.statistics.predicted_change`).
- Too few is no fault: the cell is in the notes as "not enough history".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.compare.compared_figures import baseline_of, figures_of
from harness.compare.comparison import CellChange, Comparison, Side, cell_change, cells_of, judged_together, side_of
from harness.compare.threshold import ThresholdError
from harness.result.cell_key import machine_class

_SHAPE: Final = re.compile(r"\s*median\(\s*(\d{1,4})\s*(?:,\s*lag\s*=\s*(\d{1,4})\s*)?\)\s*")
# The fewest runs that say how far runs lie apart.
_LEAST_RUNS: Final = 3
_RUNS_A_LAG: Final = 7


@dataclass(frozen=True, slots=True)
class Against:
    """The median of the newest ``runs`` accepted runs, the ``lag`` newest of all left out."""

    runs: int
    lag: int

    @property
    def wanted(self) -> int:
        """How many accepted runs to bring, the newest ones."""
        return self.runs + self.lag

    @property
    def least(self) -> int:
        """With fewer runs (after the lag) there is no verdict."""
        return max(_LEAST_RUNS, math.ceil(self.runs / 2))

    def __str__(self) -> str:
        return f"median({self.runs}, lag={self.lag})"


def parse_against(text: str) -> Against:
    """Read ``median(14)`` or ``median(14, lag=3)``. The lag is a seventh of the runs, at least one, unless given.

    Raises:
        ThresholdError: it does not parse.

    """
    match = _SHAPE.fullmatch(text)
    if match is None or int(match.group(1)) < _LEAST_RUNS:
        raise ThresholdError(
            f'{text!r} is no baseline: write it as "median(14)", the median of the last 14 accepted runs; at least '
            f"{_LEAST_RUNS}"
        )
    runs = int(match.group(1))
    return Against(runs, int(match.group(2)) if match.group(2) is not None else max(1, runs // _RUNS_A_LAG))


def against(
    baseline: Against | str, document: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> Comparison:  # fmt: skip
    """The run against accepted ones. ``history`` holds their documents; those of another class of machine, and the run
    itself, are left out.

    Raises:
        ThresholdError: the baseline does not parse.
        DocumentError: a document is of another kind or version.

    """
    rule = parse_against(baseline) if isinstance(baseline, str) else baseline
    here = machine_class(document["environment"])
    others = [one for one in history if one["run_id"] != document["run_id"]]
    alike = sorted(
        (one for one in others if machine_class(one["environment"]) == here), key=lambda one: str(one["started_at"])
    )  # fmt: skip
    notes = []
    if len(alike) < len(others):
        notes.append(f"{len(others) - len(alike)} of {len(others)} accepted runs are from another class of machine")
    changes: list[CellChange] = []
    used = 0
    past = [cells_of(one) for one in alike]
    for cell, results in cells_of(document).items():
        runs = [figures_of(cells[cell]) for cells in past if cell in cells]
        kept = runs[: len(runs) - rule.lag][-rule.runs :] if len(runs) > rule.lag else []
        if len(kept) < rule.least:
            notes.append(
                f"{cell}: not enough history: {len(runs)} accepted runs, {rule.least + rule.lag} are needed (the "
                f"newest {rule.lag} do not count)"
            )
            continue
        used = max(used, len(kept))
        changes.append(cell_change(cell, baseline_of(kept), figures_of(results), "against history"))
    side = Side(f"median of {used} accepted runs", runs=used) if used else Side("no baseline", runs=0)
    return Comparison(side, side_of(document), judged_together(changes), notes=tuple(notes))
