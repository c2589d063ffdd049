"""Holds what the analysis says of a program's trace against what is so.

Rules of this module:
- A claim of a makespan is judged by playing the changed program. Its ratio is claimed ÷ true makespan: below 1 the
  gain was said too large. A claim that is not sure is counted apart.
- An edge is true if something in the later span needs something in the earlier one.
- A step is critical if the makespan shrinks when it takes half as long.
- What stays below :data:`NOTICEABLE_RATIO` of the makespan is not judged: it is too small to act on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from executor.record.timeline import NANOSECONDS
from harness.simulation.changes import Change as SimulatedChange
from harness.simulation.changes import SimulationError
from harness.testing.programs.known_truth import Truth
from harness.testing.programs.playing import Change
from harness.testing.programs.program import Program, Statement
from harness.testing.programs.span_emission import emitted
from harness.traces import foreign_run
from harness.traces.diagnosis.advice import Together
from harness.traces.diagnosis.diagnosis import Diagnosis, diagnose
from harness.traces.prediction.predicted_makespans import UNLIMITED
from harness.traces.prediction.trace_subject import subject_of_trace
from harness.traces.runs.queueing import Queue
from harness.traces.trace_model import ASSUMED, ForeignRun, Trace

NOTICEABLE_RATIO: Final = 0.02
TOLERANCE_RATIO: Final = 0.05
_FASTER: Final = 2.0
_MOST_FASTER: Final = 4
_MOST_TOGETHER: Final = 6


class Claim(NamedTuple):
    """A makespan that the analysis foretells. ``kind``: ``dataflow`` (everything as soon as it can begin),
    ``together``, ``faster`` or ``limit``. ``gain_ratio``, ``true_gain_ratio``: of the makespan as it was.
    """

    kind: str
    what: str
    sure: bool
    gain_ratio: float
    true_gain_ratio: float

    @property
    def ratio(self) -> float:
        """Claimed ÷ true makespan."""
        return (1 - self.gain_ratio) / max(1e-9, 1 - self.true_gain_ratio)

    @property
    def is_too_high(self) -> bool:
        """Whether a gain is foretold that is not there."""
        return self.ratio < 1 - TOLERANCE_RATIO and self.gain_ratio > NOTICEABLE_RATIO

    @property
    def is_sure_gain(self) -> bool:
        """Whether a noticeable gain is reported as sure."""
        return self.sure and self.gain_ratio > NOTICEABLE_RATIO


class Fault(NamedTuple):
    """Something that is wrong: its kind, and the sentence that says it."""

    kind: str
    message: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """What of an analysis was right. Pairs are (right, of so many), ``edges`` by label."""

    spans: int = 0
    claims: list[Claim] = field(default_factory=list)
    edges: dict[str, tuple[int, int]] = field(default_factory=dict)
    needs_known: tuple[int, int] = (0, 0)
    needs_any: tuple[int, int] = (0, 0)
    critical_named: tuple[int, int] = (0, 0)
    critical_found: tuple[int, int] = (0, 0)
    gaps: tuple[int, int] = (0, 0)
    limits_found: tuple[int, int] = (0, 0)
    limits_named: tuple[int, int] = (0, 0)

    def include(self, other: Tally) -> None:
        """Count in what another one has counted."""
        self.spans += other.spans
        self.claims += other.claims
        for label, pair in other.edges.items():
            self.edges[label] = sum_of(self.edges.get(label, (0, 0)), pair)
        for name in _PAIRS:
            setattr(self, name, sum_of(getattr(self, name), getattr(other, name)))


_PAIRS: Final = tuple(one.name for one in fields(Tally) if one.name not in ("spans", "claims", "edges"))


def sum_of(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Two pairs as one."""
    return one[0] + other[0], one[1] + other[1]


@dataclass(slots=True, kw_only=True)
class Score(Tally):
    """How the analysis of one program did."""

    faults: list[Fault] = field(default_factory=list)


