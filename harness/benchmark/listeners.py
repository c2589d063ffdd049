"""Listeners that pass on what comes: repetitions to the store, calls to a recording, runs to the live metrics.

Rules of this module:
- The first repetition of a cell is stored whole, the others in figures: that much a run needs that is killed.
- Warm-up runs are not in the metrics, as they are not in the result.
- Nothing here raises for a full disk; the one who closes learns of it.
"""

from __future__ import annotations

from harness.benchmark.bench_figures import sample_document, single_result, stored_cell
from harness.benchmark.matrix import MatrixCell
from harness.benchmark.recorded_calls.call_recording import CallRecorder
from harness.benchmark.runner import Measured
from harness.benchmark.session import Listener, Sample
from harness.store.recording import Recording
from harness.telemetry.metrics.live_metrics import LiveMetrics


class StoreKeeper(Listener):
    """Stores each repetition as it comes."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._whole: set[MatrixCell] = set()

    def analysed(self, sample: Sample) -> None:
        """Store it."""
        first = sample.cell not in self._whole
        self._whole.add(sample.cell)
        result = single_result(sample) if first else None
        self._recording.add_sample(stored_cell(sample), sample.repetition, sample_document(sample), result)


class CallKeeper(Listener):
    """Records the calls of each run that really ran."""

    def __init__(self, recorder: CallRecorder) -> None:
        self._recorder = recorder

    def measured(self, measured: Measured) -> None:
        """Record it."""
        if not measured.cell.simulated:
            self._recorder.add(measured.cell, measured.repetition, measured.run, measured.steps)


class MetricsKeeper(Listener):
    """Says to the live metrics which cell runs next."""

    def __init__(self, live: LiveMetrics) -> None:
        self._live = live

    def begins(self, cell: MatrixCell, repetition: int, seconds_left: float | None) -> None:
        """The next run is of this cell."""
        if repetition == 0 or cell.simulated:
            self._live.begin_nothing()
        else:
            self._live.begin_cell(cell.case.scenario, cell.executor, cell.case.loaded.parameters)

    def measured(self, measured: Measured) -> None:
        """Between two runs there is time to add up."""
        self._live.settle()
