"""Bootstrap intervals of medians and of ratios of medians.

Rules of this module:
- Percentile intervals (Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979). The
  bias-corrected ones (BCa) rest on the jackknife, which is inconsistent for a median (Efron and Tibshirani, "An
  Introduction to the Bootstrap", 1993, section 11.6): from 10 log-normal samples BCa covered the median in 92 of 100
  cases, the percentile interval in 96.
- Samples that are all the same give an interval without width.
- Of many samples the interval of the median is not resampled: its distribution over all resamples is known (Efron 1979,
  section 3), and resampling them would take seconds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 9999
# Resampled values that are held in memory at once.
_BATCH_VALUES: Final = 4_000_000
# From so many samples on the median's interval is calculated.
_MANY: Final = 1_000
# Terms of a sum that are smaller than that, relative to it, are left out.
_NEGLIGIBLE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with the ends of its 95 % interval. Both ends are None where there was one sample."""

    median: float
    low: float | None = None
    high: float | None = None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Both ends, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def checked(samples: Sequence[float]) -> list[float]:
    """The samples as floats.

    Raises:
        ValueError: there is none, or one is not finite.

    """
    values = [float(value) for value in samples]
    if not values:
        raise ValueError("an estimate needs at least one sample")
    if not all(math.isfinite(value) for value in values):
        raise ValueError("a sample is not a finite number")
    return values


def interval(samples: Sequence[float], *, seed: int = 0) -> Interval:
    """The median of the samples with its bootstrap 95 % interval.

    Raises:
        ValueError: there is no sample, or one is not finite.

    """
    values = checked(samples)
    median = statistics.median(values)
    if len(values) == 1:
        return Interval(median)
    if min(values) == max(values):
        return Interval(median, median, median)
    if len(values) >= _MANY:
        return Interval(median, *_ends_of_many(sorted(values)))

    def statistic(resampled: Array, axis: int) -> Any:
        import numpy as np  # noqa: PLC0415 - heavy: only an interval pays for it

        return np.median(resampled, axis=axis)

    low, high = _percentiles((values,), statistic, seed)
    # Interpolating between two samples may round to just beyond them, or beyond the median of many equal ones.
    return Interval(median, max(min(low, median), min(values)), min(max(high, median), max(values)))


def _ends_of_many(ordered: Sequence[float]) -> tuple[float, float]:
    """The ends of the interval of the median over all resamples. Of an even number of samples the median lies between
    two of a resample; each end is the middle of theirs.
    """
    count = len(ordered)
    middles = (count // 2 + 1,) if count % 2 else (count // 2, count // 2 + 1)
    low, high = (
        statistics.fmean(ordered[_quantile_place(count, middle, share)] for middle in middles)
        for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    )
    return low, high


def _quantile_place(count: int, middle: int, share: float) -> int:
    """Which of the ordered samples (from 0) is that quantile of a resample's ``middle``-th value (from 1).

    That value is at most the k-th sample where at least ``middle`` of the draws are: a binomial with probability
    k ÷ count.
    """
    low, high = 1, count
    while low < high:
        place = (low + high) // 2
        if _binomial_tail(count, place / count, middle) >= share:
            high = place
        else:
            low = place + 1
    return low - 1


def _binomial_tail(count: int, probability: float, least: int) -> float:
    """How probable at least so many successes are, for a probability of more than 0."""
    if probability >= 1:
        return 1.0
    odds = probability / (1 - probability)
    is_upper = least > count * probability  # the side on which the terms fall
    number = least if is_upper else least - 1
    term = total = math.exp(
        math.lgamma(count + 1) - math.lgamma(number + 1) - math.lgamma(count - number + 1)
        + number * math.log(probability) + (count - number) * math.log1p(-probability)
    )  # fmt: skip
    while 0 < number < count and term > _NEGLIGIBLE * total:
        term *= (count - number) / (number + 1) * odds if is_upper else number / ((count - number + 1) * odds)
        number += 1 if is_upper else -1
        total += term
    return total if is_upper else 1 - total


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0) -> Interval:
    """The ratio of the medians of two unpaired sets of samples, with its bootstrap 95 % interval.

    Each set is resampled by itself. There are no ends where one of the sets has one sample.

    Raises:
        ValueError: a set is empty, or holds a number that is not finite and positive.

    """
    above, below = checked(numerators), checked(denominators)
    if min(above) <= 0 or min(below) <= 0:
        raise ValueError("a ratio needs samples that are greater than 0")
    median = statistics.median(above) / statistics.median(below)
    if len(above) == 1 or len(below) == 1:
        return Interval(median)
    if min(above) == max(above) and min(below) == max(below):
        return Interval(median, median, median)

    def statistic(over: Array, under: Array, axis: int) -> Any:
        import numpy as np  # noqa: PLC0415 - heavy: only an interval pays for it

        return np.median(over, axis=axis) / np.median(under, axis=axis)

    return Interval(median, *_percentiles((above, below), statistic, seed))


def _percentiles(sets: tuple[list[float], ...], statistic: Any, seed: int) -> tuple[float, float]:
    import numpy as np  # noqa: PLC0415 - heavy: only an interval pays for it
    from scipy.stats import bootstrap  # noqa: PLC0415 - as above

    found = bootstrap(
        tuple(np.asarray(values) for values in sets),
        statistic,
        n_resamples=_RESAMPLES,
        batch=max(1, _BATCH_VALUES // max(len(values) for values in sets)),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
