"""Listeners that pass on what comes: repetitions to the store, calls to a recording, runs to the live metrics.

Rules of this module:
- The first repetition of a cell is stored with its whole result, the others in figures: that much the document of a
  run needs that is killed. What happened is stored of each, so that the benchmark can go on.
- Warm-up runs are not in the metrics, as they are not in the result.
- Nothing here raises for a full disk: the caller that ends the recording receives the error.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.benchmark.bench_figures import sample_document, single_result, stored_cell
from harness.benchmark.kept_repetitions import kept_words
from harness.benchmark.matrix import Matrix, MatrixCell
from harness.benchmark.recorded_calls.call_recording import CallRecorder
from harness.benchmark.runner import Measured
from harness.benchmark.session import Listener, Sample
from harness.store.recording import Recording
from harness.telemetry.metrics.live_metrics import LiveMetrics


class StoreKeeper(Listener):
    """Stores each repetition as it comes. ``there``: those that an earlier session stored."""

    def __init__(self, recording: Recording, matrix: Matrix, there: Sequence[Measured] = ()) -> None:
        self._recording = recording
        self._matrix = matrix
        self._there = {(one.cell, one.repetition) for one in there}
        self._whole = {one.cell for one in there}

    def analysed(self, sample: Sample) -> None:
        """Store it."""
        first = sample.cell not in self._whole
        self._whole.add(sample.cell)
        self._recording.add_sample(
            stored_cell(sample),
            sample.repetition,
            sample_document(sample),
            single_result(sample) if first else None,
            kept_words(sample, self._matrix),
            # Its serial run came in another session.
            again=(sample.cell, sample.repetition) in self._there,
        )


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
