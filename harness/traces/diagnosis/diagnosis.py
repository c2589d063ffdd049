"""What a trace says of its run: where the time went, what it waited for, and what another schedule would buy.

Rules of this module:
- Figures are those of :mod:`harness.analysis`, over the trace's timeline; of our own traces they are those of the run.
- In a trace of others, the time of a span that its children do not cover is ``gap``: what it was for is unknown.
- The parts of the lost time sum to the makespan exactly.
- A conclusion carries what it rests on: ``assumed`` is True where an assumed edge is part of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Final, TypeVar

from executor.garbage_collection import paused_collector
from executor.record.timeline import NANOSECONDS
from harness.analysis import AttemptIndex, RunAnalysis, Summary
from harness.analysis.attempt_index import ended_of
from harness.analysis.lost_time import RUNNING, Piece
from harness.traces.diagnosis.advice import Together, side_by_side
from harness.traces.diagnosis.headline import Headline, headline_of
from harness.traces.edges.framework_edges import LANGGRAPH
from harness.traces.prediction.predicted_makespans import Limit, Predictions, predictions
from harness.traces.prediction.raised_limits import Raised, raised_limits
from harness.traces.prediction.trace_what_if import WhatIf
from harness.traces.runs.queueing import Queue, queues_of
from harness.traces.trace_model import ASSUMED, ForeignRun

GAP: Final = "gap"
BARRIER: Final = "barrier"
BACKOFF: Final = "backoff"
# The largest are listed, that many, and the others are counted.
MOST_GAPS: Final = 10
MOST_BARRIERS: Final = 20
MOST_RETRIED: Final = 20
MOST_QUEUES: Final = 20
MOST_PAIRS: Final = 50

Listed = TypeVar("Listed")


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch inside a span (``step``) that no child covers, or (-1) between the outermost spans. Seconds of the
    run. ``on_the_way``: whether the makespan goes through it.
    """

    step: int
    start_seconds: float
    seconds: float
    on_the_way: bool


@dataclass(frozen=True, slots=True)
class Barrier:
    """A level that waited for its slowest. ``slowest`` ended last; ``waiting`` could have begun before.

    ``waited_seconds``: all of them together. ``lost_seconds``: what of the makespan that was. ``certain``: it is known
    that they do not need the slowest; else ``lost_seconds`` is what it may have cost at most.
    """

    slowest: int
    waiting: tuple[int, ...]
    end_seconds: float
    waited_seconds: float
    lost_seconds: float
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Retried:
    """A step that was tried several times: what its failed attempts ran, and what was waited between them."""

    step: int
    attempts: int
    failed_seconds: float
    backoff_seconds: float


@dataclass(slots=True)
class Diagnosis:
    """Everything there is to say about one trace. ``lost_seconds`` sum to the makespan, largest first. ``left_out``:
    how many more there are than are listed, by the name of the list.
    """

    run: ForeignRun
    figures: Summary
    lost_seconds: Mapping[str, float]
    gaps: Sequence[Gap]
    gap_seconds: float
    barriers: Sequence[Barrier]
    retries: Sequence[Retried]
    queues: Sequence[Queue]
    raised: Sequence[Raised]
    together: Sequence[Together]
    pairs: Sequence[Together]
    predictions: Predictions
    edges: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def headline(self) -> Headline:
        """What is gained for sure, what may be, and what would settle it."""
        return headline_of(self.run, self.figures.makespan_seconds, self.predictions, self.raised, self.edges)

    @property
    def assumed_edges(self) -> int:
        """How many edges are assumed."""
        return self.edges.get(ASSUMED, 0)

    def name(self, step: int) -> str:
        """The step's id, which is its name with a number where the name recurs; the run itself for -1."""
        return self.run.timeline.step_ids[step] if step >= 0 else self.run.workflow or "the run"

    def caller(self, step: int) -> str | None:
        """The id of the step that holds it."""
        nested = self.run.timeline.nested_in
        return self.run.timeline.step_ids[nested[step]] if nested and nested[step] >= 0 else None


