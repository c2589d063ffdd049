"""Each wait carries the first reason that applies, judged between instants on an exact clock.

Rules of this module:
- The order is backoff, barrier, lock.X (X the first open state, writes before reads), resource.X (in the order of
  needs), rate.X, worker.
- An interval in which the reason changes without an event (a rate opens) is not judged, nor one in which the record
  leaves open what applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.testing.oracle.events import NEVER, Try
from harness.testing.oracle.finality import Waiting

if TYPE_CHECKING:
    from harness.testing.oracle.instants import Sweep


def reason_fault(sweep: Sweep, waiting: Waiting, time: int, after: int) -> str | None:
    """The story of a wrong reason in [time, after], or None."""
    for recorded, start, end in waiting.one.waits:
        if start <= time and after <= end:
            expected, until = _expected(sweep, waiting, time, after)
            if expected is None:
                return None
            if expected == recorded:
                waiting.explained_until = min(until, end)
                return None
            told = f"{waiting.one.name} waited for {recorded} in [{time}, {after}] ns"
            return f"{told}; the first reason that applied was {expected}"
    return None


def _expected(sweep: Sweep, waiting: Waiting, time: int, after: int) -> tuple[str | None, int]:
    """The first reason that applies, None where the record does not tell, and until when it surely is the first."""
    one = waiting.one
    view = sweep.view
    if one.backoff_end > time:
        return "backoff", one.backoff_end
    opening = waiting.opening[0]
    if opening > time:
        told = view.stop is None and not view.record.cancels
        return ("barrier" if told and opening >= after else None), opening
    for state, early, late in view.locks.get(one.step_id, ()):
        if early[0] > time:
            return f"lock.{state}", early[0]
        if late[0] > time:
            return None, after
    if not one.needs:
        return "worker", NEVER[0]
    return _expected_of_needs(sweep, one, time, after), after


def _expected_of_needs(sweep: Sweep, one: Try, time: int, after: int) -> str | None:
    for name, units in one.needs:
        if name in sweep.capacity:
            low, high = sweep.units_low.get(name, 0), sweep.units_high.get(name, 0)
            if low + units > max(sweep.capacity[name]):
                return f"resource.{name}"
            if high + units > min(sweep.capacity[name]):
                return None
    for name, _ in one.needs:
        due = ((sweep.buckets.rates.get(name), 1), (sweep.buckets.tokens.get(name), sweep.view.reserved_tokens(one)))
        for bucket, amount in due if sweep.buckets.every else ():
            if bucket is None or bucket.open_at(amount) <= time:
                continue
            shut = bucket.high + (after - time) * bucket.per_ns + bucket.slack < amount
            return f"rate.{name}" if shut else None
    return "worker"
