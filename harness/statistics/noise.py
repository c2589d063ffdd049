"""Warnings about samples that one should not trust blindly. A closed set; each says what to do next.

Rules of this module:
- A warning needs a deviation that is improbable *and* large enough to matter.
- Samples stand in order of time.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.plain_text import some_of
from harness.statistics.resampling import CONFIDENCE, checked

# Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993: beyond 3.5 a modified z-score is an outlier.
_Z_SCORE: Final = 3.5
_REPETITIONS_NAMED: Final = 5
_NORMAL_MAD: Final = 0.6745  # a normal distribution's median absolute deviation, in standard deviations
_NORMAL_MEAN: Final = 1.253314  # its standard deviation, in mean absolute deviations
# A repetition that took less than this share of the median longer is none to look after.
_WORTH_SAYING_RATIO: Final = 0.15
# The spread of few samples is itself uncertain: with n samples the score has to be beyond 3.5 · (1 + 8 ÷ n).
_SMALL_SAMPLE: Final = 8
_DRIFT_WORTH_SAYING_RATIO: Final = 0.05
# A benchmark has many cells, and each is tested.
_DRIFT_P_VALUE: Final = 0.002
_LEAST_FOR_OUTLIERS: Final = 5
# With n samples the widest interval there is, from the least to the greatest, covers the median in 1 − 2^(1−n) cases.
_LEAST_FOR_INTERVAL: Final = 6


@dataclass(frozen=True, slots=True)
class Outliers:
    """Repetitions that took much longer than the others. ``repetitions`` count from 1; ``worst_ratio`` is the longest ÷
    the median. ``retried``: more attempts failed in them than in the others.
    """

    repetitions: tuple[int, ...]
    worst_ratio: float
    retried: bool = False

    def __str__(self) -> str:
        one = len(self.repetitions) == 1
        shown = some_of([str(number) for number in self.repetitions], _REPETITIONS_NAMED)
        cause = (
            f"attempts failed in {'it' if one else 'them'} and were tried again; find out why"
            if self.retried
            else "something else was running; close other programs and measure again"
        )
        return (
            f"repetition{'' if one else 's'} {shown} took much longer than the others ("
            f"{'' if one else 'up to '}{self.worst_ratio:.3g} × the median): {cause}, or take more repetitions, "
            "so that the median does not feel it"
        )


@dataclass(frozen=True, slots=True)
class SlowFirst:
    """The first repetition alone took much longer. ``ratio`` is the first ÷ the median."""

    ratio: float

    def __str__(self) -> str:
        return (
            f"the first repetition took {self.ratio:.2g} × the median: caches were cold or code was first loaded; "
            "use more warm-up runs"
        )


@dataclass(frozen=True, slots=True)
class Drift:
    """Repetitions got longer or shorter in the course of time. ``change_ratio``: from the first to the last, along the
    fitted line, as a share of the median; positive is longer.
    """

    change_ratio: float
    p_value: float

    def __str__(self) -> str:
        longer = self.change_ratio > 0
        cause = (
            "the machine gets hot, throttles or fills up; let it rest, fix its frequency"
            if longer
            else "it was still warming up; use more warm-up runs"
        )
        return (
            f"repetitions became {abs(self.change_ratio):.0%} {'longer' if longer else 'shorter'} from the first to "
            f"the last: {cause}, and measure again before believing smaller differences"
        )


@dataclass(frozen=True, slots=True)
class FewRepetitions:
    """Too few for a 95 % interval: ``coverage_ratio`` is the best that their number can give."""

    repetitions: int
    coverage_ratio: float

    def __str__(self) -> str:
        if self.repetitions == 1:
            return "one repetition says nothing about noise: use at least 6 repetitions"
        return (
            f"an interval from {self.repetitions} repetitions holds the median in at most {self.coverage_ratio:.0%} of "
            f"cases, not in {CONFIDENCE:.0%}: use at least {_LEAST_FOR_INTERVAL} repetitions"
        )


NoiseWarning = Outliers | SlowFirst | Drift | FewRepetitions


def noise_warnings(samples: Sequence[float], failed_attempts: Sequence[int] = ()) -> tuple[NoiseWarning, ...]:
    """Everything that is odd about one cell's samples of a time, in order of repetition. ``failed_attempts``: how many
    there were in each, where that is known: what retries explain is not laid at the door of the machine.

    Raises:
        ValueError: there is no sample, or one is not finite.

    """
    values = checked(samples)
    found: list[NoiseWarning] = []
    if len(values) < _LEAST_FOR_INTERVAL:
        found.append(FewRepetitions(len(values), 1 - 2.0 ** (1 - len(values))))
    far = _far_from_the_others(values)
    median = statistics.median(values)
    usual = statistics.median_low(failed_attempts) if failed_attempts else 0
    retried = [place for place in far if failed_attempts and failed_attempts[place] > usual]
    unexplained = [place for place in far if place not in retried]
    if retried:
        found.append(_outliers(values, retried, median, retried=True))
    if unexplained == [0]:
        found.append(SlowFirst(values[0] / median))
    elif unexplained:
        found.append(_outliers(values, unexplained, median))
    drift = drift_of(values)
    if drift is not None:
        found.append(drift)
    return tuple(found)


def _outliers(values: list[float], places: list[int], median: float, *, retried: bool = False) -> Outliers:
    worst = max(values[place] for place in places)
    return Outliers(tuple(place + 1 for place in places), worst / median, retried)


def _far_from_the_others(values: list[float]) -> list[int]:
    """Places of samples above the others, with a modified z-score beyond 3.5 or more, as few as they are. Where more
    than half of the samples are the same, the mean absolute deviation replaces the median one (as IBM's SPSS has it).
    """
    median = statistics.median(values)
    if len(values) < _LEAST_FOR_OUTLIERS or median <= 0:
        return []
    deviations = [abs(value - median) for value in values]
    scale = statistics.median(deviations) / _NORMAL_MAD or statistics.fmean(deviations) * _NORMAL_MEAN
    score = _Z_SCORE * (1 + _SMALL_SAMPLE / len(values))
    least = max(score * scale, _WORTH_SAYING_RATIO * median)
    return [place for place, value in enumerate(values) if value - median > least]


def drift_of(samples: Sequence[float]) -> Drift | None:
    """Whether samples rank with time (Kendall's τ), and by how much (the Theil–Sen line); None where they do not.

    Sources: Mann, "Nonparametric tests against trend", Econometrica 13, 1945; Sen, "Estimates of the regression
    coefficient based on Kendall's tau", JASA 63, 1968.

    Raises:
        ValueError: there is no sample, or one is not finite.

    """
    values = checked(samples)
    median = statistics.median(values)
    if len(values) < _LEAST_FOR_OUTLIERS or min(values) == max(values) or median <= 0:
        return None
    from scipy.stats import kendalltau, theilslopes  # noqa: PLC0415 - heavy: only a search for drift pays for it

    times = range(len(values))
    p_value = float(kendalltau(list(times), values).pvalue)
    if p_value >= _DRIFT_P_VALUE:
        return None
    # All pairs of more than some hundred samples would take memory for nothing: every k-th shows the same line.
    stride = 1 + len(values) // 500
    slope = float(theilslopes(values[::stride], list(times[::stride])).slope)
    change = slope * (len(values) - 1) / median
    return Drift(change, p_value) if abs(change) >= _DRIFT_WORTH_SAYING_RATIO else None
