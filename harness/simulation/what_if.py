"""What would help: a measured run again on the virtual clock, with steps shorter, limits higher, another policy.

Rules of this module:
- The scheduler and engine that run in production run again, with the measured durations, outcomes, tokens and backoffs.
  A gain is the difference between two such runs; nothing is guessed.
- The virtual clock has no overhead, and workers that never slow each other down: :attr:`Prediction.measured_seconds`
  beside ``simulated_seconds`` says how much of the measured run that leaves out.
- Bounded: of a large run only the steps that ran longest, and those that the makespan went through, are tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from executor.backends.virtual import Simulated, VirtualBackend
from executor.dependencies import Graph, plan
from executor.dependencies.graph import ranks_of
from executor.engine.engine import Engine, Failure
from executor.garbage_collection import rare_collections
from executor.model.device_needs import with_count
from executor.model.findings import raise_errors
from executor.model.workflow import Resource, Retry, Step, Workflow, max_parallel_resource
from executor.record.timeline import NANOSECONDS, Attempt, Timeline
from executor.scheduler import POLICIES, Policy
from harness.analysis import Pause, RunAnalysis

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
    limits, ``llm.capacity``, ``llm.rate_per_minute``, ``llm.tokens_per_minute``, or its devices, ``gpu.devices``.
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
        """As it is in a result."""
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
    return gains_of(again, again.run().makespan_nanoseconds)


def gains_of(again: Rerun, whole: int) -> Prediction:
    """What would shorten a run most; ``whole``: its makespan on the virtual clock, in nanoseconds."""
    steps = []
    for step_id in again.candidates():
        half = whole - again.run(speed_ups={step_id: 2}).makespan_nanoseconds
        none = whole - again.run(speed_ups={step_id: math.inf}).makespan_nanoseconds
        if max(half, none) > 0:
            steps.append(StepGain(step_id, half / NANOSECONDS, none / NANOSECONDS))
    steps.sort(key=lambda one: (-one.half_seconds, -one.whole_seconds))
    limits = [gain for gain in again.limit_gains(whole) if gain.seconds > 0]
    limits.sort(key=lambda one: -one.seconds)
    measured = again.timeline.makespan_seconds
    return Prediction(measured, whole / NANOSECONDS, tuple(steps[:STEPS_NAMED]), tuple(limits))


@dataclass(frozen=True, slots=True)
class _Change:
    """How attempts go otherwise than measured; see :meth:`Rerun.run`."""

    speed_ups: Mapping[str, float] = field(default_factory=dict)
    durations: Mapping[str, int] = field(default_factory=dict)
    without_retries: bool = False


class Rerun:
    """A measured run that can be run again, a little different."""

    @rare_collections()
    def __init__(
        self,
        timeline: Timeline,
        graph: Graph | None = None,
        *,
        calls_together: bool = False,
        ranks_follow: bool | None = None,
        stated: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """``graph``: the one that was run. ``calls_together``: an attempt makes all its calls at its first one; which
        of them wait for which is said by their dependencies alone. ``ranks_follow``: whether the order of starts knows
        that a step was made faster (default: where it comes from measured durations). ``stated``: by step, what the
        order of starts knew of it (``priority``, ``expected_seconds``, ``parallel_group``); None: it is unknown,
        and the measured durations decide.
        """
        self.stated = stated
        self._ranks_follow = graph is None if ranks_follow is None else ranks_follow
        self.timeline = timeline
        self.analysis = RunAnalysis(timeline)
        self.index = self.analysis.index
        self._calls_together = calls_together
        self._nested: dict[int, list[int]] = {}  # by step, those that it called
        for step, parent in enumerate(self.index.nested_in):
            if parent >= 0:
                self._nested.setdefault(parent, []).append(step)
        self.last_attempt = {attempt.step_id: attempt.attempt for attempt in self.index.ended}
        self.backoffs = {
            (attempt.step_id, attempt.attempt): attempt.waits[0].end - attempt.waits[0].start
            for attempt in self.index.ended
            if attempt.attempt > 1 and attempt.waits and attempt.waits[0].reason == "backoff"
        }
        self.attempts = {(attempt.step_id, attempt.attempt): attempt for attempt in self.index.ended}
        # How attempts go that no change speaks of: a run is simulated several times.
        self._unchanged: dict[tuple[str, int], Simulated] = {}
        self._foreseen: list[Simulated | None] = []
        self.children = self._children()
        # The scheduler names calls itself; a foreign trace has other names for them.
        self._measured_as = self._names_of_calls(last_only=False)
        self._measured_last = self._names_of_calls(last_only=True)
        self.graph = _graph_of(timeline, self) if graph is None else self._adapted(graph)

    @rare_collections()
    def run(
        self,
        *,
        workers: int | None = None,
        resources: Mapping[str, Resource] | None = None,
        policy: Policy | None = None,
        speed_ups: Mapping[str, float] | None = None,
        without_retries: bool = False,
        durations: Mapping[str, int] | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Timeline:
        """The whole timeline of one run on the virtual clock. Everything that is not given is as measured.

        ``resources`` replace all limits. ``speed_ups``: by step, what divides the durations of its attempts (infinite:
        no time). ``without_retries``: each step's last attempt is its only one. ``durations``: by step, nanoseconds
        that each of its attempts runs. ``ranks``: by the index of the step in :attr:`graph`, instead of its own.
        """
        slots = workers or self.timeline.workers
        measured: Policy = next((one for one in POLICIES if one == self.timeline.policy), "dataflow")
        change = _Change(speed_ups or {}, durations or {}, without_retries)
        backend = VirtualBackend(
            slots, behaviour=lambda attempt: self._behaviour(attempt, change), foreseen=self._foreseen_with(change)
        )
        graph = self._ranked(change.speed_ups) if ranks is None else replace(self.graph, ranks=list(ranks))
        engine = Engine(
            graph, {}, backend, slots=slots, policy=policy or measured,
            resources=dict(self.timeline.resources) if resources is None else resources,
        )  # fmt: skip
        backend.drive(engine)
        return engine.scheduler.timeline(backend=backend.name)

    def _ranked(self, speed_ups: Mapping[str, float]) -> Graph:
        """The graph with ranks by the changed durations."""
        if not speed_ups or not self._ranks_follow:
            return self.graph
        graph = self.graph
        steps = [
            step.model_copy(update={"expected_seconds": (step.expected_seconds or 0.0) / speed_ups[step.step_id]})
            if step.step_id in speed_ups
            else step
            for step in graph.steps
        ]
        ranks = ranks_of(steps, graph.topological, graph.data_parents, graph.order_edges)
        return replace(graph, steps=tuple(steps), ranks=ranks)

    def candidates(self) -> list[str]:
        """The steps to try: those that ran longest, those of the critical path and those the makespan went through."""
        most = min(_MOST_CANDIDATES, _BUDGET_ATTEMPTS // (2 * max(1, len(self.index.ended))))
        ran: dict[str, int] = {}
        for attempt in self.index.ended:
            ran[attempt.step_id] = ran.get(attempt.step_id, 0) + self.index.run_nanoseconds(attempt)
        on_the_way = {attempt.step_id for attempt in self.analysis.lost_time.running_by_attempt}
        on_the_way.update(part.step_id for part in self.analysis.critical_path.parts)
        ordered = sorted(ran, key=lambda step_id: (step_id not in on_the_way, -ran[step_id]))
        return [step_id for step_id in ordered if ran[step_id] > 0][: max(most, 1)]

    def limit_gains(self, whole: int) -> list[LimitGain]:
        """The gain of doubling each limit by itself; ``whole`` is the makespan without."""
        slots = self.timeline.workers
        found = []
        if self.timeline.backend != "serial" and self.timeline.policy != "serial":
            gain = whole - self.run(workers=2 * slots).makespan_nanoseconds
            found.append(LimitGain(WORKERS, slots, 2 * slots, gain / NANOSECONDS))
        for name, resource in self.timeline.resources.items():
            if resource.devices is not None:
                count = len(resource.devices.names)
                raised = {**self.timeline.resources, name: with_count(resource, 2 * count)}
                gain = whole - self.run(resources=raised).makespan_nanoseconds
                found.append(LimitGain(f"{name}.devices", count, 2 * count, gain / NANOSECONDS))
            for limit in ("capacity", "rate_per_minute", "tokens_per_minute"):
                value = getattr(resource, limit)
                if value is None:
                    continue
                raised = {**self.timeline.resources, name: resource.model_copy(update={limit: 2 * value})}
                gain = whole - self.run(resources=raised).makespan_nanoseconds
                found.append(LimitGain(f"{name}.{limit}", value, 2 * value, gain / NANOSECONDS))
        return found

    # ------------------------------------------------------------------ how attempts go

    def _foreseen_with(self, change: _Change) -> list[Simulated | None]:
        """By the index of a step in the graph, how its one attempt goes; None: the change speaks of it, or there may
        be several.
        """
        if not self._foreseen:
            as_measured = _Change()
            self._foreseen = [
                self._simulated(step.step_id, self.attempts.get((step.step_id, 1)), as_measured)
                if step.retry is None and step.for_each is None
                else None
                for step in self.graph.steps
            ]
        foreseen = self._foreseen.copy()
        for step_id in {*change.speed_ups, *change.durations} & self.graph.index.keys():
            foreseen[self.graph.index[step_id]] = None
        return foreseen

    def _behaviour(self, attempt: Attempt, change: _Change) -> Simulated:
        names = self._measured_last if change.without_retries else self._measured_as
        step_id = names.get(attempt.step_id, attempt.step_id)
        last = self.last_attempt.get(step_id, 0)
        key = step_id, last if change.without_retries else attempt.attempt
        changed = step_id in change.durations or step_id in change.speed_ups
        if not changed and key in self._unchanged:
            return self._unchanged[key]
        simulated = self._simulated(step_id, self.attempts.get(key), change)
        if not changed:
            self._unchanged[key] = simulated
        return simulated

    def _simulated(self, step_id: str, measured: Attempt | None, change: _Change) -> Simulated:
        if measured is None:
            return Simulated(0)
        ran = self.index.run_nanoseconds(measured)
        duration = change.durations.get(step_id, ran)
        divisor = change.speed_ups.get(step_id, 1)
        if divisor != 1:
            duration = round(duration / divisor)
        # Nothing asks for a cancellation here: the attempt ends when it ended, as one that failed.
        outcome = "failed" if measured.outcome == "cancelled" else measured.outcome or "succeeded"
        value = None
        if outcome != "succeeded":
            last = self.last_attempt.get(step_id, 0)
            backoff = self.backoffs.get((step_id, measured.attempt + 1), 0)
            value = Failure(
                "Measured", "as measured", retryable=measured.attempt < last,
                retry_after_seconds=backoff / NANOSECONDS,
            )  # fmt: skip
        calls = self._calls(measured, duration, ran) if self.children else ()
        return Simulated(duration, outcome, value, measured.tokens_used, calls)

    def _calls(self, measured: Attempt, duration: int, ran: int) -> list[tuple[int, Sequence[Step]]]:
        """The calls of an attempt, each after the same share of its running time as measured."""
        calls: list[tuple[int, Sequence[Step]]] = []
        cursor = own = 0
        for pause in self.index.pauses(measured):
            own += max(0, pause.start - (cursor or (measured.started or measured.granted)))
            cursor = max(cursor, pause.end)
            steps = self.children.get((measured.index, pause.call)) if pause.call >= 0 else None
            if steps:
                calls.append((own if duration == ran else own * duration // ran if ran else 0, steps))
        return calls

    def _children(self) -> dict[tuple[int, int], Sequence[Step]]:
        """The steps of each call. Their ids are local; the scheduler names them in the order in which they come."""
        found: dict[tuple[int, int], list[Step]] = {}
        timeline = self.timeline
        for child, call in sorted(self.index.call_of.items()):
            parent = timeline.nested_in[child]
            key = parent, self._made_at(call)
            before = {*timeline.data_parents[child], *timeline.order_parents[child]}
            siblings = [one for one in sorted(before) if self._is_made_with(one, call)]
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

    def _made_at(self, call: Pause) -> int:
        """The number of the call in which the simulated attempt makes it."""
        if not self._calls_together:
            return call.call
        return next(pause.call for pause in self.index.pauses(call.attempt) if pause.call >= 0)

    def _is_made_with(self, step: int, call: Pause) -> bool:
        other = self.index.call_of.get(step)
        if other is None or not self._calls_together:
            return other is call
        return other.attempt is call.attempt

    def _names_of_calls(self, *, last_only: bool) -> dict[str, str]:
        """The measured step by the name that the scheduler will give to it: ``<parent>/<n>`` in the order of calls.
        ``last_only``: those that the last attempt of each step makes.
        """
        ids = self.timeline.step_ids
        taken = set(ids) - {ids[child] for child in self.index.call_of}
        names: dict[int, str] = {}
        counts: dict[int, int] = {}
        # Callers come before their calls: a call is made by a step that has a name already.
        for (parent, call), steps in sorted(self.children.items(), key=lambda item: self._depth_and_call(*item[0])):
            made_by = self.index.calls[parent][call].attempt
            if last_only and made_by.attempt < self.last_attempt[ids[parent]]:
                continue
            name = names.get(parent, ids[parent])
            for step in steps:
                counts[parent] = counts.get(parent, 0) + 1
                while f"{name}/{counts[parent]}" in taken:
                    counts[parent] += 1
                names[int(step.step_id.removeprefix("call-"))] = f"{name}/{counts[parent]}"
        return {name: ids[step] for step, name in names.items()}

    def _depth_and_call(self, parent: int, call: int) -> tuple[int, int, int]:
        depth, caller = 0, self.index.nested_in[parent]
        while caller >= 0:
            depth, caller = depth + 1, self.index.nested_in[caller]
        return depth, parent, call

    # ------------------------------------------------------------------ the graph

    def _adapted(self, graph: Graph) -> Graph:
        """The graph that was run, with what was drawn or decided then made certain."""
        return replace(graph, steps=tuple(map(self._as_it_went, range(len(graph.steps)), graph.steps)))

    def _as_it_went(self, place: int, step: Step) -> Step:
        certain = self.made_certain(place, step.step_id, mapped=step.for_each is not None)
        if all(getattr(step, name) == value for name, value in certain.items()):
            return step
        return step.model_copy(update=certain)

    def items_of(self, step: int) -> Sequence[int] | None:
        """The items of a step that the record shows to have been a mapped one (it took no worker, and was blocked on
        its items all the time); None for any other.
        """
        tries = self.index.tries[step]
        if self._calls_together or len(tries) != 1 or tries[0].worker is not None or tries[0].started is None:
            return None
        attempt = tries[0]
        waited = [(one.start, one.end) for one in attempt.blocked]
        if attempt.ended not in (attempt.started, attempt.granted) and waited != [(attempt.started, attempt.ended)]:
            return None
        ids, items = self.timeline.step_ids, self._nested.get(step, [])
        return items if all(ids[one].startswith(f"{ids[step]}/") for one in items) else None

    def made_certain(self, place: int, step_id: str, *, mapped: bool) -> dict[str, Any]:
        """The fields of a step that say what was drawn or decided in the measured run."""
        tries = self.index.tries[place]
        skipped = not tries and self.timeline.statuses[place] == "skipped"
        changed: dict[str, Any] = {"timeout": None, "when": "false" if skipped else None}
        attempts = tries[0].attempt if len(tries) == 1 else self.last_attempt.get(step_id, 1)
        if mapped:
            items = [self.timeline.step_ids[one] for one in self._nested.get(place, ())]
            changed["for_each"] = [None] * len(items)
            attempts = max((self.last_attempt.get(item, 1) for item in items), default=1)
        changed["retry"] = _as_often(attempts)
        return changed

    def lasting_nanoseconds(self) -> list[int]:
        """How long each step of :attr:`graph` ran; of a mapped step its longest item."""
        places = {step_id: place for place, step_id in enumerate(self.timeline.step_ids)}
        found = []
        for step in self.graph.steps:
            place = places[step.step_id]
            found.append(max(map(self.ran_nanoseconds, [place, *(self.items_of(place) or ())])))
        return found

    def ran_nanoseconds(self, step: int) -> int:
        """How long all attempts of a step ran."""
        return sum(self.index.run_nanoseconds(attempt) for attempt in self.index.tries[step])

    def retry_of(self, step_id: str) -> Retry | None:
        """As many attempts as were made; how long to wait before each, their failures say."""
        return _as_often(self.last_attempt.get(step_id, 1))

    def tokens_of(self, step: int) -> int | None:
        """The tokens that the step reserves."""
        for attempt in self.index.tries[step]:
            if attempt.tokens_reserved is not None:
                return attempt.tokens_reserved
        return None


def _as_often(attempts: int) -> Retry | None:
    # One more than there were: a worker that dies costs an attempt of its own.
    return Retry(max_attempts=min(1000, attempts), backoff_seconds=0.0, jitter="none") if attempts > 1 else None


def _known_before(
    stated: Mapping[str, Mapping[str, Any]] | None, step_id: str, ran_nanoseconds: int
) -> Mapping[str, Any]:
    """What the order of starts knows of a step."""
    return {"expected_seconds": ran_nanoseconds / NANOSECONDS} if stated is None else stated.get(step_id, {})


def _graph_of(timeline: Timeline, again: Rerun) -> Graph:
    """A workflow with the timeline's dependencies: order edges become states that their two ends share."""
    top = [step for step, parent in enumerate(again.index.nested_in) if parent < 0]
    items_of = {step: items for step in top if (items := again.items_of(step)) is not None}
    writes: dict[int, list[str]] = {}
    reads: dict[int, list[str]] = {}
    for step in top:
        for number, parent in enumerate(timeline.order_parents[step]):
            state = f"order-{step}-{number}"
            # Items of a mapped step that writes a state exclude each other; those of one that reads it do not.
            first, second = (reads, writes) if parent in items_of else (writes, reads)
            first.setdefault(parent, []).append(state)
            second.setdefault(step, []).append(state)
        if any(timeline.order_parents[item] for item in items_of.get(step, ())):
            writes.setdefault(step, []).append(f"items-{step}")
    steps = [_step_of(timeline, again, step, items_of.get(step), reads.get(step), writes.get(step)) for step in top]
    planned = plan(Workflow(steps=tuple(steps)), hints=False)
    raise_errors(planned.findings)
    assert planned.graph is not None
    return planned.graph


