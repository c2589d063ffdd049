"""Which order of starts the policy ``best`` took, and why: one sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.plain_text import counted, duration_texts
from harness.report.terminal.console import Line
from harness.simulation.order_search import BestOrder, Known
from harness.simulation.priority_search import DATAFLOW

_KNOWN: Final[dict[Known, str]] = {
    "stated": "stated",
    "tool": "said by the tool",
    "learned": "learned from earlier runs",
    "assumed": "taken to be 1 s",
}


def order_lines(order: BestOrder, *, on: str = "") -> Iterator[Line]:
    """What there is to say. ``on``: the executor and workers, where there are several."""
    yield Line(f"Order of starts{f' on {on}' if on else ''}: {_reason(order)}.")


def _reason(order: BestOrder) -> str:
    own = "that of dataflow"
    if order.most_steps is not None:
        return f"{own}, since with more than {order.most_steps:,} steps none is tried"
    found = order.found
    if found is None:
        return f"{own}, since nothing is known of how long the steps run (expected_seconds, or an earlier run)"
    tried = counted(len(found.makespans_seconds) - 1, "rule")
    left_out = f", {len(found.left_out)} not tried since the run is large" if found.left_out else ""
    known = ", ".join(f"{count:,} {_KNOWN[how]}" for how, count in order.known.items() if count)
    where = f"on {counted(order.workers, 'worker')} of the virtual clock"
    shortest, before = duration_texts(found.makespans_seconds[found.rule], found.makespans_seconds[DATAFLOW])
    if found.rule == DATAFLOW:
        return f"{own}, {before} {where}; none of {tried} is shorter{left_out} (durations: {known})"
    return f"{found.rule}, {shortest} {where} against {before}; the best of {tried}{left_out} (durations: {known})"
