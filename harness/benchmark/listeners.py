"""Listeners that keep what comes: repetitions in the store, calls in a recording.

Rules of this module:
- The first repetition of a cell is stored whole, the others in figures: that much a run needs that is killed.
- Nothing here raises for a full disk; whoever closes is told.
"""

from __future__ import annotations

from harness.benchmark.bench_figures import sample_document, single_result, stored_cell
from harness.benchmark.matrix import MatrixCell
from harness.benchmark.recorded_calls.call_recording import CallRecorder
from harness.benchmark.runner import Measured
from harness.benchmark.session import Sample
from harness.store.recording import Recording


class _Silent:
    """Hears everything and does nothing."""

    def planned(self, runs: int | None) -> None:
        """Nothing to do."""

    def begins(self, cell: MatrixCell, repetition: int, seconds_left: float | None) -> None:
        """Nothing to do."""

    def measured(self, measured: Measured) -> None:
        """Nothing to do."""

    def analysed(self, sample: Sample) -> None:
        """Nothing to do."""


class StoreKeeper(_Silent):
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


class CallKeeper(_Silent):
    """Records the calls of each run that really ran."""

    def __init__(self, recorder: CallRecorder) -> None:
        self._recorder = recorder

    def measured(self, measured: Measured) -> None:
        """Record it."""
        if not measured.cell.simulated:
            self._recorder.add(measured.cell, measured.repetition, measured.run, measured.steps)
