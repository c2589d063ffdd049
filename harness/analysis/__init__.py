"""What a run was worth: pure functions of :class:`executor.record.timeline.Timeline`.

:class:`RunAnalysis` has all figures of a run, each made once; the file of each figure says how.

Rules of this package:
- No input or output, clock, thread or random source; only the timeline, the model of a workflow and the standard
  library are imported.
- Integer nanoseconds inside; seconds and ratios only in :class:`Summary`.
- Linear or n log n in the number of attempts, and no recursion over it.
"""

from harness.analysis.attempt_index import AttemptIndex, Pause
from harness.analysis.cautions import Caution, CpuBoundThreads, OverlappingEdges, TooFewCores
from harness.analysis.concurrency import Concurrency
from harness.analysis.critical_path import CriticalPath, PathPart
from harness.analysis.lost_time import LostTime, Piece
from harness.analysis.lower_bound import LowerBound
from harness.analysis.overhead import overhead_nanoseconds
from harness.analysis.remedy import remedy
from harness.analysis.run_analysis import RunAnalysis, in_seconds, summary
from harness.analysis.summary import CriticalStep, Summary

__all__ = [
    "AttemptIndex", "Caution", "Concurrency", "CpuBoundThreads", "CriticalPath", "CriticalStep", "LostTime",
    "LowerBound", "OverlappingEdges", "PathPart", "Pause", "Piece", "RunAnalysis", "Summary", "TooFewCores",
    "in_seconds", "overhead_nanoseconds", "remedy", "summary",
]  # fmt: skip
