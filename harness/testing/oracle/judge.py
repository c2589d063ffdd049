"""The oracle: judges a run by its record alone, with a slow and obvious model of what a run means.

It serves any scheduler: :func:`check` takes a plain graph and plain tuples. It shares no code with the scheduler
that it judges. For a :class:`executor.record.timeline.Timeline` there is :func:`check_timeline`.

Rules of this module:
- Each property has a name, a sentence and a message about the breach. One cause is reported as one violation as far
  as the record allows.
- What a record leaves open is never a violation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from executor.record.timeline import Timeline
from harness.testing.oracle import bounds as oracle_bounds
from harness.testing.oracle import policies as oracle_policies
from harness.testing.oracle import rules as oracle_rules
from harness.testing.oracle.events import Record, events_of, read_events, read_timeline
from harness.testing.oracle.finality import Options, View, Violation
from harness.testing.oracle.instants import Sweep
from harness.testing.oracle.plain_graph import PlainGraph

__all__ = [
    "OPT_IN", "PROPERTIES", "Violation", "assert_ok", "check", "check_timeline", "outputs_equal", "same_schedule",
]  # fmt: skip

_BY_STEP: dict[str, Callable[[View], Iterator[Violation]]] = {
    "data_edges": oracle_rules.data_edges,
    "order_edges": oracle_rules.order_edges,
    "conflicting_states": oracle_rules.conflicting_states,
    "final_states": oracle_rules.final_states,
    "attempts": oracle_rules.attempts,
    "backoffs": oracle_rules.backoffs,
    "timeouts": oracle_rules.timeouts,
    "outcomes": oracle_rules.outcomes,
    "stopping": oracle_rules.stopping,
    "readiness": oracle_rules.readiness,
    "reuse": oracle_rules.reuse,
    "released_by": oracle_rules.released_by,
    "nested_calls": oracle_rules.nested_calls,
    "mapped_steps": oracle_rules.mapped_steps,
    "barriers": oracle_policies.barriers,
    "record_order": oracle_policies.record_order,
    "waits": oracle_policies.waits,
    "lower_bound": oracle_bounds.lower_bound,
    "graham_bound": oracle_bounds.graham_bound,
}
_BY_INSTANT: dict[str, str] = {
    "workers": "Never more steps than workers hold a slot; blocked and resuming steps hold none.",
    "limits": "No limit is exceeded at any instant: held from granted to known, given back while blocked.",
    "devices": "Each attempt has exactly the devices that it needs, from granted to known, blocked or not; no device "
    "is ever over-committed by share or memory, and a whole one is for one attempt alone.",
    "device_packing": "A share or memory is taken of an idle device only where none in use has room (exact clock).",
    "rates": "Attempts and tokens per minute hold in every window on `granted`, by replay of the token buckets.",
    "start_order": "Starts of one instant come in order: resuming, calls (deepest first), priority, rank, file order.",
    "work_conserving": "No slot is free while a step is ready, in order, and fits its limits and rates (exact clock).",
    "blocked_parents_hold_no_slot": "The same, where the free slot is one that a blocked or resuming step gave back.",
    "no_starvation": "Of the steps that were overtaken 1,000 times the 16 oldest go first, and have units and tokens "
    "reserved.",
    "wait_reasons": "Each wait carries the first reason that applies (exact clock).",
}
PROPERTIES: Mapping[str, str] = {
    **{name: " ".join((function.__doc__ or "").split()) for name, function in _BY_STEP.items()},
    **_BY_INSTANT,
    "recorded_edges": "A timeline lists the graph's own data edges, order edges and calls.",
}
"""Every property by name, with the sentence that it checks."""

OPT_IN = frozenset({"wait_reasons"})
"""Properties that are checked only when asked for by name."""


def check(
    graph: PlainGraph,
    events: Iterable[tuple[Any, ...]] | Record,
    *,
    exact: bool = False,
    properties: Collection[str] | None = None,
    outcomes: Callable[[str, int], str | None] | None = None,
    handed_out_ahead: bool = False,
    unretryable: Collection[tuple[str, int]] = (),
    unlisted_cancellations: bool | Literal["calls"] = False,
    tolerance_ns: int = 0,
) -> list[Violation]:
    """Judge a run by its events, ``(kind, step_id, attempt, time_ns)`` or with ``info`` as a fifth; for the kinds see
    :data:`harness.testing.oracle.events.KINDS`. Times are integers: nanoseconds, or any count where nothing is timed.

    Args:
        graph: the steps that ran or should have, calls included.
        events: each attempt's in order, ``granted`` ones in the order of grants; or the record that was made of them.
        exact: the times are those of a virtual clock: whatever could happen at an instant did happen then.
        properties: the names to check; by default all of :data:`PROPERTIES` but :data:`OPT_IN`.
        outcomes: how each attempt (step id, number from 1) really ended, None where that is not known.
        handed_out_ahead: steps are granted before a worker is free; a slot is in use from started to ended.
        unretryable: attempts whose failure is final, whatever the retry says.
        unlisted_cancellations: steps, or called steps alone, may have been cancelled without a ``cancel`` event.
        tolerance_ns: how far clocks of a real run may lie apart.

    Raises:
        ValueError: the graph is not one (a cycle, an unknown or duplicate step), or a property is unknown.

    """
    wanted = _wanted(properties)
    options = Options(
        exact=exact,
        handed_out_ahead=handed_out_ahead,
        unretryable=frozenset(unretryable),
        unlisted_cancellations=unlisted_cancellations,
        tolerance_ns=tolerance_ns,
        outcomes=outcomes,
        reasons="wait_reasons" in wanted,
    )
    if not graph.by_id:
        raise ValueError("the graph has no steps")
    view = View(graph, events if isinstance(events, Record) else read_events(graph, events), options)
    found: list[Violation] = []
    for name, function in _BY_STEP.items():
        if name in wanted:
            found += function(view)
    if not wanted.isdisjoint(_BY_INSTANT):
        found += [violation for violation in Sweep(view).run() if violation.property in wanted]
    return found


def check_timeline(
    graph: PlainGraph,
    timeline: Timeline,
    *,
    exact: bool | None = None,
    cancellations: Iterable[tuple[int, Sequence[str] | None]] = (),
    resizes: Iterable[tuple[int, Mapping[str, int]]] = (),
    properties: Collection[str] | None = None,
    **options: Any,
) -> list[Violation]:
    """Judge a timeline. ``graph`` holds the called steps too (:func:`harness.testing.drawing.behaviour.graph_of_run`).

    ``exact`` is by default whether the timeline is of backend ``virtual``. ``cancellations`` are (time, step ids or
    None for the run), ``resizes`` (time, {workers: n, resource: capacity}). Further options as in :func:`check`.
    """
    asked: list[tuple[Any, ...]] = []
    for time, step_ids in cancellations:
        asked += [("cancel", step_id, 0, time) for step_id in (step_ids if step_ids is not None else [""])]
    asked += [("resized", "", 0, time, sizes) for time, sizes in resizes]
    wanted = _wanted(properties)
    found = _recorded_edges(graph, timeline) if "recorded_edges" in wanted else []
    virtual = timeline.backend == "virtual" if exact is None else exact
    record = read_timeline(graph, asked, timeline)
    return found + check(graph, record, exact=virtual, properties=wanted, **options)


def assert_ok(violations: Sequence[Violation], limit: int = 10) -> None:
    """Raise AssertionError with the messages of the first violations, if there are any."""
    if violations:
        more = f"\n… and {len(violations) - limit} more" if len(violations) > limit else ""
        raise AssertionError("\n".join(str(violation) for violation in violations[:limit]) + more)


def outputs_equal(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """The differences between the outputs of two runs, in words; empty if there are none."""
    found = [f"step {step_id!r} has an output only in the first run" for step_id in left if step_id not in right]
    found += [f"step {step_id!r} has an output only in the second run" for step_id in right if step_id not in left]
    found += [
        f"step {step_id!r} gave {left[step_id]!r} and {right[step_id]!r}"
        for step_id in left
        if step_id in right and (type(left[step_id]) is not type(right[step_id]) or left[step_id] != right[step_id])
    ]
    return found


def same_schedule(left: Timeline, right: Timeline) -> list[str]:
    """The differences between two timelines in what ran when and how it ended, in words; empty if there are none."""
    found = []
    if list(left.step_ids) != list(right.step_ids):
        found.append("the runs have different steps")
    elif list(left.statuses) != list(right.statuses):
        found += [
            f"step {step_id!r} is {mine} and {theirs}"
            for step_id, mine, theirs in zip(left.step_ids, left.statuses, right.statuses, strict=True)
            if mine != theirs
        ]
    mine_all, theirs_all = (list(events_of(timeline)) for timeline in (left, right))
    for mine_event, their_event in zip(mine_all, theirs_all, strict=False):
        if mine_event != their_event:
            found.append(f"first difference: {mine_event} and {their_event}")
            break
    else:
        if len(mine_all) != len(theirs_all):
            found.append("one run goes on where the other ends")
    return found


def _wanted(properties: Collection[str] | None) -> set[str]:
    if properties is None:
        return set(PROPERTIES) - OPT_IN
    unknown = sorted(set(properties) - set(PROPERTIES))
    if unknown:
        raise ValueError(f"no such property: {', '.join(unknown)}; there are {', '.join(PROPERTIES)}")
    return set(properties)


def _recorded_edges(graph: PlainGraph, timeline: Timeline) -> list[Violation]:
    """Compare the timeline's own edges with the graph's: data edges exactly, order edges by what they imply."""
    name = "recorded_edges"
    ids = list(timeline.step_ids)
    if set(ids) != set(graph.by_id) or len(ids) != len(graph.steps):
        odd = sorted(set(ids) ^ set(graph.by_id))
        return [Violation(name, f"graph and timeline have different steps: {', '.join(odd[:10])}", tuple(odd))]
    found = []
    for index, step_id in enumerate(ids):
        step, recorded = graph.by_id[step_id], [ids[other] for other in timeline.data_parents[index]]
        if recorded != list(step.data) and set(recorded) != set(step.data):
            found.append(
                Violation(
                    name,
                    f"step {step_id!r} is recorded as depending on {sorted(set(recorded))}; it depends on "
                    f"{sorted(step.data)}",
                    (step_id,),
                )
            )
        caller = timeline.nested_in[index] if timeline.nested_in else -1
        if (ids[caller] if caller >= 0 else None) != step.parent:
            found.append(Violation(name, f"step {step_id!r} is recorded with another caller", (step_id,)))
    if not any(timeline.order_parents) and not any(graph.order_parents.values()):
        return found
    order = {step_id: [ids[other] for other in timeline.order_parents[index]] for index, step_id in enumerate(ids)}
    if all(set(order[step_id]) == set(edges) for step_id, edges in graph.order_parents.items()):
        return found  # the same edges imply the same
    mine, theirs = _reach(graph, graph.order_parents), _reach(graph, order)
    return found + [
        Violation(
            name,
            f"the order edges of step {step_id!r} lead back to {sorted(theirs[step_id])}, but must lead to "
            f"{sorted(mine[step_id])}",
            (step_id,),
        )
        for step_id in ids
        if mine[step_id] != theirs[step_id]
    ]


def _reach(graph: PlainGraph, parents: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """For each step all that it reaches over these edges. An edge against the graph's order reaches its end alone."""
    if not any(parents.values()):
        return {step.step_id: set() for step in graph.steps}
    found: dict[str, set[str]] = {}
    for step in graph.topological:
        reached: set[str] = set()
        for other in parents[step.step_id]:
            reached |= {other, *found.get(other, ())}
        found[step.step_id] = reached
    return found
