"""No starvation: a step that was overtaken a thousand times goes first, and has its units and tokens reserved.

Rules of this module:
- A step that needs nothing but a slot is judged on an exact clock alone: elsewhere a record does not hold all that may
  hold it back.
- Judged with a margin of one, and only against steps that certainly come behind: those that became ready after the
  overtaken one could start, and were not themselves overtaken so often.
- Judged only while fewer steps wait that may reserve before it than may reserve at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.testing.oracle.devices import wanted_devices
from harness.testing.oracle.events import Key, Try
from harness.testing.oracle.finality import View, Violation, Waiting

OVERTAKEN_LIMIT = 1000
RESERVED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Before a grant: units surely held by resource, and the most that each bucket of attempts and tokens can hold."""

    units: Mapping[str, float]
    rates: Mapping[str, float]
    tokens: Mapping[str, float]


def starved(
    view: View, capacity: Mapping[str, int], snapshots: Sequence[Snapshot], openings: Mapping[str, Key] | None
) -> Iterator[Violation]:
    """A step that lacks nothing but slot, limits or rates and was overtaken 1,000 times (steps that became ready later
    were granted first) reserves units and tokens, the oldest first, 16 at once: the grant after the 1,001st overtaking
    must leave its units, its attempt and its tokens; one that needs nothing but a slot gets the slot. ``openings`` are
    the replayed barriers; without them a step behind a barrier is not judged.
    """
    tries = view.record.tries
    grants, readies = [one.granted for one in tries], sorted(one.ready for one in tries)
    barred = view.graph.policy in ("levels", "barrier")
    slots_too = view.options.exact and not view.options.handed_out_ahead
    for one in tries:
        if one.granted <= one.ready or not (one.needs or (slots_too and not view.graph.by_id[one.step_id].mapped)):
            continue
        if barred and one.step_id not in (openings or {}) and view.graph.by_id[one.step_id].parent is None:
            continue
        if wanted_devices(one.needs, view.graph.resources):
            # While it lacks a device it reserves no units, and the record does not hold which device it reserved.
            continue
        eligible = Waiting(view, one, (openings or {}).get(one.step_id, (0, 0))).eligible
        if not view.options.exact:
            eligible = max(eligible, _noticed(one))
        first = bisect_left(grants, eligible)
        if min(one.position - first, len(tries) - bisect_right(readies, eligible)) <= OVERTAKEN_LIMIT:
            continue
        behind = [
            other
            for other in tries[first : one.position]
            if other.ready > eligible and not view.graph.by_id[other.step_id].mapped
        ]
        for other in behind[OVERTAKEN_LIMIT + 1 :]:
            taken = _taken(view, capacity, snapshots[other.position], one, other)
            if taken is None or _often_overtaken(tries, other) or not _reserves(view, one, eligible, other):
                continue
            yield Violation(
                "no_starvation",
                f"{one.name} could start from {eligible} ns and was overtaken more than {OVERTAKEN_LIMIT} times; still "
                f"{other.name}, ready only at {other.ready} ns, was granted {taken} that it needs, at {other.granted}",
                (one.step_id, other.step_id),
                other.granted,
            )
            break


def _noticed(one: Try) -> int:
    """When the end of its backoff was noticed, which a real clock may do late: only then is it in the queue."""
    if one.backoff_end <= one.ready:
        return one.ready
    return min((start for _, start, _ in one.waits if one.backoff_end <= start <= one.granted), default=one.granted)


def _reserves(view: View, one: Try, eligible: int, other: Try) -> bool:
    """Whether the step surely had a reservation when the other was granted: too few waited that come before it."""
    before = sum(third.ready <= eligible for third in view.record.tries[other.position + 1 :] if third is not one)
    # One that was cancelled while it waited is in no attempt.
    return before + len(view.cancelled) < RESERVED_AT_ONCE


def _often_overtaken(tries: Sequence[Try], one: Try) -> bool:
    return sum(other.ready > one.ready for other in tries[: one.position]) >= OVERTAKEN_LIMIT


def _taken(view: View, capacity: Mapping[str, int], before: Snapshot, one: Try, other: Try) -> str | None:
    """What the other took although it was reserved for this one, or this one's to have first."""
    if not one.needs:
        return "the slot"
    theirs = dict(other.needs)
    wanted = view.reserved_tokens(one) + view.reserved_tokens(other)
    for name, amount in one.needs:
        if name not in theirs:
            continue
        if name in capacity and before.units.get(name, 0) + amount + theirs[name] > capacity[name]:
            return f"units of {name!r}"
        if before.rates.get(name, 2.0) < 2:
            return f"an attempt of the rate of {name!r}"
        if view.reserved_tokens(other) and before.tokens.get(name, wanted) < wanted:
            return f"tokens of {name!r}"
    return None
