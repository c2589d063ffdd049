"""How far a run reaches beyond its last step: the time that whoever holds it all spent after that.

Rules of this module:
- The outermost span is no step; its time before, between and after the steps is the run's all the same, and a gap.
- Of our own traces the steps are all there is: a run ends with its last step.
"""

from __future__ import annotations

from harness.traces.trace_model import ForeignRun


def tail_nanoseconds(run: ForeignRun) -> int:
    """From the last end of a step to the end of the outermost span."""
    if run.from_makespan or not run.envelopes:
        return 0
    end = max((span.end for span in run.envelopes if span.end is not None), default=run.origin)
    return max(0, end - run.origin - run.timeline.makespan_nanoseconds)
