"""How fast the run can have been at best, and at worst, given its measured durations.

Rules of this module:
- A bound is never above the truth: what a record leaves open counts as nothing.
- Integer arithmetic but for rates.

Sources: the work and critical path laws (Brent 1974); R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.testing.oracle.devices import device_bounds, wanted_devices
from harness.testing.oracle.events import Try
from harness.testing.oracle.finality import View, Violation
from harness.testing.oracle.plain_graph import NANOSECONDS, PlainStep

MINUTE_NS = 60 * NANOSECONDS
SLACK_NS = 2


@dataclass(frozen=True, slots=True)
class Bounds:
    """Nanoseconds: what the run took, its work, its longest chain, and every lower bound by name."""

    makespan: int
    work: int
    critical_path: int
    lower: Mapping[str, float]


def run_time(one: Try) -> int:
    """Started to ended, less blocked and resuming."""
    lasted = one.ended - one.started
    if one.blocked_at:
        lasted -= sum(one.resumed_at) - sum(one.blocked_at)
    return max(0, lasted)


def bounds_of(view: View) -> Bounds:
    """The bounds of a run, with workers and capacities at their maximum."""
    record = view.record
    times = [run_time(one) for one in record.tries]
    work = sum(times)
    chain = _critical_path(view, times)
    workers = max([view.slots, *(sizes.get("workers", 0) for _, sizes in record.resizes)])
    lower: dict[str, float] = {"critical path": chain, f"work / {workers} workers": work / workers}
    needed = [(one, dict(one.needs)) for one in record.tries if one.needs]
    for name, limit in view.graph.resources.items():
        users = [(one, needs[name]) for one, needs in needed if name in needs]
        if limit.capacity is not None:
            capacity = max([limit.capacity, *(sizes.get(name, 0) for _, sizes in record.resizes)])
            used = sum(units * times[one.position] for one, units in users)
            lower[f"use / capacity of {name!r}"] = used / capacity
        if limit.rate_per_minute is not None:
            lower[f"rate of {name!r}"] = (len(users) - limit.burst - 1e-6) * MINUTE_NS / limit.rate_per_minute
        if limit.tokens_per_minute is not None:
            burst = limit.tokens_per_minute if limit.token_burst is None else limit.token_burst
            spent = sum(min(view.reserved_tokens(one), one.tokens_used or 0) for one, _ in users)
            lower[f"tokens of {name!r}"] = (spent - burst - 1e-6) * MINUTE_NS / limit.tokens_per_minute
    if any(limit.devices for limit in view.graph.resources.values()):
        lower.update(device_bounds(view.graph.resources, [(one, times[one.position]) for one in record.tries]))
    makespan = max((one.ended for one in record.tries), default=0)
    return Bounds(makespan, work, chain, lower)


def lower_bound(view: View) -> Iterator[Violation]:
    """No run is faster than its lower bound."""
    bounds = bounds_of(view)
    for name, bound in bounds.lower.items():
        if bound > bounds.makespan + SLACK_NS + view.options.tolerance_ns:
            yield Violation(
                "lower_bound", f"the makespan is {bounds.makespan} ns, below the bound of {bound:.0f} ns by {name}"
            )


def graham_bound(view: View) -> Iterator[Violation]:
    """A work-conserving run takes at most work / m + (1 − 1/m) · critical path, hence at most (2 − 1/m) times its
    bound, where nothing but workers and edges holds steps back.
    """
    graph, record = view.graph, view.record
    plain = (
        view.options.exact
        and graph.policy in ("dataflow", "serial")
        and not graph.children
        and not view.added_late
        and view.stop is None
        and not record.cancels
        and not record.resizes
        and not view.options.unlisted_cancellations
        and not any(one.needs and any(name in graph.resources for name, _ in one.needs) for one in record.tries)
        and not any(wanted_devices(one.needs, graph.resources) for one in record.tries)
        and not any(one.backoff_end > one.ready for one in record.tries)
    )
    if not plain:
        return
    bounds = bounds_of(view)
    workers = view.slots
    most = bounds.work + (workers - 1) * bounds.critical_path
    if workers * bounds.makespan > most + workers * SLACK_NS:
        yield Violation(
            "graham_bound",
            f"the makespan is {bounds.makespan} ns; with {workers} workers, {bounds.work} ns of work and a critical "
            f"path of {bounds.critical_path} ns it is at most {most / workers:.0f} ns",
        )


def _critical_path(view: View, times: Sequence[int]) -> int:
    """The longest chain of run times over data and order edges. A step counts with all attempts and served backoffs,
    and with the longest chain of the calls in each blocked interval.
    """
    graph = view.graph
    weights: dict[str, int] = {}
    ran: Iterable[str] = view.record.by_step
    for step_id in sorted(ran, key=graph.depths.__getitem__, reverse=True) if graph.children else ran:
        weights[step_id] = _weight(view, times, weights, step_id)
    return longest_chain(view, [step for step in graph.topological if step.parent is None], weights)


def _weight(view: View, times: Sequence[int], weights: Mapping[str, int], step_id: str) -> int:
    tries = view.record.by_step[step_id]
    weight = 0
    for one in tries:
        weight += times[one.position]
        if one.number > 1:
            weight += one.backoff_end - one.ready
    called = view.graph.children.get(step_id, ())
    if not called:
        return weight
    intervals = [
        (blocked, unblocked)
        for one in tries
        for blocked, unblocked in zip(one.blocked_at, one.unblocked_at, strict=True)
    ]
    within: dict[int, set[str]] = {}
    for child in called:
        attempts = view.record.by_step.get(child)
        if not attempts:
            continue
        fitting = [
            place
            for place, (blocked, unblocked) in enumerate(intervals)
            if blocked <= attempts[0].ready and attempts[-1].ended <= unblocked
        ]
        if fitting:
            within.setdefault(fitting[-1], set()).add(child)
    for members in within.values():
        steps = [other for other in view.graph.topological if other.step_id in members]
        weight += longest_chain(view, steps, weights)
    return weight


def longest_chain(view: View, steps: Sequence[PlainStep], weights: Mapping[str, int]) -> int:
    """The longest chain among these steps (in topological order). Through a skipped step a chain goes data→data,
    data→order or order→order, never order→data; through a cancelled one only order→order.
    """
    by_data: dict[str, int] = {}
    by_order: dict[str, int] = {}
    parents, ran = view.graph.order_parents, view.record.by_step
    longest = 0
    for step in steps:
        step_id = step.step_id
        before = parents[step_id]
        data = max([by_data.get(other, 0) for other in step.data]) if step.data else 0
        order = max([by_order.get(other, 0) for other in before]) if before else 0
        if step_id in ran:
            chain = by_data[step_id] = by_order[step_id] = max(data, order) + weights[step_id]
            longest = max(longest, chain)
        else:
            skipped = view.statuses.get(step_id) == "skipped"
            by_data[step_id] = data if skipped else 0
            by_order[step_id] = max(order, data) if skipped else order
    return longest
