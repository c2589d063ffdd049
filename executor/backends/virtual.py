"""`virtual`: a clock that jumps to the next event. Scheduler and engine are those of every run; no tool runs.

A step's duration is ``expected_seconds × scale``, else what its tool's ``simulate`` says, else 1 s (which is said).
Its output is the expected one (:attr:`VirtualBackend.expected_outputs`), else what ``simulate`` knows, else a labelled
placeholder that is unknown to templates: it is handed on, and fails nothing. What depends on an unknown value and has
to be decided (a condition, a list) is assumed, and said. A ``behaviour`` replaces all of that:
the testing kit decides with it how long each attempt takes, whom it calls and how it ends.

Rules of this module:
- All that happens at one instant reaches the engine in one call, ends before calls, before anything starts.
- Same workflow, same behaviour, same schedule: ties go in the order in which the events were made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from heapq import heappop, heappush
from itertools import compress
from typing import Any, NamedTuple, TypeAlias

from executor.backends.base import Backend
from executor.engine.deadlines import NEVER
from executor.engine.engine import Completion, Engine, Failure, Request
from executor.engine.mapped_items import DEFAULT_ITEMS
from executor.engine.simulated_outputs import MadeUp
from executor.garbage_collection import rare_collections
from executor.model.workflow import Step
from executor.record.timeline import NANOSECONDS, Attempt, AttemptOutcome
from executor.tools.tool import Simulation

DEFAULT_SECONDS = 1.0
_DEFAULT_NANOSECONDS = round(DEFAULT_SECONDS * NANOSECONDS)
_ABSENT = object()


class Simulated(NamedTuple):
    """How an attempt goes: it runs for ``duration`` nanoseconds in all, not counting the time in which it is blocked.

    ``calls``: after so many nanoseconds of its own running time (never falling) it calls these steps and is blocked
    until they are final. ``value`` is the output, or a :class:`Failure` for every outcome but ``succeeded``.
    """

    duration: int
    outcome: AttemptOutcome = "succeeded"
    value: Any = None
    tokens_used: int | None = None
    calls: Sequence[tuple[int, Sequence[Step]]] = ()


Behaviour: TypeAlias = Callable[[Attempt], Simulated]
# What only a run knows. One for all steps: a million of their own would take 120 MB.
_UNKNOWN = MadeUp("[virtual] output")
_ASSUMED = Simulated(_DEFAULT_NANOSECONDS, "succeeded", _UNKNOWN)


class _Running:
    """A simulated call: its plan, how far it is, and its worker's name."""

    __slots__ = ("calls_made", "done", "plan", "worker")

    def __init__(self, plan: Simulated, worker: str) -> None:
        self.plan = plan
        self.worker = worker
        self.calls_made = 0
        self.done = 0

    def next_event(self) -> tuple[int, bool]:
        """Nanoseconds of running until the next event, and whether that is a call."""
        calls = self.plan.calls
        if self.calls_made < len(calls):
            return calls[self.calls_made][0] - self.done, True
        return self.plan.duration - self.done, False


