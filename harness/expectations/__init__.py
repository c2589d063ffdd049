"""Expectations: what has to hold of a run, as a line of text, and whether it does.

``threads@4 speedup_ratio >= 1.3`` · ``errors == 0`` · ``lost.worker share < 0.1`` · ``p95(step_wait_seconds) < 0.2`` ·
``processes@2/dataflow{n=8} makespan_seconds <= 3``

A line is ``[selector] metric operator number``. The selector, ``executor[@workers][/policy][{parameter=value, …}]``
with ``*`` for any executor, leaves out what may be anything; without one, the line is about every cell.

Rules of this package:
- Pure: text and a ``makespan.run/1`` document in, verdicts out.
- A line that does not parse is an error that points at the column.
- Where there is an interval, its end on the unfavourable side has to keep to the line, not the median.
- A line that nothing could be measured for is not met, and says why. Nothing passes unseen.
"""

from harness.expectations.expectation import Expectation, ExpectationError, Metric, Selector
from harness.expectations.expectation_judging import Verdict, all_met, judge
from harness.expectations.junit import junit
from harness.expectations.measuring import METRICS
from harness.expectations.parsing import parse_expectation, parse_expectations

__all__ = [
    "METRICS", "Expectation", "ExpectationError", "Metric", "Selector", "Verdict", "all_met", "judge", "junit",
    "parse_expectation", "parse_expectations",
]  # fmt: skip
