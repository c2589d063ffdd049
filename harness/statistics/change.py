"""Whether a change is real: a test, and the size of the change with its interval.

Rules of this module:
- The size is a ratio, after ÷ before: above 1 the figure grew.
- Tests go by ranks, since times are skewed: Mann–Whitney for sets that are not paired (Mann and Whitney, Annals of
  Mathematical Statistics 18, 1947), Wilcoxon's signed ranks for pairs (Wilcoxon, Biometrics Bulletin 1, 1945).
- A change is real only if the test *and* the interval say so; many cells are judged together by :func:`holm`.
- Two runs differ by more than their repetitions tell: between them the machine changed its mood. Without a history that
  would say by how much, the standard deviation from run to run is taken to be half of that from repetition to
  repetition (an assumption: on a shared machine it can be more, and then only a history or interleaved runs help).
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.statistics.resampling import CONFIDENCE, Interval, checked, ratio_interval
from harness.statistics.verdicts import paired_ratio

RUN_TO_RUN_SHARE: Final = 0.5
_NORMAL_95: Final = 1.959964  # standard deviations to either end of a normal distribution's middle 95 %
_NORMAL_QUARTILES: Final = 1.348980  # standard deviations between its quartiles


@dataclass(frozen=True, slots=True)
class Change:
    """``ratio`` is after ÷ before with its 95 % interval. ``p_value``: how often noise alone would look like this or
    worse; None for too few samples. ``superiority_ratio``: the share of pairs (one before, one after) in which the
    later one is greater, ties counting half; 0.5 is no difference (Vargha and Delaney, Journal of Educational and
    Behavioral Statistics 25, 2000).
    """

    ratio: Interval
    p_value: float | None
    superiority_ratio: float
    paired: bool = False

    @property
    def spans_one(self) -> bool:
        """Whether the interval allows for no change at all (it does where there is none)."""
        low, high = self.ratio.low, self.ratio.high
        return low is None or high is None or low <= 1 <= high


def unpaired_change(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Change:
    """From samples of two runs at different times. The interval is the bootstrap's, widened by what runs differ.

    Raises:
        ValueError: a set is empty, or holds a number that is not finite and positive.

    """
    ratio = _widened(ratio_interval(after, before, seed=seed), before, after)
    old, new = checked(before), checked(after)
    superiority = _superiority(old, new)
    if len(old) < 2 or len(new) < 2:
        return Change(ratio, None, superiority)
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 - heavy: only a test pays for it

    return Change(ratio, float(mannwhitneyu(new, old).pvalue), superiority)


def paired_change(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Change:
    """From samples that were taken in pairs, one after the other: ``before[i]`` belongs to ``after[i]``.

    Raises:
        ValueError: the two are not of one length, empty, or hold a number that is not finite and positive.

    """
    pairs = paired_ratio(after, before, seed=seed)
    superiority = _superiority(checked(before), checked(after))
    logs = [math.log(ratio) for ratio in pairs.ratios]
    if len(logs) < 2:
        return Change(pairs.interval, None, superiority, paired=True)
    if not any(logs):
        return Change(pairs.interval, 1.0, superiority, paired=True)
    from scipy.stats import wilcoxon  # noqa: PLC0415 - heavy: only a test pays for it

    return Change(pairs.interval, float(wilcoxon(logs).pvalue), superiority, paired=True)


def predicted_change(history: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Change:
    """One new run against many earlier ones: ``history`` holds one figure a run, ``after`` the new run's samples.

    Runs of the same thing differ by more than their repetitions do (another day, another neighbour). So the interval is
    that of a prediction: where the new run's median may lie, given how far the earlier runs lie apart (Hahn and Meeker,
    "Statistical Intervals", 1991, chapter 4, on logarithms; the median costs π/2 of the mean's precision), and never
    narrower than the repetitions of the new run by themselves allow.

    Raises:
        ValueError: fewer than three runs, no new sample, or a number that is not finite and positive.

    """
    runs, samples = checked(history), checked(after)
    if len(runs) < 3:
        raise ValueError("a prediction needs at least three earlier runs")
    ratio = ratio_interval(samples, runs, seed=seed)
    logs = [math.log(run) for run in runs]
    spread = statistics.stdev(logs) * math.sqrt(1 + math.pi / 2 / len(logs))
    from scipy.stats import t  # noqa: PLC0415 - heavy: only a test pays for it

    freedom = len(logs) - 1
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * spread
    low, high = ratio.median * math.exp(-reach), ratio.median * math.exp(reach)
    if ratio.low is not None and ratio.high is not None:
        low, high = min(low, ratio.low), max(high, ratio.high)
    distance = abs(math.log(ratio.median))
    p_value = 2 * float(t.sf(distance / spread, freedom)) if spread > 0 else float(distance == 0)
    return Change(Interval(ratio.median, low, high), p_value, _superiority(runs, samples))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values, each corrected for there being so many: all of them together are wrong in 5 of 100 cases, not each.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    None stays None and does not count.
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (value, place) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - rank)))
        corrected[place] = least
    return corrected


def _widened(ratio: Interval, before: Sequence[float], after: Sequence[float]) -> Interval:
    """With the spread from run to run added: independent parts add up by their squares, on logarithms."""
    if ratio.low is None or ratio.high is None:
        return ratio
    reach = _NORMAL_95 * RUN_TO_RUN_SHARE * math.hypot(_log_spread(before), _log_spread(after))
    below = math.hypot(math.log(ratio.median / ratio.low), reach)
    above = math.hypot(math.log(ratio.high / ratio.median), reach)
    return Interval(ratio.median, ratio.median * math.exp(-below), ratio.median * math.exp(above))


def _log_spread(samples: Sequence[float]) -> float:
    """The standard deviation of the logarithms, from the quartiles: a single wild repetition does not count."""
    lower, _, upper = statistics.quantiles([math.log(sample) for sample in samples], n=4, method="inclusive")
    return (upper - lower) / _NORMAL_QUARTILES


def _superiority(before: list[float], after: list[float]) -> float:
    """O((n + m) log n): counted against the sorted earlier samples."""
    ordered = sorted(before)
    doubled = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in after)
    return doubled / (2 * len(before) * len(after))
