"""The metrics of runs while they go on: read from the engine's record when they are scraped, never written in a run.

::

    run ── record ──▶ engine                         publish(document) ── run_* gauges
                        ▲                                    │
                        └──── looked at by ──── samples() ◀──┴── a scrape

Rules of this module:
- No hook is called for an attempt, so a run costs what it costs without: what a scrape has to add up is added up in the
  scrape's thread, and of a large run only :data:`MOST_ATTEMPTS_PER_LOOK` at a time while it goes on.
- Counters go on over all runs of a cell in this process. Warm-up and simulated runs are not counted.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.engine.instruments import Instrument, WatchedRun
from executor.record.timeline import NANOSECONDS, Attempt
from harness.analysis.attempt_index import started_of
from harness.result import results_of
from harness.result.cell_key import Cell
from harness.telemetry.metrics import metric_table as table
from harness.telemetry.metrics.device_samples import pool_values
from harness.telemetry.metrics.labels import Labels, cell_labels, result_labels
from harness.telemetry.metrics.run_metrics import (
    UNKNOWN_TOOL,
    compared_at,
    completed_at,
    info_sample,
    is_simulated,
    run_samples,
    telemetry_lost,
)
from harness.telemetry.metrics.samples import Sample, StepTotals

# To add up an attempt takes some microseconds: so many are less than a hundredth of the second between two scrapes.
MOST_ATTEMPTS_PER_LOOK: Final = 3_000
# version-trace_id-parent_id-flags
_LEAST_PARENT_PARTS: Final = 4


@dataclass(slots=True)
class _CellTotals:
    """What a cell's runs add up to so far, and the gauges of its finished ones."""

    steps: StepTotals = field(default_factory=lambda: StepTotals(()))
    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(table.RUN_RESULTS, 0))
    lost: float = 0.0
    busy: float = 0.0
    finished: list[Sample] = field(default_factory=list)

    def samples(self, labels: Labels) -> Iterator[Sample]:
        for outcome, count in self.runs.items():
            yield Sample(table.RUNS, (*labels, ("result", outcome)), count)
        yield Sample(table.TELEMETRY_LOST, labels, self.lost)
        yield from self.steps.samples(labels)
        yield from self.finished


class _Watched:
    """A run that goes on, or whose record is not yet wholly added up."""

    def __init__(self, engine: WatchedRun, labels: Labels, totals: _CellTotals, trace_id: str | None) -> None:
        self.engine = engine
        self.labels = labels
        self.totals = totals
        self.finished = False
        self._tools: dict[int, str] = {}
        # Every attempt before this place in the record is added up, and so are those of the set behind it. Attempts
        # that have not ended may still change places.
        self._floor = 0
        self._added: set[Attempt] = set()
        tools = dict.fromkeys(step.tool or UNKNOWN_TOOL for step in engine.scheduler.steps)
        totals.steps.begin_run(tuple(tools), time.time_ns(), trace_id)

    def add_up(self, most: int | None = None) -> None:
        """Add up what has ended, at most so many attempts."""
        scheduler, totals, added = self.engine.scheduler, self.totals.steps, self._added
        attempts, steps = scheduler.attempts, scheduler.steps
        for attempt in attempts[self._floor :]:
            if attempt.outcome is None or attempt in added:
                continue
            totals.add(attempt, steps[attempt.index].tool or UNKNOWN_TOOL)
            added.add(attempt)
            if most is not None:
                most -= 1
                if not most:
                    break
        floor = self._floor
        while floor < len(attempts) and attempts[floor] in added:
            added.discard(attempts[floor])
            floor += 1
        self._floor = floor

    def end(self) -> None:
        """Add up the rest, and the run itself."""
        self.add_up()
        statuses = set(self.engine.scheduler.statuses())
        outcome = "failed" if "failed" in statuses else "interrupted" if "cancelled" in statuses else "succeeded"
        self.totals.runs[outcome] += 1

    def moment(self) -> Iterator[Sample]:
        """What holds at this moment."""
        scheduler, labels = self.engine.scheduler, self.labels
        going_on = not self.finished
        ready = scheduler.count("ready") + scheduler.count("backing_off") if going_on else 0
        yield Sample(table.STEPS_RUNNING, labels, scheduler.running if going_on else 0)
        yield Sample(table.STEPS_READY, labels, ready)
        yield Sample(table.WORKERS, labels, scheduler.slots)
        for limit in list(scheduler.limits):
            words = (*labels, ("resource", limit.name))
            yield Sample(table.RESOURCE_IN_USE, words, limit.in_use if going_on else 0)
            if limit.capacity is not None:
                yield Sample(table.RESOURCE_CAPACITY, words, limit.capacity)
        for name, device, used, amount in pool_values(scheduler.limits.pools):
            words = (*labels, ("resource", name), ("device", device))
            yield Sample(table.RESOURCE_IN_USE, words, used if going_on else 0)
            yield Sample(table.RESOURCE_CAPACITY, words, amount)

    def running_seconds(self) -> float:
        """For how long the attempts that run now have been at it."""
        if self.finished:
            return 0.0
        scheduler, now = self.engine.scheduler, self.engine.now()
        # What runs was granted last, or long ago: those in between that were not looked at yet are many.
        place = max(self._floor, len(scheduler.attempts) - MOST_ATTEMPTS_PER_LOOK)
        open_ones = [one for one in scheduler.attempts[place:] if one.outcome is None and not one.blocked]
        return sum(max(0, now - started_of(one)) for one in open_ones) / NANOSECONDS