class VirtualBackend(Backend):
    """Runs a workflow in no time, as it would go with the stated durations."""

    name = "virtual"
    summary = "a simulation: a clock that jumps, stated durations, no tool runs"
    simulates = True
    stops_at_once = True

    def __init__(
        self,
        workers: int | None = None,
        *,
        behaviour: Behaviour | None = None,
        foreseen: Sequence[Simulated | None] = (),
        planned: Sequence[tuple[int, Request]] = (),
    ) -> None:
        """``foreseen``: by the index of a step in the graph, what ``behaviour`` would say of it; None: it is asked."""
        super().__init__(workers)
        self._time = 0
        self.clock = self.now
        # Instants at which something happens, and to whom: an end or a call, in the order in which they were made.
        self._instants: list[int] = []
        self._happens: dict[int, list[Attempt]] = {}
        self._behaviour = behaviour
        # By index, how steps go for which nothing has to be asked during the run; see `_foresee`.
        self._foreseen = foreseen
        self._running: dict[Attempt, _Running] = {}
        self._free_names: list[str] = []
        self._names = 0
        # By index: 1 for steps whose duration neither they nor their tool say.
        self._assumed = bytearray()
        self._assumed_items: dict[str, int] = {}
        self._engine: Engine | None = None
        # By step id, the output of a step, or of each item of a mapped one: what no tool's ``simulate`` knows.
        self.expected_outputs: Mapping[str, Any] = {}
        # Requests of the testing kit at given instants, earliest last: cancellations, resizings.
        self._planned = sorted(planned, key=lambda request: -request[0])

    def now(self) -> int:
        """The virtual clock in nanoseconds."""
        return self._time

    @property
    def assumed(self) -> Collection[str]:
        """The steps of the run whose duration neither they nor their tool say."""
        engine = self._engine
        return () if engine is None else frozenset(compress(engine.scheduler.step_ids, self._assumed))

    def drive(self, engine: Engine) -> None:
        self._engine = engine
        self._assumed = bytearray(len(engine.graph.steps))
        if self._behaviour is None:
            self._foreseen = self._foresee(engine)
        # All that piles up is the record, and no step's own code runs.
        with rare_collections():
            self._start(engine.begin())
            while not engine.done:
                starts = self._end_one(engine)
                if starts is None:
                    self._time = self._next_instant(engine)
                    ends, requests = self._happening()
                    starts = self._advance(engine, ends, requests)
                self._start(starts)
        if engine.crash is not None:
            raise engine.crash
        assumed = self._assumed.count(1)
        if assumed:
            steps = "1 step states" if assumed == 1 else f"{assumed} steps state"
            self.warnings.append(
                f"{steps} no duration (expected_seconds), nor does the tool: {DEFAULT_SECONDS:g} s was assumed"
            )

        for step_id, count in self._assumed_items.items():
            items = "1 item" if count == 1 else f"{count} items"
            self.warnings.append(
                f"the list of step {step_id!r} is only known in a run: {items} assumed (expected_items)"
            )

    def _end_one(self, engine: Engine) -> Sequence[Attempt] | None:
        """In the fewest steps what most instants of a large simulation are: one attempt ends well, and nothing else can
        be due. None: it is another case, nothing was done.
        """
        ahead = self._instants
        if not (ahead and self._foreseen and engine.scheduler.short) or self._planned:
            return None
        if engine.deadlines.next_timeout != NEVER:
            return None
        now = ahead[0]
        attempts = self._happens[now]
        if len(attempts) > 1 or (running := self._running.get(attempts[0])) is None:
            return None
        _, outcome, value, tokens_used, calls = running.plan
        if calls or outcome != "succeeded" or tokens_used is not None:
            return None
        attempt = attempts[0]
        del self._happens[heappop(ahead)], self._running[attempt]
        self._time = now
        self._free_names.append(running.worker)
        return engine.succeed(attempt, attempt.granted, now, running.worker, None, value)

    @staticmethod
    def _advance(engine: Engine, ends: list[Completion], requests: list[Request]) -> list[Attempt]:
        starts: list[Attempt] | None = None
        if len(ends) == 1 and not requests and ends[0][5] == "succeeded" and ends[0][7] is None:
            attempt, started, ended, worker, _, _, output, _ = ends[0]
            return engine.succeed(attempt, started, ended, worker, None, output)
        if len(ends) > 1 and not requests:
            starts = engine.succeed_together(ends)
        return engine.advance(ends, requests) if starts is None else starts

    def assume_items(self, step: Step) -> int:
        """As many as the step expects, else one."""
        count = DEFAULT_ITEMS if step.expected_items is None else step.expected_items
        self._assumed_items[step.step_id] = count
        return count

    def cancel(self, attempt: Attempt) -> None:
        """A simulated call stops at once."""
        running = self._running.pop(attempt, None)
        if running is not None:
            self._free_names.append(running.worker)

    def _next_instant(self, engine: Engine) -> int:
        ahead, happens, running = self._instants, self._happens, self._running.keys()
        while ahead and running.isdisjoint(happens[ahead[0]]):
            del happens[heappop(ahead)]
        instants = ahead[:1]
        if self._planned:
            instants.append(self._planned[-1][0])
        wake_at = engine.wake_at()
        if wake_at is not None:
            instants.append(wake_at)
        if not instants:
            raise RuntimeError(f"nothing can happen any more at {self._time} ns: a fault of the engine")
        return max(self._time, min(instants))

    def _happening(self) -> tuple[list[Completion], list[Request]]:
        """What ends and what is called at this instant."""
        now = self._time
        ahead, names, all_running = self._instants, self._free_names, self._running
        ends: list[Completion] = []
        requests: list[Request] = []
        while ahead and ahead[0] <= now:
            for attempt in self._happens.pop(heappop(ahead)):
                running = all_running.get(attempt)
                if running is None:
                    continue
                _, outcome, value, tokens_used, calls = running.plan
                if calls and running.next_event()[1]:
                    requests.append(self._call(attempt, running))
                    continue
                del all_running[attempt]
                names.append(running.worker)
                ends.append((attempt, attempt.granted, now, running.worker, None, outcome, value, tokens_used))
        while self._planned and self._planned[-1][0] <= now:
            requests.append(self._planned.pop()[1])
        return ends, requests

    def _call(self, attempt: Attempt, running: _Running) -> Request:
        assert self._engine is not None
        offset, steps = running.plan.calls[running.calls_made]
        running.calls_made += 1
        running.done = offset

        def resume(goes_on: bool) -> None:
            if goes_on and attempt in self._running:
                self._push(attempt, running)

        def answer(ids: object, blocked: bool) -> None:
            if isinstance(ids, Exception):
                running.plan = Simulated(running.done, "failed", Failure.of(ids))
            if not blocked:
                self._push(attempt, running)

        return self._engine.child_step_request(attempt, steps, resume, answer)

    def _start(self, starts: Sequence[Attempt]) -> None:
        engine = self._engine
        assert engine is not None
        steps, names, now = engine.scheduler.steps, self._free_names, self._time
        running, happens, behaviour = self._running, self._happens, self._behaviour or self._as_stated
        foreseen, assumed = self._foreseen, self._assumed
        for attempt in starts:
            worker = names.pop() if names else self._new_name()
            index = attempt.index
            plan = foreseen[index] if index < len(foreseen) else None
            if plan is None:
                if steps[index].timeout is not None:
                    engine.started(attempt, now, worker)
                plan = behaviour(attempt)
            elif plan is _ASSUMED:
                assumed[index] = 1
            simulated = running[attempt] = _Running(plan, worker)
            if plan.calls:
                self._push(attempt, simulated)
                continue
            instant = now + plan.duration
            if instant in happens:
                happens[instant].append(attempt)
            else:
                happens[instant] = [attempt]
                heappush(self._instants, instant)

    def _push(self, attempt: Attempt, running: _Running) -> None:
        instant = self._time + running.next_event()[0]
        if instant not in self._happens:
            self._happens[instant] = []
            heappush(self._instants, instant)
        self._happens[instant].append(attempt)

    def _new_name(self) -> str:
        self._names += 1
        return f"virtual-{self._names}"

    def _foresee(self, engine: Engine) -> list[Simulated | None]:
        """How each step of the graph goes; None: that has to be asked when it starts. Most steps of a large simulation
        are known beforehand: nothing of them is rendered, their tools have no words for it, and no output is expected.
        """
        is_unsimulated, scale, expected = engine.renderer.is_unsimulated, engine.context.scale, self.expected_outputs
        by_duration: dict[float | None, Simulated] = {None: _ASSUMED}
        foreseen: list[Simulated | None] = []
        for step in engine.graph.steps:
            if not is_unsimulated(step) or step.timeout is not None or step.step_id in expected:
                foreseen.append(None)
                continue
            seconds = step.expected_seconds
            plan = by_duration.get(seconds)
            if plan is None:
                plan = Simulated(round((seconds or 0.0) * scale * NANOSECONDS), "succeeded", _UNKNOWN)
                by_duration[seconds] = plan
            foreseen.append(plan)
        return foreseen

    def _as_stated(self, attempt: Attempt) -> Simulated:
        engine = self._engine
        assert engine is not None
        step = engine.scheduler.steps[attempt.index]
        try:
            tool, context, prompt, args, known = engine.prepare_simulated(attempt)
            try:
                simulation = tool.simulate(context, prompt, args)
            except Exception:
                if known:
                    raise
                # It would have to look at what only a run knows.
                simulation = None
        except Exception as error:  # noqa: BLE001  # a template or a tool that fails is a failed attempt
            return Simulated(0, "failed", Failure.of(error))
        return self._simulated(attempt, step, simulation, known=known)

    def _simulated(self, attempt: Attempt, step: Step, simulation: Simulation | None, *, known: bool) -> Simulated:
        duration = self._duration(attempt, step, simulation)
        if simulation is not None and simulation.error is not None:
            return Simulated(duration, "failed", Failure.of(simulation.error))
        return Simulated(duration, "succeeded", self._output(attempt, simulation, known=known))

    def _duration(self, attempt: Attempt, step: Step, simulation: Simulation | None) -> int:
        seconds = step.expected_seconds
        if seconds is not None:
            assert self._engine is not None
            return round(seconds * self._engine.context.scale * NANOSECONDS)
        if simulation is not None:
            return round(simulation.duration_seconds * NANOSECONDS)
        assumed, index = self._assumed, attempt.index
        if index >= len(assumed):
            assumed.extend(bytes(index + 1 - len(assumed)))
        assumed[index] = 1
        return _DEFAULT_NANOSECONDS

    def _output(self, attempt: Attempt, simulation: Simulation | None, *, known: bool) -> Any:
        expected = self._expected(attempt)
        if expected is not _ABSENT:
            return expected
        if simulation is not None and known and not simulation.made_up:
            return simulation.output
        shown = None if simulation is None else simulation.output
        return MadeUp(shown) if isinstance(shown, str) else _UNKNOWN

    def _expected(self, attempt: Attempt) -> Any:
        expected = self.expected_outputs
        if attempt.step_id in expected:
            return expected[attempt.step_id]
        if attempt.parent is not None and attempt.parent in expected and self._is_item(attempt):
            return expected[attempt.parent]
        return _ABSENT

    def _is_item(self, attempt: Attempt) -> bool:
        assert self._engine is not None
        scheduler = self._engine.scheduler
        return attempt.parent is not None and scheduler.is_mapped(scheduler.index[attempt.parent])
