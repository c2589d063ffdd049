"""A finished run as time series: its samples at the times at which it ran, from its document alone. Pure.

Rules of this module:
- Same document, same samples: pushed twice, or in another order with other runs, a server holds the same.
- The ``run_*`` gauges are one sample, at the end of the last repetition.
- Curves, counters and histograms are those of the repetition that the document shows, over its own time. Counters begin
  with 0 and end with the run's totals; then a stale marker says that the series has ended.
- Between two samples of a curve lies at most :data:`STEP_NANOSECONDS`, since a server of one's own looks back two
  seconds.
- A simulated run has a makespan but was at no time: it has no curves.
- A curve is a list of changes ``(at, value)`` in nanoseconds, the first at 0, the last (0) at the end. Blocked and
  resuming attempts do not run and hold no units; at one instant ends come before starts.
- A step is ready from the end of its last dependency until it is granted; waits for a barrier, a lock, a backoff or a
  rate are part of that.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeAlias

from executor.model.device_needs import PARTS, kind_of
from executor.record.timeline import NANOSECONDS, Timeline
from harness.analysis.attempt_index import AttemptIndex, known_of
from harness.result import results_of, timeline_from_document
from harness.telemetry.metrics import metric_table as table
from harness.telemetry.metrics.device_samples import device_capacities, device_labels, parts_held
from harness.telemetry.metrics.labels import Labels, result_labels, with_others_summed
from harness.telemetry.metrics.run_metrics import (
    compared_at,
    completed_at,
    ended_attempts,
    info_sample,
    is_simulated,
    possible_waits,
    repetition_begins,
    repetition_results,
    run_samples,
    shown_repetition,
    step_totals,
    telemetry_lost,
    tools_of,
)
from harness.telemetry.metrics.samples import Exemplar, Sample, StepTotals

Curve: TypeAlias = list[tuple[int, int]]
STEP_NANOSECONDS: Final = NANOSECONDS
# A short run is looked at more often, so that its curve has a shape.
_LEAST_LOOKS: Final = 50
# Beyond that many changes a curve is looked at in steps, as a scrape would.
_MOST_CHANGES: Final = 2_000
# Counters are looked at less often in a long run: their sums are the same.
_MOST_COUNTER_LOOKS: Final = 1_000
_MILLISECOND: Final = 1_000_000
# What Prometheus reads as the end of a series: a NaN of its own (prometheus/model/value).
STALE: Final = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


@dataclass(frozen=True, slots=True)
class Curves:
    """``end``: the last `known`, and no less than the makespan. ``devices``: by what is held (``gpu``,
    ``gpu_memory_gb``) and by device, in millionths.
    """

    running: Curve
    ready: Curve
    in_use: Mapping[str, Curve]
    devices: Mapping[tuple[str, str], Curve]
    end: int


def curves_of(timeline: Timeline) -> Curves:
    """The curves of a run. O(attempts · log attempts)."""
    index = AttemptIndex(timeline)
    running: list[tuple[int, int]] = []
    ready: list[tuple[int, int]] = []
    in_use: dict[str, list[tuple[int, int]]] = {
        name: [] for name, resource in timeline.resources.items() if resource.devices is None
    }
    devices: dict[tuple[str, str], list[tuple[int, int]]] = {label: [] for label in device_labels(timeline.resources)}
    end = index.makespan
    for attempt in index.ended:
        known = known_of(attempt)
        end = max(end, known)
        ready += ((attempt.ready, 1), (attempt.granted, -1))
        for start, stop in index.run_segments(attempt):
            running += ((start, 1), (stop, -1))
        needs = timeline.needs[attempt.index] if timeline.needs else None
        if not needs:
            continue
        for label, parts in parts_held(attempt.devices, needs, timeline.resources):
            devices[label] += ((attempt.granted, parts), (known, -parts))
        held = _held(attempt.granted, known, [(pause.start, pause.end) for pause in index.pauses(attempt)])
        for name, units in needs.items():
            if attempt.devices is not None and kind_of(name, timeline.resources) is not None:
                continue
            for start, stop in held:
                in_use.setdefault(name, []).extend(((start, int(units)), (stop, -int(units))))
    return Curves(
        running=_summed(running, end),
        ready=_summed(ready, end),
        in_use={name: _summed(changes, end) for name, changes in in_use.items()},
        devices={label: _summed(changes, end) for label, changes in devices.items()},
        end=end,
    )


def values_at(curve: Sequence[tuple[int, float]], instants: Sequence[int]) -> list[float]:
    """The curve's value at each instant: that of the last change by then."""
    places = [at for at, _ in curve]
    found = []
    for instant in instants:
        place = bisect_right(places, instant) - 1
        found.append(curve[place][1] if place >= 0 else 0)
    return found


