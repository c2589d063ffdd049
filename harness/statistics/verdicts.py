"""Faster, slower or undecided; and whether there are enough repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.statistics.resampling import Interval, checked, interval

Verdict = Literal["faster", "slower", "undecided"]


@dataclass(frozen=True, slots=True)
class PairedRatio:
    """A ratio that was formed in each repetition: ``ratios`` in order of time, their median with its interval, and what
    it allows to say.
    """

    ratios: tuple[float, ...]
    interval: Interval
    verdict: Verdict


def verdict(ratio: Interval) -> Verdict:
    """What the interval of a speedup (more is faster) allows to say: ``undecided`` where it spans 1 or is missing."""
    if ratio.low is None or ratio.high is None or ratio.low <= 1 <= ratio.high:
        return "undecided"
    return "faster" if ratio.low > 1 else "slower"


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0) -> PairedRatio:
    """The median of ``numerators[i] / denominators[i]`` with its interval. For a speedup the numerators are the
    makespans of the serial runs, the denominators those that they are paired with.

    Raises:
        ValueError: the two are not of one length, empty, or hold a number that is not finite and positive.

    """
    above, below = checked(numerators), checked(denominators)
    if len(above) != len(below):
        raise ValueError(f"{len(above)} numerators for {len(below)} denominators: repetitions come in pairs")
    if min(above) <= 0 or min(below) <= 0:
        raise ValueError("a ratio needs samples that are greater than 0")
    ratios = tuple(over / under for over, under in zip(above, below, strict=True))
    found = interval(ratios, seed=seed)
    return PairedRatio(ratios, found, verdict(found))


def cost_of(workers: int, startup_seconds: float, makespan_seconds: float) -> tuple[float, float]:
    """What a cell costs, to be compared: its workers, and their start where that takes longer than the run itself."""
    return workers, startup_seconds if startup_seconds > makespan_seconds else 0.0


def cheapest_of_equals(candidates: Sequence[tuple[float, tuple[float, float] | None, tuple[float, float]]]) -> int:
    """The place of the candidate to recommend: of those as fast as the fastest, the one that costs least.

    Each candidate is a median time, its interval and a cost (:func:`cost_of`). One is as fast as the fastest where its
    interval reaches down to the fastest median, or the fastest one's interval up to its own median.

    Raises:
        ValueError: there is no candidate.

    """
    fastest, ends, _ = min(candidates, key=lambda one: one[0])
    equal_to = fastest if ends is None else ends[1]
    equals = [
        place for place, (median, own, _) in enumerate(candidates)
        if median <= equal_to or (own is not None and own[0] <= fastest)
    ]  # fmt: skip
    return min(equals, key=lambda place: (candidates[place][2], candidates[place][0]))


def enough(found: Interval, width_ratio: float) -> bool:
    """Whether the interval, end to end, is at most ``width_ratio`` of its median: then repeating may stop.

    An interval that is asked again after each repetition is a little narrower than it should be when the answer turns
    to yes; ask after a fixed least number of repetitions, and not at each one.
    """
    if found.low is None or found.high is None:
        return False
    return found.high - found.low <= width_ratio * abs(found.median)
