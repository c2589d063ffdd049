"""The edges that hold even if no assumed one is real.

Rules of this module:
- A LangGraph node runs because some node of the superstep before named it. Where the trace does not say which, each is
  assumed; at least one of them is real, so the one that ended first is kept: nothing could have begun sooner.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.traces.edges.framework_edges import LANGGRAPH
from harness.traces.trace_model import ASSUMED, Edge, ForeignRun


def edges_that_hold(run: ForeignRun) -> list[Edge]:
    """The edges without the assumed ones, as far as they can be left out."""
    kept = [edge for edge in run.edges if edge.label != ASSUMED]
    one_of: dict[int, list[Edge]] = {}
    for edge in run.edges:
        if edge.label == ASSUMED and edge.source == LANGGRAPH:
            one_of.setdefault(edge.after, []).append(edge)
    if one_of:
        ends = _ends(run)
        kept += [min(edges, key=lambda edge: ends[edge.before]) for edges in one_of.values()]
        kept.sort(key=lambda edge: (edge.before, edge.after))
    return kept


def _ends(run: ForeignRun) -> Sequence[int]:
    ends = [0] * len(run.timeline.step_ids)
    for attempt in run.timeline.attempts:
        ends[attempt.index] = max(ends[attempt.index], attempt.ended or 0)
    return ends