def diagnose(run: ForeignRun, *, workers: Sequence[int] | None = None, limits: Sequence[Limit] = ()) -> Diagnosis:
    """The diagnosis of a run. ``workers``: for which numbers to predict; ``limits``: under which limits, too."""
    with paused_collector():
        return _diagnose(run, workers, limits)


def _diagnose(run: ForeignRun, workers: Sequence[int] | None, limits: Sequence[Limit]) -> Diagnosis:
    timeline = run.timeline
    foreign = not run.from_makespan
    analysis = RunAnalysis(timeline, foreign=foreign)
    index = analysis.index
    tail = run.tail_nanoseconds
    figures = _reaching(analysis.summary, tail)
    pieces = analysis.lost_pieces
    together, pairs = side_by_side(run)
    if tail:
        pieces.insert(0, Piece(GAP, index.makespan, index.makespan + tail, None))
    left_out: dict[str, int] = {}
    gaps, gap_seconds = _gaps(index, pieces, left_out) if foreign else ([], 0.0)
    lost_seconds = _lost(pieces, index) if foreign else figures.lost_seconds
    barriers = _first(_barriers(index, pieces), MOST_BARRIERS, "barriers", left_out)
    if foreign:
        barriers += _first(_possible_barriers(run, index), MOST_BARRIERS, "barriers", left_out)
    del analysis, pieces  # large, and no longer needed
    queues = _first(queues_of(run) if foreign else [], MOST_QUEUES, "queues", left_out)
    sure = WhatIf(run, index=index)
    return Diagnosis(
        run=run,
        figures=figures,
        lost_seconds=lost_seconds,
        gaps=gaps,
        gap_seconds=gap_seconds,
        barriers=barriers,
        retries=_first(_retries(index), MOST_RETRIED, "retries", left_out),
        queues=queues,
        raised=raised_limits(sure, queues, index.makespan + tail),
        together=together,
        pairs=_first(pairs, MOST_PAIRS, "pairs", left_out),
        predictions=predictions(sure, workers=workers, limits=limits),
        edges=_labels(run),
        left_out=left_out,
    )


def _first(found: list[Listed], most: int, name: str, left_out: dict[str, int]) -> list[Listed]:
    """So many of them; how many more there are is noted."""
    if len(found) > most:
        left_out[name] = left_out.get(name, 0) + len(found) - most
    return found[:most]


def _reaching(figures: Summary, tail: int) -> Summary:
    """The figures of a run that goes on after its last step."""
    if not tail:
        return figures
    makespan = figures.makespan_seconds + tail / NANOSECONDS
    return replace(
        figures,
        makespan_seconds=makespan,
        concurrency_mean=figures.work_seconds / makespan,
        schedule_efficiency_ratio=figures.lower_bound_seconds / makespan,
    )


def _labels(run: ForeignRun) -> dict[str, int]:
    counts = dict.fromkeys(("declared", "inferred", "assumed"), 0)
    for edge in run.edges:
        counts[edge.label] += 1
    return counts


def _lost(pieces: Sequence[Piece], index: AttemptIndex) -> dict[str, float]:
    """By cause, ``running`` of a span that has children being ``gap``, and what lies between outermost spans too."""
    lost: dict[str, int] = {}
    for piece in pieces:
        cause = piece.cause
        if cause in ("overhead", "arrival") or (cause == RUNNING and piece.attempt and index.pauses(piece.attempt)):
            cause = GAP
        lost[cause] = lost.get(cause, 0) + piece.end - piece.start
    return {cause: value / NANOSECONDS for cause, value in sorted(lost.items(), key=lambda item: -item[1])}


