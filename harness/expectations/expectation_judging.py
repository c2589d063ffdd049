"""Whether expectations are met by a document: a verdict for each line and each cell that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.expectations.expectation import Expectation, Operator
from harness.expectations.measuring import NotMeasuredError, measure
from harness.plain_text import some_of
from harness.result import results_of
from harness.result.cell_key import cell_of
from harness.statistics import Interval


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a line in one cell.

    ``judged`` False: nothing could be measured (no such cell, no baseline), so it is not met either. ``margin`` is how
    far the judged end of the interval is on the right side of the line, in the metric's unit; negative: the wrong one.
    ``confirmed``: whether more repetitions found the same; None where none were asked.
    """

    line: str
    cell: str | None
    met: bool
    judged: bool
    measured: float | None
    low: float | None
    high: float | None
    margin: float | None
    reason: str
    confirmed: bool | None = None

    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        where = f" [{self.cell}]" if self.cell is not None else ""
        return f"{'met' if self.met else 'NOT MET'}: {self.line}{where}: {self.reason}"


def all_met(verdicts: Iterable[Verdict]) -> bool:
    """Whether every expectation holds."""
    return all(verdict.met for verdict in verdicts)


def judge(expectations: Sequence[Expectation], document: Mapping[str, Any]) -> list[Verdict]:
    """A verdict for each expectation and each cell that it selects, in that order.

    Raises:
        DocumentError: the document is of another kind or version.

    """
    results = results_of(document)
    cells = [cell_of(result, str(document.get("scenario", ""))).label for result in results]
    verdicts: list[Verdict] = []
    for expectation in expectations:
        selector = expectation.selector
        chosen = [
            (cell, result) for cell, result in zip(cells, results, strict=True)
            if selector is None or selector.matches(result)
        ]  # fmt: skip
        verdicts.extend(_verdict(expectation, cell, result) for cell, result in chosen)
        if not chosen:
            there = f"there are {_listed(cells)}" if cells else "the run has no results"
            reason = f"no cell matches {selector}; {there}" if selector is not None else there
            verdicts.append(_not_judged(expectation.line, None, reason))
    return verdicts


def _listed(cells: Sequence[str]) -> str:
    return some_of(list(dict.fromkeys(cells)), 8)


def _not_judged(line: str, cell: str | None, reason: str) -> Verdict:
    return Verdict(line, cell, met=False, judged=False, measured=None, low=None, high=None, margin=None, reason=reason)


def _verdict(expectation: Expectation, cell: str, result: Mapping[str, Any]) -> Verdict:
    try:
        measured = measure(expectation.metric, result)
    except NotMeasuredError as error:
        return _not_judged(expectation.line, cell, str(error))
    low = measured.median if measured.low is None else measured.low
    high = measured.median if measured.high is None else measured.high
    met, margin = _judged(expectation.operator, expectation.threshold, low, high)
    return Verdict(
        expectation.line, cell, met=met, judged=True, measured=measured.median, low=measured.low, high=measured.high,
        margin=margin, reason=_reason(expectation, measured, met=met, margin=margin),
    )  # fmt: skip


def _judged(operator: Operator, threshold: float, low: float, high: float) -> tuple[bool, float]:
    """Whether both ends keep to the line, and by how much."""
    if operator in (">=", ">"):
        margin = low - threshold
        return (margin >= 0 if operator == ">=" else margin > 0), margin
    if operator in ("<=", "<"):
        margin = threshold - high
        return (margin >= 0 if operator == "<=" else margin > 0), margin
    if operator == "==":
        farthest = max(abs(low - threshold), abs(high - threshold))
        return farthest == 0, 0.0 - farthest
    if low <= threshold <= high:
        return False, 0.0
    return True, min(abs(low - threshold), abs(high - threshold))


def _reason(expectation: Expectation, measured: Interval, *, met: bool, margin: float) -> str:
    text = f"measured {measured.median:.4g}"
    if measured.low is not None and measured.high is not None:
        text += f", 95 % interval {measured.low:.4g} to {measured.high:.4g}"
    operator, threshold = expectation.operator, expectation.threshold
    if met:
        return f"{text}; {margin:.3g} to spare" if operator != "==" else text
    if _judged(operator, threshold, measured.median, measured.median)[0]:
        return f"{text}; the median keeps to it but the interval does not: more repetitions may narrow it"
    return f"{text}; {abs(margin):.3g} short of it" if margin else f"{text}; no more than the limit itself"
