"""What a run was worth: pure functions of :class:`executor.record.timeline.Timeline`.

Rules of this room:
- No input or output, clock, thread or random source; only the timeline, the words of a workflow and the standard
  library are imported.
- Integer nanoseconds inside; seconds and ratios only in :class:`Summary`.
- Linear or n log n in the number of attempts, and no recursion over it.
- Functions that take an ``index`` build an :class:`AttemptIndex` when none is given.
"""

from harness.analysis.attempt_index import AttemptIndex, Pause
from harness.analysis.cautions import Caution, CpuBoundThreads, OverlappingEdges, TooFewCores
from harness.analysis.concurrency import Concurrency, concurrency
from harness.analysis.critical_path import CriticalPath, PathPart, critical_path
from harness.analysis.lost_time import lost_nanoseconds
from harness.analysis.lower_bound import LowerBound, lower_bound
from harness.analysis.overhead import overhead_nanoseconds, overhead_nanoseconds_per_step
from harness.analysis.remedy import duration_text, duration_texts, remedy
from harness.analysis.summary import CriticalStep, Summary, summary
from harness.analysis.work import cpu_seconds, work_nanoseconds

__all__ = [
    "AttemptIndex", "Caution", "Concurrency", "CpuBoundThreads", "CriticalPath", "CriticalStep", "LowerBound",
    "OverlappingEdges", "PathPart", "Pause", "Summary", "TooFewCores", "concurrency", "cpu_seconds", "critical_path",
    "duration_text", "duration_texts", "lost_nanoseconds", "lower_bound", "overhead_nanoseconds",
    "overhead_nanoseconds_per_step", "remedy", "summary", "work_nanoseconds",
]  # fmt: skip
