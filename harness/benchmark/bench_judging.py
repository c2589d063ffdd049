"""What a benchmark is judged by, expectations and limits of change, and what becomes of suspects measured again.

Rules of this module:
- A cell that is judged badly may have had bad luck. With ``--confirm`` it is measured again, and only what the new
  repetitions alone find, too, counts.
- An error of a step is a fact and no noise: no second measurement takes it back.
- What the new repetitions cannot judge is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.benchmark.bench_figures import judged
from harness.benchmark.matrix import Case, Matrix, MatrixCell
from harness.compare import Comparison, Judgement, Threshold
from harness.expectations import Expectation, Verdict
from harness.plain_text import counted
from harness.result.cell_key import Cell

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """``verdicts`` with the case that each is about; ``skipped``: lines about cells that options took away.
    ``limits`` are judged on ``comparison``, the run against its baseline, None where there is none.
    """

    verdicts: tuple[tuple[Case, Verdict], ...]
    skipped: tuple[str, ...]
    comparison: Comparison | None = None
    limits: tuple[Judgement, ...] = ()

    @property
    def met(self) -> bool:
        """Whether everything is as asked."""
        return all(verdict.met for _, verdict in self.verdicts) and all(limit.met for limit in self.limits)


@dataclass(frozen=True, slots=True)
class Judge:
    """``judge_all`` False: lines about cells that are not in the matrix are left out. ``compare`` makes the comparison
    that ``limits`` are judged on.
    """

    matrix: Matrix
    judge_all: bool
    limits: Sequence[Threshold] = ()
    compare: Callable[[Document], Comparison] | None = None

    def judge(self, document: Document) -> Judged:
        """Judge a document of this matrix."""
        verdicts, skipped = self._verdicts(document)
        comparison = None if self.compare is None or not document["results"] else self.compare(document)
        limits = () if comparison is None else tuple(limit.judge(comparison) for limit in self.limits)
        return Judged(tuple(verdicts), tuple(skipped), comparison, limits)

    def suspects(self, found: Judged) -> list[MatrixCell]:
        """The cells that are worth measuring again."""
        names = {(case.scenario, verdict.cell) for case, verdict in found.verdicts if _is_suspect(case, verdict)}
        names |= {(one.cell.scenario, one.cell.label) for limit in found.limits for one, _ in limit.failed}
        return [cell for cell in self.matrix.cells if (cell.case.scenario, cell.label) in names]

    def _verdicts(self, document: Document) -> tuple[list[tuple[Case, Verdict]], list[str]]:
        verdicts: list[tuple[Case, Verdict]] = []
        skipped: list[str] = []
        for name in self.matrix.scenarios:
            cases = [case for case in self.matrix.cases if case.scenario == name]
            asked = [
                {"executor": cell.executor, "workers": cell.workers, "policy": cell.policy,
                 "parameters": cell.case.loaded.parameters}
                for cell in self.matrix.cells if cell.case in cases
            ]  # fmt: skip
            lines = [one for one in cases[0].expectations if self.judge_all or _is_about(one, asked)]
            skipped += [one.line for one in cases[0].expectations if one not in lines]
            case = replace(cases[0], expectations=tuple(lines))
            verdicts += [(cases[0], verdict) for verdict in judged(document, case)]
        return verdicts, skipped


def confirmed(first: Judged, again: Judged, rounds: int) -> Judged:
    """What is after ``again``, the judgement on the new repetitions of the suspects alone."""
    seconds = {(case.scenario, one.line, one.cell): one for case, one in again.verdicts if one.judged}
    verdicts = [
        (case, _confirmed(verdict, seconds.get((case.scenario, verdict.line, verdict.cell)), rounds))
        if _is_suspect(case, verdict) else (case, verdict)
        for case, verdict in first.verdicts
    ]  # fmt: skip
    limits = []
    for limit, second in zip(first.limits, again.limits, strict=False):
        fine = _fine_cells(second, again.comparison)
        failed = tuple(pair for pair in limit.failed if pair[0].cell not in fine)
        unconfirmed = tuple(one.cell for one, _ in limit.failed if one.cell in fine)
        limits.append(replace(limit, failed=failed, unconfirmed=unconfirmed))
    return replace(first, verdicts=tuple(verdicts), limits=tuple(limits) if limits else first.limits)


def _confirmed(verdict: Verdict, second: Verdict | None, rounds: int) -> Verdict:
    if second is None:
        return verdict
    times = counted(rounds, "more repetition")
    if second.met:
        reason = f"not met at first ({verdict.reason}), and met in {times} ({second.reason})"
        return replace(verdict, met=True, confirmed=False, reason=reason)
    reason = f"{verdict.reason}; not met in {times} either ({second.reason})"
    return replace(verdict, confirmed=True, reason=reason)


def _fine_cells(second: Judgement, comparison: Comparison | None) -> set[Cell]:
    """The cells that were judged again, and kept to the limit."""
    if comparison is None:
        return set()
    bad = {one.cell for one, _ in second.failed} | {one.cell for one in second.unjudged}
    return {one.cell for one in comparison.cells} - bad


def _is_suspect(case: Case, verdict: Verdict) -> bool:
    if verdict.met or not verdict.judged or verdict.cell is None:
        return False
    return not any(one.line == verdict.line and one.metric.name == "errors" for one in case.expectations)


def _is_about(expectation: Expectation, cells: Sequence[Mapping[str, Any]]) -> bool:
    return expectation.selector is None or any(expectation.selector.matches(cell) for cell in cells)
