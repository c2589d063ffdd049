"""What a run is compared with: one other run, or those that were accepted before it.

Rules of this module:
- Which accepted runs count is decided by :mod:`harness.compare.against`; here they are only fetched.
- What is wrong with a baseline shows before anything is measured: :meth:`Baseline.find` looks it up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from harness.compare import Against, Comparison, Judgement, ThresholdError, against, compare, parse_against
from harness.compare.comparison import cells_of
from harness.plain_text import one_line
from harness.report.terminal.console import Line
from harness.result.cell_key import machine_class
from harness.store.run_references import load_all, load_reference
from harness.store.run_store import Store

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Baseline:
    """``document``: the one run to compare with; else ``rule``, over ``history`` or the store's accepted runs."""

    document: Document | None
    rule: Against | None
    history: tuple[str, ...]

    @classmethod
    def find(cls, typed: str, history: Sequence[str], store: Store | None) -> Self:
        """Read ``median(14)``, or else the name of a run, which is looked up.

        Raises:
            ThresholdError: it reads like a rule and does not parse.
            StoreError: the run cannot be found or read.

        """
        try:
            return cls(None, parse_against(typed), tuple(history))
        except ThresholdError:
            if "(" in typed:
                raise
        return cls(load_reference(typed, store), None, tuple(history))

    def compare(self, document: Document, store: Store | None, *, force: bool = False) -> Comparison:
        """The run against its baseline.

        Raises:
            CompareError: the runs cannot be compared, or not without force.
            StoreError: a run cannot be read.

        """
        if self.document is not None:
            return compare(self.document, document, force=force)
        assert self.rule is not None
        return against_history(document, self.rule, self.history, store)


def against_history(document: Document, rule: Against, named: Sequence[str], store: Store | None) -> Comparison:
    """A run against accepted ones: those that are ``named``, or the store's.

    Raises:
        StoreError: one cannot be found or read.

    """
    if named:
        history: list[Document] = [one for name in named for one in load_all(name, store)]
        history = [one for one in history if str(one["started_at"]) < str(document["started_at"])]
    else:
        history = [] if store is None else list(_accepted(document, rule, store))
    return against(rule, document, history)


def _accepted(document: Document, rule: Against, store: Store) -> Iterator[Document]:
    """The newest accepted runs until there are enough of each cell. Runs of several scenarios count for each."""
    wanted = dict.fromkeys(cells_of(document), rule.wanted)
    scenarios = {cell.scenario for cell in wanted}
    here = machine_class(document["environment"])
    for run in store.history(machine=here, verdict="accepted", before=str(document["run_id"])):
        if max(wanted.values(), default=0) <= 0:
            return
        if run.started_at >= str(document["started_at"]) or not scenarios & {run.scenario, *run.scenario.split(" + ")}:
            continue
        earlier = store.document(run.run_id)
        shared = wanted.keys() & cells_of(earlier).keys()
        for cell in shared:
            wanted[cell] -= 1
        if shared:
            yield earlier


def judgement_lines(judgements: Sequence[Judgement], comparison: Comparison) -> Iterator[Line]:
    """Whether each limit is kept to, and where it is not."""
    for one in judgements:
        if not comparison.cells:
            yield Line(f"not judged by {one.threshold}: there is nothing to compare", "yellow")
            continue
        yield Line(f"{'met' if one.met else 'NOT MET'}: {one.threshold}", "green" if one.met else "bold red")
        for line in str(one).splitlines():
            yield Line(f"  {one_line(line, 400)}")


def limit_document(judgement: Judgement) -> dict[str, Any]:
    """A judgement in plain JSON values."""
    limit = judgement.threshold
    return {
        "limit": str(limit),
        "metric": limit.metric,
        "change_ratio": limit.change_ratio,
        "met": judgement.met,
        "failed": [
            {"cell": str(one.cell), "ratio": change.ratio.median, "ci95": list(change.ratio.ci95 or ()) or None}
            for one, change in judgement.failed
        ],
        "unjudged": [str(one.cell) for one in judgement.unjudged],
        "unconfirmed": [str(cell) for cell in judgement.unconfirmed],
    }
