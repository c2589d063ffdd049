"""What depends on what in a trace: every edge with its label and where it comes from.

In this order, the first that says something about a pair winning: a file of edges; span links and
``makespan.step.depends_on``; LangGraph's and OpenInference's metadata; data seen to flow; the observed order.

Rules of this module:
- A step with declared edges is not given edges of the observed order: its declared ones are all
  it needs, save where one of them (a trigger of LangGraph) leaves open who it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from executor.tracing import attribute_names as trace_names
from harness.traces.edges.data_flow import data_flow
from harness.traces.edges.found_edges import Edges
from harness.traces.edges.framework_edges import framework_edges, unsettled_edges
from harness.traces.edges.lineage import Lineage
from harness.traces.edges.observed_order import observed_edges
from harness.traces.edges.stated_edges import edges_of_file
from harness.traces.spans.span_steps import Steps
from harness.traces.spans.span_tree import Tree
from harness.traces.trace_model import ASSUMED, DECLARED, INFERRED, Edge

LINKS = "links"
OWN = "makespan"
FILE = "edges file"
DATA = "data flow"
OBSERVED = "observed order"
TREE = "span tree"
_MOST_INHERITED: Final = 32


def find_edges(steps: Steps, edges_file: str | Path | None = None) -> Edges:
    """All edges of a trace.

    Raises:
        TraceError: the file of edges cannot be read, or names a span that is not there.

    """
    edges = Edges(steps, Lineage(steps.nested_in))
    if edges_file is not None:
        _from_the_user(edges, edges_file)
    _from_links(edges)
    _from_own_attributes(edges)
    flows = data_flow(steps)
    framework_edges(edges, {pair for flow in flows if (pair := edges.lineage.siblings(*flow)) is not None})
    for before, after in flows:
        edges.add(before, after, INFERRED, DATA)
    unsettled_edges(edges)
    _from_the_tree(edges)
    _begun_in_others(edges)
    for before, after in observed_edges(steps, edges.covered.union(edges.begun_in), edges.stated):
        pair = (before, after)
        if pair not in edges.by_pair:
            edges.by_pair[pair] = Edge(before, after, ASSUMED, OBSERVED)
    _inherit(edges)
    _note_contradictions(edges)
    return edges


def _from_the_user(edges: Edges, edges_file: str | Path) -> None:
    edges.stated = edges_of_file(edges_file, edges.steps, edges.lineage)
    for before, after in edges.stated.needed:
        pair = edges.lineage.siblings(before, after)
        if edges.add(before, after, DECLARED, FILE) and pair is not None:
            edges.settled.add(pair[1])


def _from_links(edges: Edges) -> None:
    steps = edges.steps
    tree, step_of = steps.tree, steps.step_of
    dangling = foreign = 0
    for index, span in enumerate(tree.spans):
        for link in span.links:
            other = tree.index_of.get(link.span_id)
            if link.trace_id and link.trace_id != span.trace_id:
                foreign += 1
            elif other is None:
                dangling += 1
            elif link.attributes.get(trace_names.LINK_TYPE) != trace_names.LINK_RETRY_OF:
                before, after = step_of[other], step_of[index]
                if before >= 0 and after >= 0:
                    edges.add(before, after, DECLARED, LINKS)
    tree.note("dangling_link", "links to spans that are not in the trace", "they say nothing here", dangling)
    tree.note("link_to_other_trace", "links to spans of other traces", "they say nothing within this one", foreign)


def _from_own_attributes(edges: Edges) -> None:
    """``makespan.step.depends_on`` and ``order_after`` in traces that are ours only in part."""
    steps = edges.steps
    named: dict[tuple[int, str], int] = {}
    wanted: list[tuple[int, int, Iterable[object]]] = []
    for step, members in enumerate(steps.members):
        attributes = steps.tree.spans[members[-1]].attributes
        step_id = attributes.get(trace_names.STEP_ID)
        if not isinstance(step_id, str):
            continue
        run = _run_of(steps.tree, members[0])
        named.setdefault((run, step_id), step)
        edges.covered.add(step)
        for name in (trace_names.DEPENDS_ON, trace_names.ORDER_AFTER):
            listed = attributes.get(name)
            if isinstance(listed, (list, tuple)):
                wanted.append((step, run, listed))
    unknown = 0
    for step, run, ids in wanted:
        for step_id in ids:
            before = named.get((run, step_id)) if isinstance(step_id, str) else None
            if before is None:
                unknown += 1
            else:
                edges.add(before, step, DECLARED, OWN)
    steps.tree.note(
        "unknown_dependency", "dependencies on steps that are not in the trace", "they say nothing here", unknown
    )


def _run_of(tree: Tree, index: int) -> int:
    """The root of the run of ours that a span is part of, -1 where it is not in the trace: two runs in one trace may
    have steps of the same name. Calls nest to a limited depth, which is far below this one.
    """
    for _ in range(1000):
        if index < 0 or trace_names.FORMAT in tree.spans[index].attributes:
            return index
        index = tree.parent[index]
    return -1


def _from_the_tree(edges: Edges) -> None:
    """A child that began after its parent had ended needed it."""
    steps = edges.steps
    for before, after in steps.followed:
        one, other = steps.step_of[before], steps.step_of[after]
        if one >= 0 and other >= 0:
            edges.add(one, other, INFERRED, TREE)


def _begun_in_others(edges: Edges) -> None:
    for before, after in edges.steps.outlasting:
        one, other = edges.steps.step_of[before], edges.steps.step_of[after]
        pair = edges.lineage.siblings(one, other) if one >= 0 and other >= 0 and one != other else None
        if pair is not None and pair[0] < pair[1] == other and other not in edges.settled:
            edges.begun_in.setdefault(other, pair[0])


def _inherit(edges: Edges) -> None:
    """What a step needed, that needs too which began in it and went on after it."""
    if not edges.begun_in:
        return
    needed: dict[int, list[Edge]] = {}
    for edge in edges.by_pair.values():
        needed.setdefault(edge.after, []).append(edge)
    for begun, holder in edges.begun_in.items():  # callers first
        for before, _, label, _ in needed.get(holder, ())[:_MOST_INHERITED]:
            pair = (before, begun)
            if pair not in edges.by_pair and not edges.stated.denies(*pair):
                edge = edges.by_pair[pair] = Edge(before, begun, ASSUMED if label == ASSUMED else INFERRED, TREE)
                needed.setdefault(begun, []).append(edge)


def _note_contradictions(edges: Edges) -> None:
    for source, count in edges.contradicted.items():
        edges.steps.tree.note(
            "contradicted_edge",
            f"dependencies ({source}) on a span that had not ended, or had not begun, when the dependant began",
            "left out: the times say that there was none",
            count,
        )
    edges.steps.tree.note(
        "overruled_edge",
        "dependencies that the trace declares and the file of edges denies",
        "left out: the file wins",
        edges.overruled,
    )
