"""Each wait carries the first reason that applies, judged between instants on an exact clock.

Rules of this module:
- The order is backoff, barrier, lock.X (X the first open state, writes before reads), resource.X (in the order of
  needs), rate.X, worker.
- An interval in which the reason changes without an event (a rate opens) is not judged, nor one in which the record
  leaves open what applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.testing.oracle_view import View, Waiting

if TYPE_CHECKING:
    from harness.testing.oracle_sweep import Sweep


def reason_fault(sweep: Sweep, waiting: Waiting, time: int, after: int) -> str | None:
    """The story of a wrong reason in [time, after], or None."""
    one = waiting.one
    recorded = next((reason for reason, start, end in one.waits if start <= time and after <= end), None)
    if recorded is None:
        return None
    expected = _expected(sweep, waiting, time, after)
    if expected is None or expected == recorded:
        return None
    return f"{one.name} waited for {recorded} in [{time}, {after}] ns; the first reason that applied was {expected}"


def _expected(sweep: Sweep, waiting: Waiting, time: int, after: int) -> str | None:
    one = waiting.one
    view = sweep.view
    if one.backoff_end > time:
        return "backoff"
    if waiting.opening[0] > time:
        told = view.stop is None and not view.record.cancels
        return "barrier" if told and waiting.opening[0] >= after else None
    lock = _lock(view, one.step_id, time)
    if lock is not None:
        return lock or None
    for name, units in one.needs:
        if name in sweep.capacity:
            low, high = sweep.units_low.get(name, 0), sweep.units_high.get(name, 0)
            if low + units > max(sweep.capacity[name]):
                return f"resource.{name}"
            if high + units > min(sweep.capacity[name]):
                return None
    for name, _ in one.needs:
        due = [(sweep.buckets.rates.get(name), 1), (sweep.buckets.tokens.get(name), view.reserved_tokens(one))]
        for bucket, amount in due:
            if bucket is None or bucket.open_at(amount) <= time:
                continue
            shut = bucket.high + (after - time) * bucket.per_ns + bucket.slack < amount
            return f"rate.{name}" if shut else None
    return "worker"


def _lock(view: View, step_id: str, time: int) -> str | None:
    """``lock.X`` for the first open state, None if none is open, and "" where the record does not tell."""
    for other, state in view.graph.order_edges[step_id]:
        if view.free(other, view.earliest)[0] > time:
            return f"lock.{state}"
        if view.free(other, view.latest)[0] > time:
            return ""
    return None