def _step_of(
    timeline: Timeline,
    again: Rerun,
    step: int,
    items: Sequence[int] | None,
    reads: Sequence[str] | None,
    writes: Sequence[str] | None,
) -> Step:
    """The words of a recorded step. ``items``: those of a mapped one."""
    ids, tries, ran = timeline.step_ids, again.index.tries[step], again.ran_nanoseconds(step)
    needs = timeline.needs[step] if timeline.needs else None
    if items:  # what is said of the step is each item's
        ran = max(again.ran_nanoseconds(item) for item in items)
        needs = dict(timeline.needs[items[0]] or {}) if timeline.needs else {}
        needs.pop(max_parallel_resource(ids[step]), None)
    known = _known_before(again.stated, ids[step], ran)
    words: dict[str, Any] = {"step_id": ids[step], "tool": "noop", **known}
    if timeline.data_parents[step]:
        words["depends_on"] = tuple([ids[parent] for parent in timeline.data_parents[step]])
    is_plain = items is None and not (needs or reads or writes) and len(tries) == 1
    if is_plain and tries[0].attempt == 1 and tries[0].tokens_reserved is None and _is_duration_alone(known):
        return Step.of_checked(words)
    words |= again.made_certain(step, ids[step], mapped=items is not None)
    if items is not None:
        limit = timeline.resources.get(max_parallel_resource(ids[step]))
        words["max_parallel"] = None if limit is None else limit.capacity
    words |= {
        "reads": reads and tuple(reads),
        "writes": writes and tuple(writes),
        "needs": dict(needs) if needs else None,
        "expected_tokens": again.tokens_of(step),
    }
    return Step(**{name: value for name, value in words.items() if value is not None})


def _is_duration_alone(known: Mapping[str, Any]) -> bool:
    seconds = known.get("expected_seconds", 0.0)
    return known.keys() <= {"expected_seconds"} and type(seconds) is float and 0 <= seconds < math.inf
