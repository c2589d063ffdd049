"""``--fail-if "makespan +5%"``: when a comparison is bad enough to stop a release.

Rules of this module:
- A cell fails only where the whole 95 % interval of its change lies beyond the limit. Noise does not fail it.
- A cell without an interval is not judged, and is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from executor.model.findings import did_you_mean
from harness.compare.compared_figures import METRICS, change_of
from harness.compare.comparison import CellChange, Comparison
from harness.result.cell_key import Cell
from harness.statistics import Change

_SHAPE: Final = re.compile(r"\s*([^\s+−\-]*)\s*([+−-]?)\s*([^\s%]*)\s*(%?)\s*")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_SUFFIXES: Final = ("_seconds", "_ratio")


class ThresholdError(ValueError):
    """A limit that does not parse; the message says what is wrong and how it is written."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``failed``: the cells beyond the limit, with their change, the worst first. ``unjudged``: cells with too little
    to judge by. ``unconfirmed``: cells that were beyond it, and were not when they were measured again.
    """

    threshold: Threshold
    failed: tuple[tuple[CellChange, Change], ...]
    unjudged: tuple[CellChange, ...]
    unconfirmed: tuple[Cell, ...] = ()

    @property
    def met(self) -> bool:
        """Whether no cell is beyond the limit."""
        return not self.failed

    def __str__(self) -> str:
        lines = [
            f"{one.cell}: {self.threshold.metric} {change.ratio.median - 1:+.1%}, interval {_ends(change)}, is beyond "
            f"{self.threshold}"
            for one, change in self.failed
        ]
        lines += [f"{one.cell}: not judged, there is no interval for {self.threshold.metric}" for one in self.unjudged]
        lines += [f"{cell}: beyond {self.threshold} at first, and not when measured again" for cell in self.unconfirmed]
        return "\n".join(lines) or f"no cell is beyond {self.threshold}"


@dataclass(frozen=True, slots=True)
class Threshold:
    """``metric`` may grow by ``change_ratio`` (0.05 is +5 %) and no more; a negative one limits how far it may fall."""

    metric: str
    change_ratio: float

    def judge(self, comparison: Comparison) -> Judgement:
        """Which cells are beyond the limit."""
        failed: list[tuple[CellChange, Change]] = []
        unjudged: list[CellChange] = []
        for one in comparison.cells:
            known = self.metric == "makespan"
            change = one.change if known else change_of(one.before, one.after, self.metric, one.method)
            if change is None or change.ratio.low is None or change.ratio.high is None:
                unjudged.append(one)
            elif change.ratio.low > 1 + self.change_ratio if self.change_ratio >= 0 else (
                change.ratio.high < 1 + self.change_ratio
            ):  # fmt: skip
                failed.append((one, change))
        failed.sort(key=lambda pair: -abs(pair[1].ratio.median - 1))
        return Judgement(self, tuple(failed), tuple(unjudged))

    def __str__(self) -> str:
        return f"{self.metric} {self.change_ratio * 100:+g}%"


def fail_if(text: str) -> Threshold:
    """Read a limit: a metric, a sign and per cent.

    Raises:
        ThresholdError: it does not parse.

    """
    match = _SHAPE.fullmatch(text)
    metric, sign, number, percent = match.groups() if match is not None else (text, "", "", "")
    bare = next((metric.removesuffix(suffix) for suffix in _SUFFIXES if metric.endswith(suffix)), metric)
    how = 'write it as "makespan +5%"'
    if match is None or not bare:
        raise ThresholdError(f"{text!r} is no limit; {how}")
    if bare not in METRICS:
        fix = did_you_mean(bare, METRICS, f"use one of {', '.join(METRICS)}")
        raise ThresholdError(f"{text!r}: there is no metric {metric!r}; {fix}")
    if not sign:
        raise ThresholdError(f"{text!r}: a sign is missing, + for growing and - for falling; {how}")
    if _NUMBER.fullmatch(number) is None:
        raise ThresholdError(f"{text!r}: {number!r} is no number; {how}")
    if not percent:
        raise ThresholdError(f"{text!r}: the % is missing; {how}")
    value = float(number) / 100
    if sign != "+" and not 0 < value < 1:
        raise ThresholdError(f"{text!r}: nothing falls by {number} %; {how}")
    return Threshold(bare, value if sign == "+" else -value)


def _ends(change: Change) -> str:
    low, high = change.ratio.ci95 or (1.0, 1.0)
    return f"{low - 1:+.1%} to {high - 1:+.1%}"
