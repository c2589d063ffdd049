"""How sure one may be: intervals, verdicts, warnings about noise, tests for change, and how far workers carry.

Rules of this package:
- Pure: numbers in, frozen values out. Everything drawn at random comes from a seed, so the same samples give the same
  answer.
- No verdict where the interval spans 1, and no interval for one sample.
- SciPy and NumPy do the arithmetic. They take half a second to import, so they are imported inside of the functions
  that need them.
- Samples stand in order of time.
"""

from harness.statistics.change import Change, holm, paired_change, predicted_change, unpaired_change
from harness.statistics.noise import Drift, FewRepetitions, NoiseWarning, Outliers, SlowFirst, drift_of, noise_warnings
from harness.statistics.resampling import CONFIDENCE, Interval, interval, ratio_interval
from harness.statistics.scalability import LEAST_WORKER_COUNTS, Scalability, fit_scalability
from harness.statistics.verdicts import (
    PairedRatio,
    Verdict,
    cheapest_of_equals,
    cost_of,
    enough,
    paired_ratio,
    verdict,
)

__all__ = [
    "CONFIDENCE", "LEAST_WORKER_COUNTS", "Change", "Drift", "FewRepetitions", "Interval", "NoiseWarning", "Outliers",
    "PairedRatio", "Scalability", "SlowFirst", "Verdict", "cheapest_of_equals", "cost_of", "drift_of", "enough",
    "fit_scalability", "holm", "interval", "noise_warnings", "paired_change", "paired_ratio", "predicted_change",
    "ratio_interval", "unpaired_change", "verdict",
]  # fmt: skip
