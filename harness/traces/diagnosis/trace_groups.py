"""Many traces: grouped by the shape of their workflow, what is usual in each group, and what differs in the slowest.

Rules of this module:
- The shape is the workflow's name with the names of its spans and of the spans that hold them, however often each
  occurs: an agent that loops once more has the same shape.
- Of each trace only a digest is kept (sums by name), so that a folder may hold more than memory does.
- Medians come with bootstrap 95 % intervals (:mod:`harness.statistics`); one trace has none.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.analysis import RunAnalysis
from harness.analysis.lost_time import RUNNING
from harness.statistics import Interval, interval
from harness.traces.trace_model import ForeignRun

SLOWEST: Final = 3
MOST_DIFFERENCES: Final = 5
# A name whose time differs by less than that share of the median makespan is no difference worth a word.
_WORTH_SAYING_RATIO: Final = 0.02


@dataclass(frozen=True, slots=True)
class Digest:
    """One trace in sums. ``spans``: by name, how many and how many seconds they ran; ``on_path``: the names on the
    critical path; ``lost_seconds`` by cause.
    """

    trace_id: str
    source: str
    workflow: str
    shape: str
    makespan_seconds: float
    work_seconds: float
    spans: Mapping[str, tuple[int, float]]
    on_path: frozenset[str]
    lost_seconds: Mapping[str, float]
    findings: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What a slow trace has more of: spans of a name, their count and seconds, and what is usual (medians)."""

    name: str
    seconds: float
    usual_seconds: float
    count: int
    usual_count: float


@dataclass(frozen=True, slots=True)
class Slow:
    """A slow trace and what differs in it, the largest difference first."""

    digest: Digest
    differences: Sequence[Difference]


@dataclass(slots=True)
class Group:
    """Traces of one shape. ``on_path``: by name, in what share of them it is on the critical path; the most frequent
    first. ``lost``: by cause, the median seconds over all of them.
    """

    workflow: str
    shape: str
    digests: Sequence[Digest]
    makespan: Interval
    work: Interval
    on_path: Mapping[str, float]
    lost: Mapping[str, Interval]
    slowest: Sequence[Slow] = field(default_factory=list)

    @property
    def typical(self) -> Digest:
        """The one with the (lower) median makespan."""
        ordered = sorted(self.digests, key=lambda one: (one.makespan_seconds, one.trace_id))
        return ordered[(len(ordered) - 1) // 2]


def digest_of(run: ForeignRun) -> Digest:
    """What is kept of a trace."""
    timeline = run.timeline
    analysis = RunAnalysis(timeline, foreign=not run.from_makespan)
    index = analysis.index
    spans: dict[str, tuple[int, float]] = {}
    for attempt in index.ended:
        name = run.names[attempt.index]
        count, seconds = spans.get(name, (0, 0.0))
        spans[name] = count + 1, seconds + index.run_nanoseconds(attempt) / NANOSECONDS
    number = {step_id: place for place, step_id in enumerate(timeline.step_ids)}
    path = analysis.critical_path
    tail = run.tail_nanoseconds / NANOSECONDS
    lost: dict[str, float] = {"gap": tail} if tail else {}
    for piece in analysis.lost_pieces:
        held = piece.cause == RUNNING and piece.attempt is not None and bool(index.pauses(piece.attempt))
        cause = "gap" if held and not run.from_makespan else piece.cause
        lost[cause] = lost.get(cause, 0.0) + (piece.end - piece.start) / NANOSECONDS
    return Digest(
        trace_id=run.trace_id,
        source=run.source,
        workflow=run.workflow,
        shape=_shape(run),
        makespan_seconds=index.makespan / NANOSECONDS + tail,
        work_seconds=analysis.work_nanoseconds / NANOSECONDS,
        spans=spans,
        on_path=frozenset(run.names[number[part.step_id]] for part in path.parts if part.nanoseconds),
        lost_seconds=lost,
        findings=len(run.findings),
    )


def _shape(run: ForeignRun) -> str:
    nested = run.timeline.nested_in or [-1] * len(run.names)
    names = {(name, run.names[nested[step]] if nested[step] >= 0 else "") for step, name in enumerate(run.names)}
    text = "\x00".join([run.workflow, *(f"{name}\x01{parent}" for name, parent in sorted(names))])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def groups_of(digests: Iterable[Digest]) -> list[Group]:
    """The groups, those first whose traces took the most time, all together."""
    by_shape: dict[str, list[Digest]] = {}
    for one in digests:
        by_shape.setdefault(one.shape, []).append(one)
    groups = [_group(members) for members in by_shape.values()]
    groups.sort(key=lambda group: (-sum(one.makespan_seconds for one in group.digests), group.workflow, group.shape))
    return groups


def _group(members: Sequence[Digest]) -> Group:
    names = dict.fromkeys(name for one in members for name in one.spans)
    shares = {name: sum(name in one.on_path for one in members) / len(members) for name in names}
    causes = dict.fromkeys(cause for one in members for cause in one.lost_seconds)
    lost = {cause: interval([one.lost_seconds.get(cause, 0.0) for one in members]) for cause in causes}
    group = Group(
        workflow=members[0].workflow,
        shape=members[0].shape,
        digests=members,
        makespan=interval([one.makespan_seconds for one in members]),
        work=interval([one.work_seconds for one in members]),
        on_path={name: share for name, share in sorted(shares.items(), key=lambda item: -item[1]) if share > 0},
        lost=dict(sorted(lost.items(), key=lambda item: -item[1].median)),
    )
    if len(members) > 1:
        slowest = sorted(members, key=lambda one: -one.makespan_seconds)[:SLOWEST]
        group.slowest = [
            Slow(one, _differences(one, members, group.makespan.median))
            for one in slowest
            if one.makespan_seconds > group.makespan.median
        ]
    return group


def _differences(slow: Digest, members: Sequence[Digest], usual_makespan: float) -> list[Difference]:
    found = []
    for name, (count, seconds) in slow.spans.items():
        usual_seconds = statistics.median(one.spans.get(name, (0, 0.0))[1] for one in members)
        usual_count = statistics.median(one.spans.get(name, (0, 0.0))[0] for one in members)
        if seconds - usual_seconds >= _WORTH_SAYING_RATIO * usual_makespan:
            found.append(Difference(name, seconds, usual_seconds, count, usual_count))
    found.sort(key=lambda one: one.usual_seconds - one.seconds)
    return found[:MOST_DIFFERENCES]
