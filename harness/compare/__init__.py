"""What changed between runs, and whether it is real.

Rules of this package:
- Pure: ``makespan.run/1`` documents in; frozen values, text, Markdown or JSON out.
- A change is real only if three things hold. Its 95 % interval leaves out "no change". A rank test says so after
  correction for the number of cells. It is larger than 1 % and than the drift inside of either run. Everything else is
  undecided, with the reason.
- A change is put down to *ours* (what the schedule and its overhead cost above the lower bound) or to *the work's* (the
  lower bound itself: durations of steps, time of models, limits).
- Runs of different scenarios, or from different classes of machine, are compared only by force.
"""

from harness.compare.against import Against, against, parse_against
from harness.compare.compared_figures import METRICS
from harness.compare.comparison import CellChange, CompareError, Comparison, Side, StepChange, compare
from harness.compare.comparison_text import comparison_document, markdown, text
from harness.compare.threshold import Judgement, Threshold, ThresholdError, fail_if

__all__ = [
    "METRICS", "Against", "CellChange", "CompareError", "Comparison", "Judgement", "Side", "StepChange", "Threshold",
    "ThresholdError", "against", "compare", "comparison_document", "fail_if", "markdown", "parse_against", "text",
]  # fmt: skip
