"""The lower bound: no schedule of these measured durations is shorter.

Rules of this module:
- The largest of: the critical path, the work divided by the workers, and for each limit what its units, its rate
  and its tokens allow. Capacities are the largest that held during the run.
- Workers count for as long as they were there. What still ran on more of them than there were counts as nothing.
- Whole nanoseconds. Work and units are rounded up, since no schedule ends between two; rates are rounded down.
- Devices have terms of their own (:mod:`harness.analysis.device_bound`).
- A step holds its units while it runs; whatever else it held them for was the schedule's doing.

Source: the work and span laws (Brent 1974; Graham 1969), and the arithmetic of a token bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from executor.record.timeline import Attempt
from harness.analysis.attempt_index import AttemptIndex

if TYPE_CHECKING:
    from executor.model.workflow import Resource

MINUTE_NANOSECONDS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class LowerBound:
    """``binding`` names the largest term (ties: the first), None for a run without length.

    ``terms``: ``critical_path``, ``work`` (÷ workers), ``resource.X``, ``rate.X``, ``tokens.X``, in nanoseconds.
    """

    nanoseconds: int
    binding: str | None
    terms: Mapping[str, int]


class _Use:
    """What a resource was asked for: units × run time, attempts granted, tokens that could not be saved."""

    __slots__ = ("grants", "tokens", "unit_nanoseconds")

    def __init__(self) -> None:
        self.unit_nanoseconds = 0
        self.grants = 0
        self.tokens = 0


def lower_bound(index: AttemptIndex, *, critical_path_nanoseconds: int, work_nanoseconds: int) -> LowerBound:
    """The bound and its terms, those that the critical path and the work make among them."""
    timeline = index.timeline
    terms = {"critical_path": critical_path_nanoseconds}
    if timeline.workers > 0:
        terms["work"] = _work_term(index, work_nanoseconds)
    for name, use in _uses(index).items():
        terms.update(_limit_terms(name, timeline.resources[name], use))
    if timeline.needs and any(resource.devices is not None for resource in timeline.resources.values()):
        from harness.analysis.device_bound import device_terms  # noqa: PLC0415 - heavy: only devices need it

        runs = ((attempt.index, index.run_nanoseconds(attempt)) for attempt in index.ended)
        found = device_terms(timeline.needs, timeline.resources, runs)
        terms.update({f"resource.{kind}": nanoseconds for kind, nanoseconds in found.items()})
    binding = max(terms, key=terms.__getitem__)
    bound = terms[binding]
    return LowerBound(bound, binding if bound > 0 else None, terms)


def _work_term(index: AttemptIndex, work_nanoseconds: int) -> int:
    """When the workers that there were had worked for so long."""
    timeline = index.timeline
    changes = timeline.worker_changes
    if not changes:
        return -(-work_nanoseconds // timeline.workers)
    left = work_nanoseconds - _beyond(index)
    for (since, workers), (until, _) in pairwise(changes):
        if workers and left <= workers * (until - since):
            return since - (-left // workers) if left > 0 else 0
        left -= workers * (until - since)
    since, workers = changes[-1]
    return since + (-(-max(0, left) // workers) if workers else 0)


def _beyond(index: AttemptIndex) -> int:
    """Worker nanoseconds of attempts that went on although there were fewer workers by then."""
    events = sorted(
        [(time, 1, workers) for time, workers in index.timeline.worker_changes]
        + [(end, 0, -1) for attempt in index.ended for _, end in index.run_segments(attempt)]
        + [(start, 2, 1) for attempt in index.ended for start, _ in index.run_segments(attempt)],
        # Of several changes at one instant the last one counts.
        key=lambda event: event[:2],
    )
    beyond = running = before = 0
    workers = index.timeline.workers
    for time, kind, number in events:
        beyond += max(0, running - workers) * (time - before)
        before = time
        if kind == 1:
            workers = number
        else:
            running += number
    return beyond


def _uses(index: AttemptIndex) -> dict[str, _Use]:
    timeline = index.timeline
    uses = {name: _Use() for name in timeline.resources}
    if not uses or not timeline.needs:
        return uses
    for attempt in index.ended:
        needs = timeline.needs[attempt.index]
        if not needs:
            continue
        run, tokens = index.run_nanoseconds(attempt), _tokens_kept(attempt)
        for name, units in needs.items():
            use = uses.get(name)
            if use is not None:
                use.unit_nanoseconds += int(units) * run
                use.grants += 1
                use.tokens += tokens
    return uses


def _tokens_kept(attempt: Attempt) -> int:
    """The smaller of estimate and usage: what the bucket gave and never got back."""
    reserved = attempt.tokens_reserved or 0
    return reserved if attempt.tokens_used is None else min(reserved, attempt.tokens_used)


def _limit_terms(name: str, resource: Resource, use: _Use) -> dict[str, int]:
    terms: dict[str, int] = {}
    if resource.capacity is not None:
        terms[f"resource.{name}"] = -(-use.unit_nanoseconds // resource.capacity)
    if resource.rate_per_minute is not None:
        terms[f"rate.{name}"] = _refill_nanoseconds(use.grants - resource.burst, resource.rate_per_minute)
    if resource.tokens_per_minute is not None:
        burst = resource.token_burst
        if burst is None:
            burst = max(1, int(resource.tokens_per_minute))
        terms[f"tokens.{name}"] = _refill_nanoseconds(use.tokens - burst, resource.tokens_per_minute)
    return terms


def _refill_nanoseconds(missing: int, per_minute: float) -> int:
    """How long a bucket needs to gain ``missing``, rounded down."""
    if missing <= 0:
        return 0
    # Buckets count with rates as fractions of this precision; so must a bound on what they grant.
    rate = max(Fraction(per_minute).limit_denominator(1_000_000), Fraction(1, 1_000_000))
    return missing * MINUTE_NANOSECONDS * rate.denominator // rate.numerator