class LiveMetrics(Instrument):
    """Give it to every run as an instrument, tell it by :meth:`begin_cell` what the next run is of, and by
    :meth:`publish` what came of it. :meth:`samples` may be called from any thread.
    """

    def __init__(self, *, run_info: bool = True) -> None:
        self._run_info = run_info
        self._lock = threading.Lock()
        self._cells: dict[Labels, _CellTotals] = {}
        self._next: Callable[[WatchedRun], Cell] | None = None
        self._watched: _Watched | None = None
        # What holds between two runs: nothing runs.
        self._rest: list[Sample] = []

    def begin_cell(self, scenario: str, executor: str, parameters: Mapping[str, Any], policy: str = "dataflow") -> None:
        """The next run is one of this cell; its workers are the engine's."""
        words = json.dumps(dict(parameters), sort_keys=True)
        self._next = lambda engine: Cell(scenario, executor, engine.scheduler.largest_slots, policy, words)

    def begin_nothing(self) -> None:
        """The next run does not count: it is a warm-up."""
        self._next = None

    def run_started(self, engine: WatchedRun) -> None:
        """Watch it from now on."""
        with self._lock:
            self._settle()
            if self._next is None or engine.simulates:
                return
            labels = cell_labels(self._next(engine))
            totals = self._cells.setdefault(labels, _CellTotals())
            self._watched = _Watched(engine, labels, totals, _trace_id_of(engine))

    def run_finished(self, engine: WatchedRun) -> None:
        """Nothing of it runs any more. What it adds up to is found out later, since this is still measured."""
        watched = self._watched
        if watched is not None and watched.engine is engine:
            watched.finished = True

    def settle(self) -> None:
        """Add up a run that is over; between two runs, where it disturbs nothing."""
        with self._lock:
            self._settle()

    def publish(self, document: Mapping[str, Any]) -> None:
        """From now on show the ``run_*`` gauges of these results.

        Raises:
            DocumentError: it is no result document.

        """
        with self._lock:
            self._settle()
            for result in results_of(document):
                labels = result_labels(result, str(document["scenario"]))
                if not result["samples"] or is_simulated(document, result):
                    continue
                totals = self._cells.setdefault(labels, _CellTotals())
                completed = completed_at(document, result) / NANOSECONDS
                compared = compared_at(document, result)
                totals.finished = list(
                    run_samples(result, labels, completed_seconds=completed, compared_seconds=compared)
                )
                totals.lost = telemetry_lost(result)
                if self._run_info:
                    totals.finished.append(info_sample(document, result, labels))

    def samples(self) -> list[Sample]:
        """Everything, as it is now."""
        with self._lock:
            watched = self._watched
            if watched is not None and not watched.finished:
                watched.add_up(MOST_ATTEMPTS_PER_LOOK)
            moment = self._rest if watched is None else list(watched.moment())
            running = 0.0 if watched is None else watched.running_seconds()
            if watched is not None and watched.finished:
                self._settle()
            totals = None if watched is None else watched.totals
            return [
                *moment,
                *(
                    _never_shrinking(one, cell, running if cell is totals else 0.0)
                    for labels, cell in self._cells.items()
                    for one in cell.samples(labels)
                ),
            ]

    def _settle(self) -> None:
        watched = self._watched
        if watched is not None and watched.finished:
            self._watched = None
            self._rest = list(watched.moment())
            watched.end()


def _never_shrinking(sample: Sample, totals: _CellTotals, running: float) -> Sample:
    """Busy time grows while a step runs. When it ends the record may say a little less: the counter waits for it."""
    if sample.family is not table.BUSY_WORKER:
        return sample
    totals.busy = max(totals.busy, sample.value + running)
    return sample._replace(value=totals.busy)


def _trace_id_of(engine: WatchedRun) -> str | None:
    """The trace that the run is part of, as its worker processes receive it (W3C trace context, ``traceparent``)."""
    carrier: Mapping[str, str] = engine.context.trace or {}
    parts = carrier.get("traceparent", "").split("-")
    return parts[1] if len(parts) >= _LEAST_PARENT_PARTS else None