def _held(granted: int, known: int, pauses: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """``[granted, known]`` without the pauses."""
    bounds = [granted]
    for start, end in pauses:
        bounds += (max(bounds[-1], start), max(bounds[-1], end))
    bounds.append(max(bounds[-1], known))
    return [(start, end) for start, end in list(pairwise(bounds))[::2] if end > start]


def _summed(changes: list[tuple[int, int]], end: int) -> Curve:
    """From changes to values: one for each instant at which the value changes."""
    by_instant: dict[int, int] = {0: 0}
    for at, change in changes:
        by_instant[at] = by_instant.get(at, 0) + change
    by_instant.setdefault(end, 0)
    curve: Curve = []
    value = 0
    for at in sorted(by_instant):
        value += by_instant[at]
        if not curve or value != curve[-1][1]:
            curve.append((at, value))
    if curve[-1][0] != end:
        curve.append((end, value))
    return curve


class Point(NamedTuple):
    """A value at a time, milliseconds since 1970."""

    at: int
    value: float


class TimedExemplar(NamedTuple):
    """A measurement with its trace."""

    at: int
    value: float
    labels: Labels


@dataclass(slots=True)
class TimeSeries:
    """A series: its name and labels, and its points in order of time."""

    name: str
    labels: Labels
    points: list[Point] = field(default_factory=list)
    exemplars: list[TimedExemplar] = field(default_factory=list)


def series_of(document: Mapping[str, Any], *, run_info: bool = True) -> list[TimeSeries]:
    """Every series of a document.

    Raises:
        DocumentError: it is of another kind, or its results are not whole.
        ValueError: a time in it is none.

    """
    found: list[TimeSeries] = []
    for result in results_of(document):
        if result["samples"]:
            found += _Cell(document, result, run_info=run_info).series()
    return found


def end_of(document: Mapping[str, Any]) -> int:
    """When the last repetition of the document ended, milliseconds since 1970."""
    ends = [completed_at(document, one) for one in results_of(document) if one["samples"]]
    return max(ends, default=0) // _MILLISECOND


class _Cell:
    """One entry of ``results``."""

    def __init__(self, document: Mapping[str, Any], result: Mapping[str, Any], *, run_info: bool) -> None:
        self._document = document
        self._result = result
        self._run_info = run_info
        self._labels = result_labels(result, str(document["scenario"]))
        self._begins = repetition_begins(document, result)
        self._begin = self._begins[shown_repetition(result)]

    def series(self) -> list[TimeSeries]:
        """All of them."""
        end = completed_at(self._document, self._result)
        found = [
            TimeSeries(one.name, one.labels, [Point(end // _MILLISECOND, one.value)])
            for one in self._run_gauges(end)
        ]  # fmt: skip
        if is_simulated(self._document, self._result):
            return found
        found += self._run_counts()
        timeline = timeline_from_document(self._result)
        if timeline.attempts:
            found += self._curves(timeline)
            found += self._totals(timeline)
        return found

    def _run_gauges(self, end: int) -> Iterator[Sample]:
        compared = compared_at(self._document, self._result)
        yield from run_samples(
            self._result, self._labels, completed_seconds=end / NANOSECONDS, compared_seconds=compared
        )
        if self._run_info:
            yield info_sample(self._document, self._result, self._labels)

    def _run_counts(self) -> Iterator[TimeSeries]:
        """``runs_total`` and ``telemetry_lost_total``, over all repetitions."""
        ends = sorted(
            (begin + round(sample["makespan_seconds"] * NANOSECONDS), outcome)
            for begin, sample, outcome in zip(
                self._begins, self._result["samples"], repetition_results(self._result), strict=True
            )
        )  # fmt: skip
        first, last = min(self._begins), ends[-1][0]
        for outcome in table.RUN_RESULTS:
            counted = [(first, 0.0)]
            for at, its in ends:
                counted.append((at, counted[-1][1] + (its == outcome)))
            yield self._counted(TimeSeries(table.RUNS.name, (*self._labels, ("result", outcome))), counted, last)
        lost = [(first, 0.0), (last, telemetry_lost(self._result))]
        yield self._counted(TimeSeries(table.TELEMETRY_LOST.name, self._labels), lost, last)

    @staticmethod
    def _ended(series: TimeSeries, values: Iterable[tuple[int, float]], end: int) -> TimeSeries:
        """The series with these values (nanoseconds since 1970), of each millisecond the last one, and its end."""
        last: dict[int, float] = {}
        for at, value in values:
            last[at // _MILLISECOND] = value
        series.points = [Point(at, last[at]) for at in sorted(last)]
        series.points.append(Point(max(end // _MILLISECOND, series.points[-1].at) + 1, STALE))
        return series

    @classmethod
    def _counted(cls, series: TimeSeries, values: Sequence[tuple[int, float]], end: int) -> TimeSeries:
        """The same for a counter: its begin with 0 is not lost, however short the run is."""
        (begin, zero), *rest = values
        later = (begin // _MILLISECOND + 1) * _MILLISECOND
        kept = [(max(at, later), value) for at, value in rest if at >= later or (at, value) == rest[-1]]
        return cls._ended(series, [(begin, zero), *kept], max(end, later))

    # ------------------------------------------------------------------ over the time of the repetition shown

    def _curves(self, timeline: Timeline) -> Iterator[TimeSeries]:
        curves = curves_of(timeline)
        end = curves.end
        yield self._curve(table.STEPS_RUNNING, (), curves.running, end)
        yield self._curve(table.STEPS_READY, (), curves.ready, end)
        yield self._curve(table.WORKERS, (), list(timeline.worker_changes) or [(0, timeline.workers)], end)
        for name, curve in curves.in_use.items():
            yield self._curve(table.RESOURCE_IN_USE, (("resource", name),), curve, end)
        for (name, device), curve in curves.devices.items():
            values = [(at, parts / PARTS) for at, parts in curve]
            yield self._curve(table.RESOURCE_IN_USE, (("resource", name), ("device", device)), values, end)
        for name, device, amount in device_capacities(timeline.resources):
            labels = (("resource", name), ("device", device))
            yield self._curve(table.RESOURCE_CAPACITY, labels, [(0, amount)], end)
        for name, resource in timeline.resources.items():
            if resource.capacity is not None:
                capacity: Curve = [(0, resource.capacity)]
                yield self._curve(table.RESOURCE_CAPACITY, (("resource", name),), capacity, end)

    def _curve(
        self, family: table.MetricFamily, labels: Labels, curve: Sequence[tuple[int, float]], end: int
    ) -> TimeSeries:
        instants = set(_looks(end, STEP_NANOSECONDS))
        if len(curve) <= _MOST_CHANGES:
            instants.update(at for at, _ in curve)
        ordered = sorted(instants)
        values = zip((self._begin + at for at in ordered), map(float, values_at(curve, ordered)), strict=True)
        return self._ended(TimeSeries(family.name, (*self._labels, *labels)), values, self._begin + end)

    def _totals(self, timeline: Timeline) -> list[TimeSeries]:
        """Counters and histograms as scrapes would have seen them."""
        tools = tools_of(self._result)
        totals = StepTotals(tuple(dict.fromkeys(tools)))
        ended = ended_attempts(timeline)
        # A reason that comes up late begins with 0 as well.
        complete = step_totals(self._result, timeline, begin=self._begin)
        end = max((known_of(one) for one in ended), default=0)
        found: dict[tuple[str, Labels], list[tuple[int, float]]] = {
            (one.name, one.labels): [(self._begin, 0.0)] for one in complete.samples(self._labels)
        }
        possible = dict.fromkeys(possible_waits(self._result), 0.0) | dict.fromkeys(complete.waits, 1.0)
        for reason in with_others_summed(possible):
            for suffix in ("_sum", "_count"):
                key = table.STEP_WAIT.name + suffix, (*self._labels, ("reason", reason))
                found.setdefault(key, [(self._begin, 0.0)])
        counted = 0
        for instant in _looks(end, max(STEP_NANOSECONDS, end // _MOST_COUNTER_LOOKS)):
            while counted < len(ended) and known_of(ended[counted]) <= instant:
                totals.add(ended[counted], tools[ended[counted].index])
                counted += 1
            now = {(one.name, one.labels): one.value for one in totals.samples(self._labels)}
            for key, values in found.items():
                values.append((self._begin + instant, now.get(key, 0.0)))
        series = [
            self._counted(TimeSeries(name, labels), values, self._begin + end)
            for (name, labels), values in found.items()
        ]  # fmt: skip
        self._add_exemplars(series, complete)
        return series

    def _add_exemplars(self, series: Sequence[TimeSeries], totals: StepTotals) -> None:
        found: dict[tuple[str, Labels], Exemplar] = {
            (one.name, one.labels): one.exemplar
            for one in totals.samples(self._labels) if one.exemplar is not None
        }  # fmt: skip
        for one in series:
            exemplar = found.get((one.name, one.labels))
            if exemplar is not None:
                words: Labels = (("trace_id", exemplar.trace_id),)
                one.exemplars.append(TimedExemplar(exemplar.at // _MILLISECOND, exemplar.seconds, words))


def _looks(end: int, longest: int) -> list[int]:
    """Instants from 0 to the end, evenly apart, and no further than ``longest``."""
    looks = max(_LEAST_LOOKS, -(-end // longest)) if end else 0
    return [0, *(end * look // looks for look in range(1, looks + 1))]
