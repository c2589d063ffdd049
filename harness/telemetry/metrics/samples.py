"""Numbers with a name: what a collector shows, remote write sends and the text file holds.

Rules of this module:
- A sample names its family (from the table), what follows the family's name, its labels and its value.
- Totals over attempts are kept as integers and bucket counts; samples are made of them when they are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from executor.record.timeline import NANOSECONDS, Attempt, AttemptOutcome
from harness.analysis.attempt_index import ended_of, pauses_of, started_of
from harness.telemetry.metrics.labels import FailureLabels, Labels, Reasons
from harness.telemetry.metrics.metric_table import (
    ATTEMPT_RESULTS,
    BUSY_WORKER,
    RETRY_REASONS,
    SECONDS_BUCKETS,
    STEP_ATTEMPTS,
    STEP_DURATION,
    STEP_FAILURES,
    STEP_RETRIES,
    STEP_WAIT,
    MetricFamily,
)

_BOUNDS_NANOSECONDS = tuple(round(bound * NANOSECONDS) for bound in SECONDS_BUCKETS)
BOUND_LABELS = (*(repr(bound) for bound in SECONDS_BUCKETS), "+Inf")


class Exemplar(NamedTuple):
    """One measurement behind a bucket: its seconds, when it was made (nanoseconds since 1970), and its trace."""

    seconds: float
    at: int
    trace_id: str


class Sample(NamedTuple):
    """One number. ``suffix`` follows the family's name: ``_bucket``, ``_sum``, ``_count`` or nothing."""

    family: MetricFamily
    labels: Labels
    value: float
    suffix: str = ""
    exemplar: Exemplar | None = None

    @property
    def name(self) -> str:
        """The name of its series."""
        return self.family.name + self.suffix


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, not cumulative; the last is that of all above."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_NANOSECONDS) + 1))
    total: int = 0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    def add(self, nanoseconds: int, at: int, trace_id: str | None) -> None:
        """Count one measurement, made ``at`` nanoseconds since 1970; with a trace it is an exemplar."""
        bucket = bisect_left(_BOUNDS_NANOSECONDS, nanoseconds)
        self.counts[bucket] += 1
        self.total += nanoseconds
        if trace_id is not None:
            self.exemplars[bucket] = Exemplar(nanoseconds / NANOSECONDS, at, trace_id)

    def samples(self, family: MetricFamily, labels: Labels) -> Iterator[Sample]:
        """Cumulative buckets, sum and count."""
        count = 0
        for bucket, bound in enumerate(BOUND_LABELS):
            count += self.counts[bucket]
            yield Sample(family, (*labels, ("le", bound)), count, "_bucket", self.exemplars.get(bucket))
        yield Sample(family, labels, self.total / NANOSECONDS, "_sum")
        yield Sample(family, labels, count, "_count")


class StepTotals:
    """What ended attempts add up to. :meth:`add` costs a few microseconds; nothing in it grows with the steps.
    ``begin``: t = 0 of the run, nanoseconds since 1970; ``trace_id``: its trace, None without one.
    """

    def __init__(self, tools: Sequence[str], *, begin: int = 0, trace_id: str | None = None) -> None:
        self.attempts: dict[tuple[str, AttemptOutcome], int] = {(tool, "succeeded"): 0 for tool in tools}
        self.retries: dict[str, int] = dict.fromkeys(RETRY_REASONS, 0)
        self.failures: dict[tuple[str, str], int] = {}
        self.busy = 0
        self.durations = Histogram()
        self.waits: dict[str, Histogram] = {}
        self._reasons = Reasons()
        self._failure_labels = FailureLabels()
        # Of attempts that ended badly, until the next one at the step: few at any time.
        self._failed: dict[int, AttemptOutcome] = {}
        self._begin = begin
        self._trace_id = trace_id

    def begin_run(self, tools: Sequence[str], begin: int, trace_id: str | None) -> None:
        """From now on attempts of another run are added, which has its own steps."""
        self._failed.clear()
        self._begin = begin
        self._trace_id = trace_id
        for tool in tools:
            self.attempts.setdefault((tool, "succeeded"), 0)

    def add(self, attempt: Attempt, tool: str) -> None:
        """Count an attempt that ended."""
        outcome: AttemptOutcome = attempt.outcome or "succeeded"
        begin, trace_id = self._begin, self._trace_id
        key = (tool, outcome)
        self.attempts[key] = self.attempts.get(key, 0) + 1
        if attempt.attempt > 1:
            before: str = self._failed.pop(attempt.index, "failed")
            self.retries[before] = self.retries.get(before, 0) + 1
        if outcome != "succeeded":
            self._failed[attempt.index] = outcome
            self._add_failure(attempt, outcome)
        ran = run_nanoseconds(attempt)
        self.busy += ran
        self.durations.add(ran, begin + ended_of(attempt), trace_id)
        for reason, start, end in attempt.waits:
            label = self._reasons.label(reason)
            histogram = self.waits.get(label)
            if histogram is None:
                histogram = self.waits[label] = Histogram()
            histogram.add(end - start, begin + end, trace_id)

    def _add_failure(self, attempt: Attempt, outcome: AttemptOutcome) -> None:
        if outcome == "cancelled":
            return
        failure = attempt.failure
        error_type = outcome if failure is None or outcome != "failed" else failure.error_type
        key = self._failure_labels.label(error_type, None if failure is None else failure.http_status_code)
        self.failures[key] = self.failures.get(key, 0) + 1

    def samples(self, labels: Labels) -> Iterator[Sample]:
        """All of it as samples."""
        tools = dict.fromkeys(tool for tool, _ in self.attempts)
        for tool in tools:
            for result in ATTEMPT_RESULTS:
                count = self.attempts.get((tool, result), 0)
                yield Sample(STEP_ATTEMPTS, (*labels, ("tool", tool), ("result", result)), count)
        for (error_type, status), count in self.failures.items():
            words = (*labels, ("error_type", error_type), ("http_status_code", status))
            yield Sample(STEP_FAILURES, words, count)
        for reason, count in self.retries.items():
            yield Sample(STEP_RETRIES, (*labels, ("reason", reason)), count)
        yield Sample(BUSY_WORKER, labels, self.busy / NANOSECONDS)
        yield from self.durations.samples(STEP_DURATION, labels)
        for reason, histogram in self.waits.items():
            yield from histogram.samples(STEP_WAIT, (*labels, ("reason", reason)))


def run_nanoseconds(attempt: Attempt) -> int:
    """The run time of an attempt that ended: started to ended, less blocked and resuming."""
    cursor, ended = started_of(attempt), ended_of(attempt)
    ran = 0
    for pause in pauses_of(attempt):
        if pause.start > cursor:
            ran += pause.start - cursor
        cursor = max(cursor, pause.end)
    return ran + max(0, ended - cursor)