def score(program: Program) -> Score:
    """Play, emit, analyse and judge."""
    truth = Truth(program)
    trace = emitted(program, truth.played)
    found = Score(spans=len(trace.spans))
    if not trace.spans or truth.played.makespan <= 0:
        return found
    run = foreign_run(trace)
    judge = _Judge(truth, run, diagnose(run), _statement_of(truth, trace), found)
    judge.edges()
    judge.critical_path()
    judge.gaps()
    judge.limits()
    judge.claims()
    return found


def _statement_of(truth: Truth, trace: Trace) -> dict[str, int]:
    """By span id, the key of its statement."""
    spans = truth.played.spans
    return {span.span_id: spans[int(span.span_id, 16) - 1].statement for span in trace.spans}


class _Judge:
    def __init__(
        self, truth: Truth, run: ForeignRun, diagnosis: Diagnosis, statement_of: dict[str, int], score: Score
    ) -> None:
        self.truth = truth
        self.run = run
        self.diagnosis = diagnosis
        self.score = score
        self.keys = [statement_of[spans[0].span_id] for spans in run.spans]
        self.nested = list(run.timeline.nested_in or [-1] * len(self.keys))
        self.number = {step_id: step for step, step_id in enumerate(run.timeline.step_ids)}

    def fault(self, kind: str, message: str) -> None:
        self.score.faults.append(Fault(kind, message))

    def name(self, step: int) -> str:
        return f"{self.run.timeline.step_ids[step]} [{self.keys[step]}]"

    # ------------------------------------------------------------------ edges

    def edges(self) -> None:
        """Precision by label and source, and how many needs of siblings are covered by a path."""
        counts: dict[str, list[int]] = {}
        handed = " (the whole state is handed to all)" if self.truth.program.contents == "everything" else ""
        for edge in self.run.edges:
            before, after = self.keys[edge.before], self.keys[edge.after]
            if before == after:
                continue
            real = self.truth.needs(before, after) or self.truth.is_inside(after, before)
            named = counts.setdefault(f"{edge.label}, {edge.source}{handed}", [0, 0])
            named[0] += real
            named[1] += 1
            if not real and edge.label != ASSUMED:
                kind = f"false edge ({edge.source})"
                self.fault(kind, f"{self.name(edge.before)} → {self.name(edge.after)} is {edge.label}, and not so")
        self.score.edges = {label: (right, total) for label, (right, total) in counts.items()}
        known = _reachable(len(self.keys), ((e.before, e.after) for e in self.run.edges if e.label != ASSUMED))
        anyhow = _reachable(len(self.keys), ((e.before, e.after) for e in self.run.edges))
        needed = list(self._needed())
        self.score.needs_known = sum(pair in known for pair in needed), len(needed)
        self.score.needs_any = sum(pair in anyhow for pair in needed), len(needed)

    def _needed(self) -> Iterator[tuple[int, int]]:
        """Pairs of siblings, one after the other, of which the later one uses a value of the earlier one."""
        spans = self.truth.played.spans
        ended: dict[int, int] = {}
        for span in spans:
            ended[span.statement] = max(ended.get(span.statement, 0), span.end)
        begun = {span.statement: span.start for span in reversed(spans)}
        for after, parent in enumerate(self.nested):
            for before, other in enumerate(self.nested):
                one, later = self.keys[before], self.keys[after]
                if (
                    parent == other
                    and ended[one] <= begun[later]
                    and not self.truth.is_inside(later, one)
                    and self.truth.uses(one, later)
                ):
                    yield before, after

    # ------------------------------------------------------------------ the critical path, gaps, limits

    def critical_path(self) -> None:
        """Of the steps on the path, how many are critical; and of the critical leaves, how many are on the path."""
        callers = set(self.nested)
        floor = NOTICEABLE_RATIO * self.truth.played.makespan
        named = {
            self.keys[self.number[part.step_id]]
            for part in self.diagnosis.figures.critical_path
            if part.seconds * NANOSECONDS >= floor and self.number[part.step_id] not in callers
        }
        leaves = {
            key
            for step, key in enumerate(self.keys)
            if step not in callers and self.truth.statements[key].kind in ("work", "retry")
        }
        critical = {key for key in leaves if self.truth.statements[key].nanoseconds >= floor and self._is_critical(key)}
        named &= leaves
        self.score.critical_named = len(named & critical), len(named)
        self.score.critical_found = len(named & critical), len(critical)

    def _is_critical(self, key: int) -> bool:
        return self.truth.makespan(Change(faster={key: _FASTER})) < self.truth.played.makespan

    def gaps(self) -> None:
        """Stretches on the way that no child covers: in how many code ran, or a message was on its way, for at least
        half of the time. Where clocks differ or spans were lost that is unknown.
        """
        program = self.truth.program
        if program.lost or any(program.clocks.values()):
            return
        floor = NOTICEABLE_RATIO * self.truth.played.makespan / NANOSECONDS
        noted = [gap for gap in self.diagnosis.gaps if gap.on_the_way and gap.seconds >= floor]
        true = 0
        for gap in noted:
            if self._unseen_seconds(gap.start_seconds, gap.start_seconds + gap.seconds) >= gap.seconds / 2:
                true += 1
            else:
                where = self.name(gap.step) if gap.step >= 0 else "the run"
                self.fault("false gap", f"{gap.seconds:.3f} s inside {where}, where no code ran that has no span")
        self.score.gaps = true, len(noted)

    def _unseen_seconds(self, start_seconds: float, end_seconds: float) -> float:
        first = min(span.start for span in self.truth.played.spans)  # a run begins with its first span
        begin, finish = (round(at * NANOSECONDS) + first for at in (start_seconds, end_seconds))
        unseen, reached = 0, begin
        for start, end in sorted(self.truth.played.unseen):
            unseen += max(0, min(end, finish) - max(start, reached))
            reached = max(reached, end)
        return unseen / NANOSECONDS

    def limits(self) -> None:
        """Pools and queues in which a step waited, and those that the analysis names: a name is right if most of the
        steps are members of such a pool, and as many were let through.
        """
        played = self.truth.played
        held = [
            one
            for one in self.truth.limits_that_held()
            if one.limit > 1 and played.waited[one.key] > NOTICEABLE_RATIO * played.makespan
        ]
        named = [(queue, self._pool_of(queue)) for queue in self.diagnosis.queues]
        for queue, pool in named:
            if pool is None or pool.limit != queue.at_once:
                self.fault(
                    "false limit",
                    f"{queue.at_once} at once of {queue.name!r} is named as a limit, and nothing limits them so",
                )
        true = [pool for queue, pool in named if pool is not None and pool.limit == queue.at_once]
        found = [one for one in held if one in true]
        self.score.limits_found = len(found), len(held)
        self.score.limits_named = len(true), len(named)
        for one in held:
            if one not in found and _can_be_seen(one):
                self.fault("limit missed", f"nothing says that {one.kind} {one.key} lets {one.limit} through")

    def _pool_of(self, queue: Queue) -> Statement | None:
        """The pool or queue in which most of these steps are members."""
        keys = [self.keys[step] for steps in queue.rounds for step in steps]
        for one in self.truth.statements.values():
            if one.kind in ("pool", "queue"):
                members = {child.key for child in one.children}
                if sum(key in members for key in keys) > len(keys) / 2:
                    return one
        return None

    # ------------------------------------------------------------------ what it foretells

    def claims(self) -> None:
        """Each makespan that it foretells, against the changed program's."""
        for claim in (*self._dataflow(), *self._together(), *self._raised(), *self._faster()):
            self.score.claims.append(claim)
            if claim.sure and claim.is_too_high:
                self.fault(
                    f"sure gain too high ({claim.kind})",
                    f"{claim.what}: {100 * claim.gain_ratio:.0f} % to gain is reported as sure, "
                    f"{100 * claim.true_gain_ratio:.0f} % is so",
                )

    def _claim(self, kind: str, what: str, gain_seconds: float, change: Change, *, sure: bool) -> Claim:
        whole = self.truth.played.makespan
        true = whole - self.truth.makespan(change)
        return Claim(kind, what, sure, gain_seconds * NANOSECONDS / whole, true / whole)

    def _dataflow(self) -> Iterator[Claim]:
        predicted = self.diagnosis.predictions.by_workers.get(UNLIMITED)
        if predicted is None:
            return
        observed = self.diagnosis.figures.makespan_seconds
        all_at_once = Change(dataflow=True)
        yield self._claim("dataflow", UNLIMITED, observed - predicted.makespan_seconds, all_at_once, sure=True)
        if predicted.without_assumed_seconds is not None:
            gain = observed - predicted.without_assumed_seconds
            yield self._claim("dataflow", "no assumed edge is real", gain, all_at_once, sure=False)

    def _together(self) -> Iterator[Claim]:
        for one in self._named_together():
            keys = tuple(dict.fromkeys(self.keys[step] for step in one.steps))
            if len(keys) < 2 or any(
                self.truth.is_inside(inner, outer) for inner in keys for outer in keys if inner != outer
            ):
                continue
            what = " beside ".join(self.name(step) for step in one.steps)
            yield self._claim("together", what, one.gain_seconds, Change(together=keys), sure=not one.assumed)

    def _named_together(self) -> Sequence[Together]:
        named = [*self.diagnosis.together, *self.diagnosis.pairs]
        return sorted(named, key=lambda one: (one.assumed, -one.gain_seconds))[:_MOST_TOGETHER]

    def _raised(self) -> Iterator[Claim]:
        """A limit that was named, higher. Where nothing limits these steps, the change is to begin them together."""
        for one in self.diagnosis.raised:
            pool = self._pool_of(one.queue)
            keys = tuple(dict.fromkeys(self.keys[step] for steps in one.queue.rounds for step in steps))
            change = Change(together=keys)
            if pool is not None:
                change = Change(limits={pool.key: one.at_once or len(pool.children)})
            what = f"{one.queue.name}: {one.queue.at_once} → {one.at_once or UNLIMITED}"
            yield self._claim("limit", what, one.gain_seconds, change, sure=True)

    def _faster(self) -> Iterator[Claim]:
        try:
            subject = subject_of_trace(self.run)
        except SimulationError:
            return
        rerun = subject.rerun
        base = rerun.run().makespan_nanoseconds
        callers = set(self.nested)
        leaves = [
            (self.truth.statements[key].nanoseconds, step, key)
            for step, key in enumerate(self.keys)
            if step not in callers and self.truth.statements[key].kind in ("work", "retry")
        ]
        for _, step, key in sorted(leaves, reverse=True)[:_MOST_FASTER]:
            step_id = self.run.timeline.step_ids[step]
            if step_id in subject.steps:
                gain = base - rerun.run(speed_ups={step_id: _FASTER}).makespan_nanoseconds
                sure = subject.sure_gain(SimulatedChange("", {step_id: _FASTER}), gain)
                change = Change(faster={key: _FASTER})
                yield self._claim("faster", self.name(step), sure / NANOSECONDS, change, sure=True)
                yield self._claim("faster", self.name(step), gain / NANOSECONDS, change, sure=False)


def _can_be_seen(limited: Statement) -> bool:
    """Whether a trace shows the limit: enough calls of one name, whose spans, or those in them, begin when they have
    their place.
    """
    names = {child.name for child in limited.children}
    enough = limited.limit + (max(2, limited.limit) if limited.worker_spans else 2)
    shows_place = not limited.waits_inside or all(child.children for child in limited.children)
    return len(names) == 1 and len(limited.children) >= enough and shows_place


def _reachable(count: int, edges: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """All pairs that a chain of edges joins."""
    behind: list[set[int]] = [set() for _ in range(count)]
    for before, after in sorted(edges, key=lambda pair: (pair[1], pair[0])):
        behind[after] |= {before} | behind[before]
    return {(before, after) for after, all_before in enumerate(behind) for before in all_before}
