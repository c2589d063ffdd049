"""Properties of mapped steps: what is done once for each item of a list.

Rules of this module:
- A mapped step is judged by its items, which are judged like all other steps.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.testing.oracle.events import Try
from harness.testing.oracle.finality import View, Violation
from harness.testing.oracle.plain_graph import PlainStep


def mapped_steps(view: View) -> Iterator[Violation]:
    """A mapped step has one attempt, which ends when its last item is final: failed if an item failed, else cancelled
    if one was cancelled, else succeeded; unless somebody cancelled it before.
    """
    for step in view.graph.steps:
        tries = view.record.by_step.get(step.step_id, ()) if step.mapped else ()
        for one in tries:
            fault = _fault(view, step, one)
            if fault is not None:
                yield Violation("mapped_steps", f"{one.name} {fault}", (step.step_id,), one.known)


def _fault(view: View, step: PlainStep, one: Try) -> str | None:
    items = view.graph.children.get(step.step_id, ())
    states = [view.statuses.get(item) for item in items]
    expected = "failed" if "failed" in states else "cancelled" if "cancelled" in states else "succeeded"
    if one.number > 1:
        return "is a second one; items are tried again, not their step"
    if one.outcome == "cancelled" and view.cancel_times(step):
        return None
    if one.outcome != expected:
        return f"{one.outcome}, but must be {expected}: its items are {', '.join(map(str, states)) or 'none'}"
    early = max((view.earliest[item] for item in items), default=(one.granted, 0))[0]
    late = max((view.latest[item] for item in items), default=(one.granted, 0))[0]
    if one.known < early:
        return f"was known at {one.known} ns; its last item was final only at {early} ns"
    if view.options.exact and one.known > late:
        return f"was known at {one.known} ns; its last item was final at {late} ns already"
    return None
