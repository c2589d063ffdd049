"""Compares what a query answers with what the runs' JSON says. Pure.

Rules of this module:
- A series is judged by the numbers that its labels and the query's matchers leave: one of them, or their sum where the
  query adds up.
- What the query makes up itself (the ideal line, `no wait`, a limit as `… * 0 + 0.9`) is left out; so are metrics whose
  numbers no JSON states.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import promql_parser

from harness.dashboards.grafana.queries import CELL, CURVE, IDEAL, NO_FAILURE, NO_WAIT, WHAT
from harness.dashboards.validation.expected_numbers import Known, close, fits
from harness.dashboards.validation.promql import parsed
from harness.telemetry.metrics.metric_table import CELL_LABELS, PREFIX, STEPS_RUNNING

_MADE_UP: Final = {CURVE: IDEAL, "reason": NO_WAIT, "error_type": NO_FAILURE}


@dataclass(frozen=True, slots=True)
class _Selected:
    """The samples that a selector of a query takes."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def takes(self, known: Known) -> bool:
        """Whether it takes the sample of that number."""
        return known.metric == self.name and all(
            _matches(known.labels.get(name, ""), operator, value) for name, operator, value in self.matchers
        )


def differences(
    expression: str, answer: Sequence[Mapping[str, Any]], known: Sequence[Known], *, instant: bool,
    foreign: Collection[tuple[tuple[str, str], ...]] = (),
) -> Iterator[str]:  # fmt: skip
    """A sentence for each number that is not the JSON's. ``expression`` has its variables filled in; ``foreign``: the
    labels of cells with runs whose JSON is not at hand.
    """
    tree = parsed(expression)
    if _is_constant(tree):
        return
    selectors = _selectors(tree)
    taken = [one for one in known if any(selector.takes(one) for selector in selectors)]
    newest = [one for one in taken if one.age == 0]
    if not taken or (foreign and not instant):
        return
    if isinstance(tree, promql_parser.AggregateExpr) and str(tree.op) == "count":
        if not foreign:
            yield from _count(answer, len(newest))
        return
    usable = newest if instant else taken
    # A query may ask for other numbers beside: a series that none of the known ones fits is theirs.
    all_known = all(any(one.metric == selector.name for one in known) for selector in selectors)
    for series in answer:
        labels = {name: value for name, value in series["metric"].items() if name != "__name__"}
        if any(labels.get(name) == value for name, value in _MADE_UP.items()) or _is_foreign(labels, foreign):
            continue
        fitting = [one for one in usable if fits(one, labels) and _means(one, labels)]
        if not fitting and not all_known:
            continue
        yield from _judged(series, labels, fitting)


def _is_constant(tree: Any) -> bool:
    """Whether it is ``… * 0 + number``: one value, wherever there are samples at all."""
    if not isinstance(tree, promql_parser.BinaryExpr) or str(tree.op) != "+":
        return False
    nothing = tree.lhs
    return (
        isinstance(tree.rhs, promql_parser.NumberLiteral)
        and isinstance(nothing, promql_parser.BinaryExpr)
        and str(nothing.op) == "*"
        and isinstance(nothing.rhs, promql_parser.NumberLiteral)
        and nothing.rhs.val == 0
    )


def _judged(series: Mapping[str, Any], labels: Mapping[str, str], fitting: Sequence[Known]) -> Iterator[str]:
    allowed = [one.value for one in fitting] + [sum(one.value for one in fitting if one.age == 0)]
    values = [float(value) for _, value in series.get("values") or [series["value"]]]
    # Between its highest points the curve takes values that the JSON does not list.
    shown = [max(values)] if fitting and fitting[0].metric == STEPS_RUNNING.name else values
    for value in shown:
        if not any(close(value, one) for one in allowed):
            said = ", ".join(dict.fromkeys(f"{one.value:g}" for one in fitting[:3])) or "no such number"
            yield f"it shows {value:.12g} for {_words(labels)}; the JSON of the run says {said}"
            return


def _count(answer: Sequence[Mapping[str, Any]], count: int) -> Iterator[str]:
    for series in answer:
        if float(series["value"][1]) != count:
            yield f"it counts {series['value'][1]}; the JSON of the runs has {count}"


def _selectors(tree: Any) -> list[_Selected]:
    found: list[_Selected] = []

    def note(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            matchers = tuple((one.name, _operator(one.op), one.value) for one in node.matchers.matchers)
            found.append(_Selected(node.name, matchers))

    promql_parser.walk(tree, note)
    return found


def _operator(operator: Any) -> str:
    return str(operator).rpartition(".")[2]


def _matches(text: str, operator: str, value: str) -> bool:
    if operator == "Equal":
        return text == value
    if operator == "NotEqual":
        return text != value
    found = re.fullmatch(value, text) is not None
    return found if operator == "Re" else not found


def _means(known: Known, labels: Mapping[str, str]) -> bool:
    """Where figures are side by side, a label says which one it is."""
    what = labels.get(WHAT)
    return what is None or known.metric.startswith(f"{PREFIX}run_{what.replace(' ', '_')}_")


def _is_foreign(labels: Mapping[str, str], foreign: Collection[tuple[tuple[str, str], ...]]) -> bool:
    place = {name: value for name, value in labels.items() if name in (*CELL_LABELS, CELL, CURVE)}
    return any(fits(Known("", dict(cell), 0.0, ""), place) for cell in foreign)


def _words(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in labels.items()) or "all cells"
