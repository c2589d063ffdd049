"""The Universal Scalability Law: what workers wait for, and where more of them stop helping.

``C(N) = N / (1 + α(N − 1) + βN(N − 1))``: α is what runs one at a time (contention), β what each worker costs
every other one (coherency). Source: Gunther, "Guerrilla Capacity Planning", 2007, chapters 4 to 6; C is largest at
√((1 − α)/β).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.plain_text import counted
from harness.statistics.resampling import checked

LEAST_WORKER_COUNTS: Final = 6
# A fit is good if it explains this share of the spread; or, since flat curves have none, is nowhere farther off.
_GOOD_FIT: Final = 0.9
_SMALL_ERROR_RATIO: Final = 0.05
# A peak farther beyond what was measured is no finding: there, more workers keep helping.
_FARTHEST_PEAK: Final = 10


@dataclass(frozen=True, slots=True)
class Scalability:
    """A fitted law.

    ``contention`` is α, ``coherency`` β. ``most_useful_workers``: the whole number with the largest predicted speedup,
    None where more workers keep helping (a little). ``fit_ratio`` is R², 1 for a perfect fit; ``largest_error_ratio``
    the farthest of the measured speedups from the curve, as a share of it. ``most_workers_measured``: beyond it the law
    guesses.
    """

    contention: float
    coherency: float
    most_useful_workers: int | None
    fit_ratio: float
    largest_error_ratio: float
    most_workers_measured: int

    def speedup_ratio(self, workers: float) -> float:
        """The predicted speedup with that many workers."""
        return float(_law(workers, self.contention, self.coherency))

    @property
    def is_good(self) -> bool:
        """Whether the curve fits well enough to be used."""
        return self.fit_ratio >= _GOOD_FIT or self.largest_error_ratio <= _SMALL_ERROR_RATIO

    def __str__(self) -> str:
        quality = f"R² {self.fit_ratio:.2f}, at most {self.largest_error_ratio:.0%} off"
        if not self.is_good:
            return f"the Universal Scalability Law does not fit these speedups ({quality}): go by the table"
        shares = f"contention {self.contention:.3g}, coherency {self.coherency:.3g}; {quality}"
        if self.most_useful_workers is None:
            limit = f" towards a speedup of {1 / self.contention:.3g}" if self.contention > 1e-3 else ""
            return f"more workers keep helping, less and less{limit} ({shares})"
        best = self.most_useful_workers
        guess = f" (a guess: {self.most_workers_measured} were measured)" if best > self.most_workers_measured else ""
        return (
            f"more than {counted(best, 'worker')}{guess} do not help: speedup "
            f"{self.speedup_ratio(best):.3g} there ({shares})"
        )


def fit_scalability(workers: Sequence[int], speedup_ratios: Sequence[float]) -> Scalability | None:
    """Fit the law to speedups, one or several for each number of workers; None with fewer than six numbers of workers.

    Least squares with α and β at least 0.

    Raises:
        ValueError: the two are not of one length, a number is not finite, or one is not positive.

    """
    if len(workers) != len(speedup_ratios):
        raise ValueError(f"{len(workers)} numbers of workers for {len(speedup_ratios)} speedups")
    if len(set(workers)) < LEAST_WORKER_COUNTS:
        return None
    counts, speedups = checked(workers), checked(speedup_ratios)
    if min(counts) < 1 or min(speedups) <= 0:
        raise ValueError("workers and speedups have to be greater than 0")
    contention, coherency = _least_squares(counts, speedups)
    fitted = [_law(count, contention, coherency) for count in counts]
    mean = math.fsum(speedups) / len(speedups)
    spread = math.fsum((speedup - mean) ** 2 for speedup in speedups)
    missed = math.fsum((speedup - curve) ** 2 for speedup, curve in zip(speedups, fitted, strict=True))
    return Scalability(
        contention=contention,
        coherency=coherency,
        most_useful_workers=_peak(contention, coherency, max(counts)),
        fit_ratio=1 - missed / spread if spread > 0 else float(missed == 0),
        largest_error_ratio=max(abs(speedup / curve - 1) for speedup, curve in zip(speedups, fitted, strict=True)),
        most_workers_measured=int(max(counts)),
    )


def _law(workers: Any, contention: float, coherency: float) -> Any:
    """For a number, and for an array of them."""
    return workers / (1 + contention * (workers - 1) + coherency * workers * (workers - 1))


def _least_squares(counts: list[float], speedups: list[float]) -> tuple[float, float]:
    import numpy as np  # noqa: PLC0415 - heavy: only a fit pays for it
    from scipy.optimize import curve_fit  # noqa: PLC0415 - as above

    found, _ = curve_fit(
        _law, np.asarray(counts), np.asarray(speedups), p0=(0.05, 0.001), bounds=(0, np.inf), maxfev=10_000
    )
    return float(found[0]), float(found[1])


def _peak(contention: float, coherency: float, most_measured: float) -> int | None:
    if contention >= 1 - 1e-6:  # the solver comes no closer
        return 1
    if coherency <= 0:
        return None
    exact = math.sqrt((1 - contention) / coherency)
    if exact > _FARTHEST_PEAK * most_measured:
        return None
    below = max(1, math.floor(exact))
    return max((below, below + 1), key=lambda count: _law(count, contention, coherency))
