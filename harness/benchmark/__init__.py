"""The benchmark: every cell of a matrix, measured side by side, and what came of it.

::

    files + options ─▶ matrix ─▶ session: rounds in seeded order ─▶ figures ─▶ document
                                    │ one run at a time
                                    ├─ runner: tools, stand-in, replay, a nonce against caches
                                    └─ called as results come: store, recorder of calls, progress

Rules of this package:
- In each round every cell runs once, in an order drawn from the seed, the serial baseline among them. All cells of a
  round draw from the same seed.
- Nothing runs beside a measured run, and what a run made is looked at between two of them.
- What was finished is kept, whatever ends the benchmark.
"""

from harness.benchmark.bench_figures import bench_document, judged, sample_document
from harness.benchmark.budget import Budget, Estimate, estimate
from harness.benchmark.matrix import Case, Matrix, MatrixCell, MatrixRequest, build_matrix
from harness.benchmark.recorded_calls.call_reading import RecordedRuns
from harness.benchmark.recorded_calls.call_recording import CallRecorder
from harness.benchmark.runner import Measured, Runner
from harness.benchmark.session import Outcome, Sample, Series, Session, StopReason

__all__ = [
    "Budget",
    "CallRecorder",
    "Case",
    "Estimate",
    "Matrix",
    "MatrixCell",
    "MatrixRequest",
    "Measured",
    "Outcome",
    "RecordedRuns",
    "Runner",
    "Sample",
    "Series",
    "Session",
    "StopReason",
    "bench_document",
    "build_matrix",
    "estimate",
    "judged",
    "sample_document",
]  # fmt: skip
