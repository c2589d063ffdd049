"""Listeners that pass on what comes: repetitions to the store, calls to a recording, runs to the live metrics.

Rules of this module:
- The first repetition of a cell is stored with its whole result, the others in figures: that much the document of a
  run needs that is killed. What happened is stored of each, so that the benchmark can go on.
- Short repetitions are stored together: of a benchmark that is killed, those of the last five seconds at most are
  measured again. Before a run that may take longer, and during one that does, everything is stored, and so it
  is where it is interrupted.
- Warm-up runs are not in the metrics, as they are not in the result.
- Nothing here raises for a full disk: the caller that ends the recording receives the error.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from harness.benchmark.bench_figures import sample_document, single_result, stored_cell
from harness.benchmark.kept_repetitions import kept_words
from harness.benchmark.matrix import Matrix, MatrixCell
from harness.benchmark.recorded_calls.call_recording import CallRecorder
from harness.benchmark.runner import Measured
from harness.benchmark.session import Listener, Sample
from harness.store.recording import Recording
from harness.store.stored_run import SampleToStore
from harness.telemetry.metrics.live_metrics import LiveMetrics

# To store a short repetition takes longer than to run it again, so that a few seconds of them are held back.
SHORT_SECONDS: Final = 0.1
HELD_BACK_SECONDS: Final = 5.0


class StoreKeeper(Listener):
    """Stores repetitions. ``there``: those that an earlier session stored."""

    def __init__(
        self,
        recording: Recording,
        matrix: Matrix,
        there: Sequence[Measured] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._kept_at = clock()
        self._wall_seconds: dict[MatrixCell, float] = {}
        self._running_since = math.inf
        self._watcher: threading.Thread | None = None
        self._recording = recording
        self._matrix = matrix
        self._there = {(one.cell, one.repetition) for one in there}
        self._whole = {one.cell for one in there}

    def begins(self, cell: MatrixCell, repetition: int, seconds_left: float | None) -> None:
        """Store what was held back, unless only a short run is between now and the next time."""
        now = self._running_since = self._clock()
        short = self._wall_seconds.get(cell, math.inf) < SHORT_SECONDS
        if not short or now - self._kept_at >= HELD_BACK_SECONDS:
            self._recording.keep_held()
            self._kept_at = self._clock()

    def measured(self, measured: Measured) -> None:
        """Learn how long runs of its cell take."""
        self._running_since = math.inf
        self._wall_seconds[measured.cell] = measured.wall_seconds

    def analysed(self, sample: Sample) -> None:
        """Take it for the store."""
        first = sample.cell not in self._whole
        self._whole.add(sample.cell)
        self._recording.add_later(lambda: self._to_store(sample, first=first))
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._watch, name="makespan-store", daemon=True)
            self._watcher.start()

    def _watch(self) -> None:
        """Store what is held back during a run that turns out to be long: it may never end."""
        while self._recording.holds:
            time.sleep(SHORT_SECONDS)
            if self._clock() - self._running_since >= SHORT_SECONDS:
                self._recording.keep_held()

    def _to_store(self, sample: Sample, *, first: bool) -> SampleToStore:
        return SampleToStore(
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
            self._live.begin_cell(cell.case.scenario, cell.executor, cell.case.loaded.parameters, cell.policy)

    def measured(self, measured: Measured) -> None:
        """Between two runs there is time to add up."""
        self._live.settle()
