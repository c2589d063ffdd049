"""From a trace to a run that can be analysed: our own exactly, any other as far as it shows.

Rules of this module:
- A trace of ours is read by its attributes, and every other by its tree, its times and what frameworks say.
"""

from __future__ import annotations

from pathlib import Path

from executor.garbage_collection import paused_collector
from executor.model.findings import printable
from executor.record.timeline import Timeline
from harness.traces.edges.edge_finding import find_edges
from harness.traces.runs.foreign_timeline import late_starts, timeline_of
from harness.traces.runs.own_timeline import NotOursError, own_root, own_run
from harness.traces.spans.span_steps import find_steps, shown_name
from harness.traces.spans.tree_building import span_tree
from harness.traces.trace_model import ForeignRun, Trace, TraceFinding


def foreign_run(trace: Trace, *, edges_file: str | Path | None = None) -> ForeignRun:
    """The run that a trace shows.

    Raises:
        TraceError: the file of edges cannot be read, or names a span that is not there.

    """
    root = own_root(trace)
    if root is not None and edges_file is None:
        try:
            with paused_collector():
                return own_run(trace, root)
        except NotOursError as error:
            effect = "read as a foreign one: its graph comes from links and times"
            message = f"the trace says that it is one of makespan, but: {printable(str(error))}"
            trace.findings.append(TraceFinding("unreadable_own_trace", message, effect))
    with paused_collector():
        return _foreign(trace, edges_file)


def _foreign(trace: Trace, edges_file: str | Path | None) -> ForeignRun:
    tree = span_tree(trace.spans, trace.findings)
    origin = min(tree.start, default=0)
    steps = find_steps(tree)
    edges = find_edges(steps, edges_file)
    timeline = timeline_of(steps, edges, origin) if steps.members else _nothing()
    top = [tree.spans[index] for index in (steps.envelopes or tree.roots)[:1]]
    return ForeignRun(
        timeline=timeline,
        spans=[tuple(tree.spans[index] for index in members) for members in steps.members],
        names=steps.names,
        edges=[edges.by_pair[pair] for pair in sorted(edges.by_pair)],
        findings=tree.findings,
        origin=origin,
        from_makespan=False,
        waiting=[steps.waiting.get(members[0]) for members in steps.members],
        delays=late_starts(timeline, edges),
        begun_in=edges.begun_in,
        envelopes=[tree.spans[index] for index in steps.envelopes],
        trace_id=trace.trace_id,
        source=trace.source,
        workflow=shown_name(top[0].name) if top else "",
    )


def _nothing() -> Timeline:
    return Timeline(
        step_ids=(), data_parents=(), order_parents=(), statuses=(), attempts=(), workers=1,
        policy="observed", backend="trace",
    )  # fmt: skip