def _gaps(index: AttemptIndex, pieces: Sequence[Piece], left_out: dict[str, int]) -> tuple[list[Gap], float]:
    """The longest gaps inside of spans, and the sum of them all."""
    found: list[tuple[int, int, int, int]] = []  # the longest first, of several the earliest
    for attempt in index.ended:
        if index.pauses(attempt):
            for start, end in index.run_segments(attempt):
                found.append((start - end, start, len(found), attempt.index))
    stretches: list[tuple[int, int]] = []
    for cause, start, end, ran in reversed(pieces):  # in order of time
        if cause == GAP and (ran is None or index.nested_in[ran.index] < 0):
            found.append((start - end, start, len(found), -1))
        if cause == GAP or (cause == RUNNING and ran is not None and index.pauses(ran)):
            stretches.append((start, end))
    count = sum(1 for length, _, _, _ in found if length < 0)
    if count > MOST_GAPS:
        left_out["gaps"] = count - MOST_GAPS
    return [
        Gap(step, start / NANOSECONDS, -length / NANOSECONDS, _crosses(stretches, start, start - length))
        for length, start, _, step in nsmallest(MOST_GAPS, found)
        if length < 0
    ], -sum(one[0] for one in found) / NANOSECONDS


def _crosses(stretches: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Whether one of the stretches, which stand in order of time, shares some time with that one."""
    before = bisect_left(stretches, (end, end))
    return before > 0 and stretches[before - 1][1] > start


def _barriers(index: AttemptIndex, pieces: Sequence[Piece]) -> list[Barrier]:
    """The waits at barriers, those that ended at one instant together."""
    waits: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for attempt in index.ended:
        for reason, start, end in attempt.waits:
            if reason == BARRIER and end > start:
                waits.setdefault((index.nested_in[attempt.index], end), []).append((attempt.index, end - start))
    if not waits:
        return []
    lost: dict[tuple[int, int], int] = {}
    for piece in pieces:
        if piece.cause == BARRIER and piece.attempt is not None:
            key = index.nested_in[piece.attempt.index], piece.end
            lost[key] = lost.get(key, 0) + piece.end - piece.start
    ended = {
        (index.nested_in[attempt.index], attempt.ended): attempt.index for attempt in reversed(index.ended)
    }  # fmt: skip
    found = [
        Barrier(
            slowest=ended.get(key, -1),
            waiting=tuple(step for step, _ in waiting),
            end_seconds=key[1] / NANOSECONDS,
            waited_seconds=sum(length for _, length in waiting) / NANOSECONDS,
            lost_seconds=lost.get(key, 0) / NANOSECONDS,
        )
        for key, waiting in waits.items()
    ]
    found.sort(key=lambda one: (-one.lost_seconds, -one.waited_seconds))
    return found


def _possible_barriers(run: ForeignRun, index: AttemptIndex) -> list[Barrier]:
    """Steps that follow several of a level only because it is unknown which of them they need: at most the time between
    the first and the last end was lost.
    """
    needed: dict[int, list[int]] = {}
    for edge in run.edges:
        if edge.source == LANGGRAPH:
            needed.setdefault(edge.after, []).append(edge.before if edge.label == ASSUMED else -1)
    waits: dict[int, list[tuple[int, int]]] = {}
    for step, before in needed.items():
        if len(before) > 1 and -1 not in before and index.tries[step]:
            ends = {one: ended_of(index.last_of(one)) for one in before if index.tries[one]}
            slowest = max(ends, key=lambda one: ends[one])
            waits.setdefault(slowest, []).append((step, ends[slowest] - min(ends.values())))
    found = [
        Barrier(
            slowest=slowest,
            waiting=tuple(step for step, _ in waiting),
            end_seconds=ended_of(index.last_of(slowest)) / NANOSECONDS,
            waited_seconds=sum(length for _, length in waiting) / NANOSECONDS,
            lost_seconds=max(length for _, length in waiting) / NANOSECONDS,
            certain=False,
        )
        for slowest, waiting in waits.items()
    ]
    found.sort(key=lambda one: -one.lost_seconds)
    return found


def _retries(index: AttemptIndex) -> list[Retried]:
    found = []
    for step, tries in enumerate(index.tries):
        if len(tries) < 2:
            continue
        failed = sum(index.run_nanoseconds(attempt) for attempt in tries[:-1])
        backoff = sum(end - start for attempt in tries for reason, start, end in attempt.waits if reason == BACKOFF)
        found.append(Retried(step, len(tries), failed / NANOSECONDS, backoff / NANOSECONDS))
    found.sort(key=lambda one: -(one.failed_seconds + one.backoff_seconds))
    return found
