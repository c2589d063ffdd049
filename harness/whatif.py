"""What would help: a measured run again on the virtual clock, with one step shorter or one limit higher.

Rules of this module:
- The scheduler and engine that run in production run again, with the measured durations, outcomes, tokens and backoffs.
  A gain is the difference between two such runs; nothing is guessed.
- The virtual clock has no overhead, and workers that never slow each other down: :attr:`Prediction.measured_seconds`
  beside ``simulated_seconds`` says how much of the measured run that leaves out.
- Bounded: of a large run only the steps that ran longest, and those that the makespan went through, are tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from executor.backends.virtual import Simulated, VirtualBackend
from executor.dependencies import Graph, plan
from executor.engine import Engine, Failure
from executor.findings import raise_errors
from executor.scheduler import POLICIES, Policy
from executor.timeline import NANOSECONDS, Attempt, Timeline
from executor.workflow import Resource, Retry, Step, Workflow
from harness.analysis import AttemptIndex, critical_path
from harness.analysis.lost_time import running_nanoseconds

STEPS_NAMED: Final = 5
WORKERS: Final = "workers"
# Attempts that may be simulated for one prediction, all its runs together: some seconds.
_BUDGET_ATTEMPTS: Final = 200_000
_MOST_CANDIDATES: Final = 40


@dataclass(frozen=True, slots=True)
class StepGain:
    """Seconds of makespan that go away if all attempts of the step take half as long, or no time at all."""

    step_id: str
    half_seconds: float
    whole_seconds: float


@dataclass(frozen=True, slots=True)
class LimitGain:
    """Seconds of makespan that go away if a limit is doubled. ``limit``: ``workers``, or a resource and which of its
    limits, ``llm.capacity``, ``llm.rate_per_minute``, ``llm.tokens_per_minute``.
    """

    limit: str
    before: float
    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """``steps`` (at most five) and ``limits``: those that gain anything, the largest gain first."""

    measured_seconds: float
    simulated_seconds: float
    steps: tuple[StepGain, ...]
    limits: tuple[LimitGain, ...]

    def document(self) -> dict[str, Any]:
        """As it stands in a result."""
        return {
            "simulated_makespan_seconds": self.simulated_seconds,
            "steps": [
                {"step_id": one.step_id, "half_seconds": one.half_seconds, "whole_seconds": one.whole_seconds}
                for one in self.steps
            ],
            "limits": [
                {"limit": one.limit, "before": one.before, "after": one.after, "seconds": one.seconds}
                for one in self.limits
            ],
        }


def predicted_gains(timeline: Timeline, graph: Graph | None = None) -> Prediction | None:
    """What would shorten this run most. None for a run without length, or that was cut short.

    ``graph``: the graph that was run, which knows the order of starts (priorities, stated durations); without it the
    timeline's dependencies and measured durations decide.
    """
    if timeline.makespan_nanoseconds <= 0 or timeline.workers < 1 or "cancelled" in timeline.statuses:
        return None
    again = Rerun(timeline, graph)
    whole = again.makespan_nanoseconds()
    steps = []
    for step_id in again.candidates():
        half = whole - again.makespan_nanoseconds(faster=(step_id, 2))
        none = whole - again.makespan_nanoseconds(faster=(step_id, None))
        if max(half, none) > 0:
            steps.append(StepGain(step_id, half / NANOSECONDS, none / NANOSECONDS))
    steps.sort(key=lambda one: (-one.half_seconds, -one.whole_seconds))
    limits = [gain for gain in again.limit_gains(whole) if gain.seconds > 0]
    limits.sort(key=lambda one: -one.seconds)
    return Prediction(
        timeline.makespan_seconds, whole / NANOSECONDS, tuple(steps[:STEPS_NAMED]), tuple(limits)
    )  # fmt: skip


class Rerun:
    """A measured run that can be run again, a little different."""

    def __init__(self, timeline: Timeline, graph: Graph | None = None) -> None:
        self.timeline = timeline
        self.index = AttemptIndex(timeline)
        self.last_attempt = {attempt.step_id: attempt.attempt for attempt in self.index.ended}
        self.backoffs = {
            (attempt.step_id, attempt.attempt): attempt.waits[0].end - attempt.waits[0].start
            for attempt in self.index.ended
            if attempt.attempt > 1 and attempt.waits and attempt.waits[0].reason == "backoff"
        }
        self.attempts = {(attempt.step_id, attempt.attempt): attempt for attempt in self.index.ended}
        self.children = self._children()
        self.graph = _graph_of(timeline, self) if graph is None else self._adapted(graph)

    def makespan_nanoseconds(
        self,
        *,
        faster: tuple[str, int | None] | None = None,
        workers: int | None = None,
        resources: Mapping[str, Resource] | None = None,
    ) -> int:
        """Of one run on the virtual clock. ``faster``: a step, and what divides its durations (None: no time)."""
        return self.run(faster=faster, workers=workers, resources=resources).makespan_nanoseconds

    def run(
        self,
        *,
        faster: tuple[str, int | None] | None = None,
        workers: int | None = None,
        resources: Mapping[str, Resource] | None = None,
    ) -> Timeline:
        """The whole timeline of such a run."""
        slots = workers or self.timeline.workers
        backend = VirtualBackend(slots, behaviour=lambda attempt: self._behaviour(attempt, faster))
        policy: Policy = next((one for one in POLICIES if one == self.timeline.policy), "dataflow")
        engine = Engine(
            self.graph, {}, backend, slots=slots, policy=policy,
            resources=dict(self.timeline.resources) if resources is None else resources,
        )  # fmt: skip
        backend.drive(engine)
        return engine.scheduler.timeline(backend=backend.name)

    def candidates(self) -> list[str]:
        """The steps to try: those that ran longest, those of the critical path and those the makespan went through."""
        most = min(_MOST_CANDIDATES, _BUDGET_ATTEMPTS // (2 * max(1, len(self.index.ended))))
        ran: dict[str, int] = {}
        for attempt in self.index.ended:
            ran[attempt.step_id] = ran.get(attempt.step_id, 0) + self.index.run_nanoseconds(attempt)
        on_the_way = {attempt.step_id for attempt in running_nanoseconds(self.timeline, self.index)}
        on_the_way.update(part.step_id for part in critical_path(self.timeline, self.index).parts)
        ordered = sorted(ran, key=lambda step_id: (step_id not in on_the_way, -ran[step_id]))
        return [step_id for step_id in ordered if ran[step_id] > 0][: max(most, 1)]

    def limit_gains(self, whole: int) -> list[LimitGain]:
        """The gain of doubling each limit by itself; ``whole`` is the makespan without."""
        slots = self.timeline.workers
        found = []
        if self.timeline.backend != "serial" and self.timeline.policy != "serial":
            gain = whole - self.makespan_nanoseconds(workers=2 * slots)
            found.append(LimitGain(WORKERS, slots, 2 * slots, gain / NANOSECONDS))
        for name, resource in self.timeline.resources.items():
            for limit in ("capacity", "rate_per_minute", "tokens_per_minute"):
                value = getattr(resource, limit)
                if value is None:
                    continue
                raised = {**self.timeline.resources, name: resource.model_copy(update={limit: 2 * value})}
                gain = whole - self.makespan_nanoseconds(resources=raised)
                found.append(LimitGain(f"{name}.{limit}", value, 2 * value, gain / NANOSECONDS))
        return found

    # ------------------------------------------------------------------ how attempts go

    def _behaviour(self, attempt: Attempt, faster: tuple[str, int | None] | None) -> Simulated:
        key = attempt.step_id, attempt.attempt
        measured = self.attempts.get(key)
        if measured is None:
            return Simulated(0)
        divisor = faster[1] if faster is not None and faster[0] == attempt.step_id else 1
        duration = 0 if divisor is None else self.index.run_nanoseconds(measured) // divisor
        outcome = measured.outcome or "succeeded"
        value = None
        if outcome != "succeeded":
            backoff = self.backoffs.get((attempt.step_id, attempt.attempt + 1), 0)
            value = Failure(
                "Measured", "as measured", retryable=attempt.attempt < self.last_attempt[attempt.step_id],
                retry_after_seconds=backoff / NANOSECONDS,
            )  # fmt: skip
        calls = self._calls(measured, divisor)
        return Simulated(duration, outcome, value, measured.tokens_used, calls)

    def _calls(self, measured: Attempt, divisor: int | None) -> list[tuple[int, Sequence[Step]]]:
        calls: list[tuple[int, Sequence[Step]]] = []
        cursor = own = 0
        for pause in self.index.pauses(measured):
            own += max(0, pause.start - (cursor or (measured.started or measured.granted)))
            cursor = max(cursor, pause.end)
            steps = self.children.get((measured.index, pause.call)) if pause.call >= 0 else None
            if steps:
                calls.append((0 if divisor is None else own // divisor, steps))
        return calls

    def _children(self) -> dict[tuple[int, int], Sequence[Step]]:
        """The steps of each call. Their ids are local; the scheduler names them in the order in which they come."""
        found: dict[tuple[int, int], list[Step]] = {}
        timeline = self.timeline
        for child, call in sorted(self.index.call_of.items()):
            parent = timeline.nested_in[child]
            key = parent, call.call
            before = {*timeline.data_parents[child], *timeline.order_parents[child]}
            siblings = [one for one in sorted(before) if self.index.call_of.get(one) is call]
            needs = timeline.needs[child] if timeline.needs else None
            step = Step(
                step_id=f"call-{child}",
                depends_on=tuple(f"call-{one}" for one in siblings),
                needs=dict(needs) if needs else None,
                retry=self.retry_of(timeline.step_ids[child]),
                expected_tokens=self.tokens_of(child),
            )
            found.setdefault(key, []).append(step)
        return {key: tuple(steps) for key, steps in found.items()}

    # ------------------------------------------------------------------ the graph

    def _adapted(self, graph: Graph) -> Graph:
        """The graph that was run, with what was drawn or decided then made certain."""
        steps = tuple(self._certain(step, place) for place, step in enumerate(graph.steps))
        return replace(graph, steps=steps)

    def _certain(self, step: Step, place: int) -> Step:
        skipped = not self.index.tries[place] and self.timeline.statuses[place] == "skipped"
        changed: dict[str, Any] = {"timeout": None, "when": "false" if skipped else None}
        return step.model_copy(update={**changed, "retry": self.retry_of(step.step_id)})

    def retry_of(self, step_id: str) -> Retry | None:
        """As many attempts as were made; how long to wait before each, their failures say."""
        attempts = self.last_attempt.get(step_id, 1)
        # One more than there were: a worker that dies costs an attempt of its own.
        return Retry(max_attempts=min(1000, attempts), backoff_seconds=0.0, jitter="none") if attempts > 1 else None

    def tokens_of(self, step: int) -> int | None:
        """The tokens that the step reserves."""
        return next(
            (one.tokens_reserved for one in self.index.tries[step] if one.tokens_reserved is not None), None
        )  # fmt: skip


def _graph_of(timeline: Timeline, again: Rerun) -> Graph:
    """A workflow with the timeline's dependencies: order edges become states that their two ends share."""
    top = [step for step, parent in enumerate(again.index.nested_in) if parent < 0]
    writes: dict[int, list[str]] = {}
    reads: dict[int, list[str]] = {}
    for step in top:
        for number, parent in enumerate(timeline.order_parents[step]):
            state = f"order-{step}-{number}"
            writes.setdefault(parent, []).append(state)
            reads.setdefault(step, []).append(state)
    steps = []
    for step in top:
        needs = timeline.needs[step] if timeline.needs else None
        ran = sum(again.index.run_nanoseconds(attempt) for attempt in again.index.tries[step])
        words = Step(
            step_id=timeline.step_ids[step],
            tool="noop",
            depends_on=tuple(timeline.step_ids[parent] for parent in timeline.data_parents[step]),
            reads=tuple(reads.get(step, ())),
            writes=tuple(writes.get(step, ())),
            needs=dict(needs) if needs else None,
            expected_seconds=ran / NANOSECONDS,
            expected_tokens=again.tokens_of(step),
        )
        steps.append(again._certain(words, step))  # noqa: SLF001 - the class and its one helper share this
    planned = plan(Workflow(steps=tuple(steps)), hints=False)
    raise_errors(planned.findings)
    assert planned.graph is not None
    return planned.graph
