"""A machine of random calls to the scheduler alone, legal and not: invariants hold after each, and an illegal call
raises `SchedulerError` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from executor.dependencies import plan
from executor.model.workflow import Resource, Retry, Step
from executor.record.timeline import Attempt, Timeline
from executor.scheduler import SchedulerError
from harness.testing.drawing.generator import DEVICE_KIND, DrawnRun
from harness.testing.drawing.strategies import workflows
from harness.testing.fuzz.transition_coverage import WatchedScheduler

OUTCOMES = ("succeeded", "failed", "timed_out", "worker_died")
FAR = 10_000
FEATURES = (
    "devices",
    "limits",
    "failures",
    "retries",
    "states",
    "groups",
    "priorities",
    "conditions",
    "stops",
    "policies",
    "deaths",
)


def frozen(value: Any) -> Any:
    """Everything that can be seen of a value, as nested tuples: two calls compare equal if nothing changed between."""
    seen: dict[int, int] = {}

    def freeze(item: Any) -> Any:
        if item is None or isinstance(item, bool | int | float | str | bytes):
            return item
        if isinstance(item, Step | Resource) or callable(item):
            return id(item)  # frozen models and functions
        if isinstance(item, bytearray):
            return bytes(item)
        if id(item) in seen:
            return ("again", seen[id(item)])
        seen[id(item)] = len(seen)
        if isinstance(item, dict):
            return [(freeze(key), freeze(one)) for key, one in item.items()]
        if isinstance(item, set | frozenset):
            return sorted(map(repr, item))
        if isinstance(item, list | tuple) or type(item).__name__ == "deque":
            return [freeze(one) for one in item]
        names = [name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())]
        names += list(getattr(item, "__dict__", ()))
        return [(name, freeze(getattr(item, name, None))) for name in sorted(names)]

    return freeze(value)


class SchedulerMachine(RuleBasedStateMachine):
    """The scheduler, called by an engine that forgets and repeats things."""

    @initialize(run=workflows(max_steps=8, features=FEATURES), slots=st.integers(1, 4), broken=st.booleans())
    def begin(self, run: DrawnRun, slots: int, broken: bool) -> None:
        whens = run.behaviour.whens

        def condition(index: int) -> bool:
            if broken and index == 0:
                raise ValueError("drawn to break")
            return whens.get(self.scheduler.step_ids[index], True)

        self.resources = run.behaviour.resources
        self.scheduler = WatchedScheduler(
            slots, policy=run.behaviour.policy, resources=self.resources, seed=1, condition=condition, max_depth=2
        )
        self.graph = plan(run.workflow, resources=self.resources, hints=False).graph
        assert self.graph is not None
        self.now = 0
        self.old: list[Attempt] = []
        self.scheduler.add(self.graph, 0)

    # ------------------------------------------------------------------ what there is

    def live(self, *states: str) -> list[Attempt]:
        scheduler = self.scheduler
        found = [scheduler.live_attempt(index) for index in range(len(scheduler.steps))]
        return [one for one in found if one is not None and (not states or scheduler.status(one.index) in states)]

    def pick(self, data: st.DataObject, options: list[Any]) -> Any:
        return options[data.draw(st.integers(0, len(options) - 1), label="which")]

    def has_devices_above(self, attempt: Attempt) -> bool:
        above: Attempt | None = attempt
        while above is not None:
            if above.devices:
                return True
            above = self.scheduler.live_attempt(self.scheduler.caller(above.index))
        return False

    def refuses(self, call: Callable[[], object]) -> None:
        before = frozen(self.scheduler)
        try:
            call()
        except SchedulerError:
            pass
        else:
            raise AssertionError("an illegal call was not refused")
        assert frozen(self.scheduler) == before, "an illegal call changed something"

    # ------------------------------------------------------------------ legal calls

    @rule(later=st.integers(-5_000_000, 5_000_000) | st.integers(0, 30_000_000))
    def start(self, later: int) -> None:
        free = self.scheduler.slots - self.scheduler.running
        starts = self.scheduler.start(max(0, self.now + later))
        self.now = max(self.now, self.now + later)
        assert len(starts) <= max(0, free)
        assert all(self.scheduler.live_attempt(one.index) is one for one in starts)
        assert self.scheduler.start(self.now) == [], "a second look at the same instant starts something else"

    @precondition(lambda self: self.live())
    @rule(
        data=st.data(), outcome=st.sampled_from(OUTCOMES), retryable=st.booleans(), used=st.none() | st.integers(0, 60)
    )
    def finish(self, data: st.DataObject, outcome: Any, retryable: bool, used: int | None) -> None:
        attempt = self.pick(data, self.live())
        state = self.scheduler.status(attempt.index)
        abandoned = outcome == "timed_out" and state == "running" and data.draw(st.booleans())
        status = self.scheduler.finish(
            attempt, outcome, self.now, retryable=retryable, tokens_used=used, abandoned=abandoned
        )
        self.old.append(attempt)
        assert status == self.scheduler.status(attempt.index)
        assert status in (("succeeded",) if outcome == "succeeded" else ("failed", "backing_off"))
        assert attempt.outcome == outcome
        assert attempt.known == self.now

    @precondition(lambda self: self.scheduler.plain and self.live())
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        attempt = self.pick(data, self.live())
        starts = self.scheduler.succeed(attempt, self.now)
        if starts is not None:
            assert self.scheduler.status(attempt.index) == "succeeded"
            self.old.append(attempt)

    @precondition(lambda self: self.live("running"))
    @rule(data=st.data(), count=st.integers(1, 3), priority=st.integers(-1, 1), needy=st.booleans())
    def call(self, data: st.DataObject, count: int, priority: int, needy: bool) -> None:
        caller = self.pick(data, self.live("running"))
        if caller.step_id.count("/") >= 2 or len(self.scheduler.steps) > 40:
            return
        step = self.scheduler.steps[caller.index]
        needs = dict(step.needs or {}) if needy else {}
        if self.has_devices_above(caller):
            needs = {name: amount for name, amount in needs.items() if not name.startswith(DEVICE_KIND)}
        calls = [
            Step(
                step_id=str(place),
                tool="noop",
                priority=priority,
                depends_on=(str(place - 1),) if place and priority else (),
                needs=needs or None,
                writes=step.writes,
                reads=step.reads,
                retry=Retry(max_attempts=2, backoff_seconds=0.0) if needy else None,
            )
            for place in range(count)
        ]
        before = len(self.scheduler.family_calls(caller.index))
        ids = self.scheduler.add(calls, self.now, parent=caller.step_id)
        assert ids == [f"{caller.step_id}/{number}" for number in range(before + 1, before + count + 1)]
        if data.draw(st.booleans()):
            self.scheduler.block(caller, self.now)

    @precondition(lambda self: self.live("blocked"))
    @rule(data=st.data())
    def unblock(self, data: st.DataObject) -> None:
        attempt = self.pick(data, self.live("blocked"))
        self.scheduler.unblock(attempt, self.now)
        assert self.scheduler.status(attempt.index) == "resuming"

    @precondition(lambda self: len(self.scheduler.steps) < 30)
    @rule(data=st.data(), writes=st.sampled_from([(), ("x",), ("x", "y")]), reads=st.sampled_from([(), ("y",)]))
    def add_late(self, data: st.DataObject, writes: tuple[str, ...], reads: tuple[str, ...]) -> None:
        top = [step_id for step_id in self.scheduler.step_ids if "/" not in step_id]
        above = (self.pick(data, top),) if data.draw(st.booleans()) else ()
        name = f"late{len(self.scheduler.steps)}"
        step = Step(step_id=name, tool="noop", depends_on=above, writes=writes, reads=reads)
        assert self.scheduler.add([step], self.now) == [name]

    @rule(data=st.data(), whole=st.sampled_from([False, False, False, True]))
    def cancel(self, data: st.DataObject, whole: bool) -> None:
        ids = None if whole else [self.pick(data, self.scheduler.step_ids)]
        self.scheduler.cancel(self.now, ids)
        for index in range(len(self.scheduler.steps)) if ids is None else [self.scheduler.index[ids[0]]]:
            assert self.scheduler.is_final(index)

    @rule()
    def take_cancelled(self) -> None:
        taken = self.scheduler.take_cancelled()
        assert all(one.outcome == "cancelled" for one in taken)
        assert self.scheduler.take_cancelled() == []

    @precondition(lambda self: self.scheduler.abandoned)
    @rule(data=st.data())
    def returned(self, data: st.DataObject) -> None:
        attempt = self.pick(data, self.scheduler.abandoned)
        self.scheduler.returned(attempt, self.now)
        assert not self.scheduler.is_abandoned(attempt)

    @rule(slots=st.integers(1, 5), more=st.integers(0, 2))
    def resize(self, slots: int, more: int) -> None:
        sizes = {name: one.capacity + more for name, one in self.resources.items() if one.capacity is not None}
        self.scheduler.resize(self.now, slots, sizes)

    @precondition(lambda self: self.scheduler.wake_at() is not None)
    @rule()
    def wait(self) -> None:
        self.now = max(self.now, self.scheduler.wake_at())

    # ------------------------------------------------------------------ illegal calls

    @precondition(lambda self: self.old)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def finish_again(self, data: st.DataObject, outcome: Any) -> None:
        attempt = self.pick(data, self.old)
        self.refuses(lambda: self.scheduler.finish(attempt, outcome, self.now + FAR))

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def succeed_again(self, data: st.DataObject) -> None:
        attempt = self.pick(data, self.old)
        before = frozen(self.scheduler)
        assert self.scheduler.succeed(attempt, self.now + FAR) is None
        assert frozen(self.scheduler) == before

    @rule(data=st.data())
    def finish_what_never_started(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.scheduler.steps) - 1))
        foreign = Attempt(index, self.scheduler.step_ids[index], 1, 0, 0)
        self.refuses(lambda: self.scheduler.finish(foreign, "succeeded", self.now))
        self.refuses(lambda: self.scheduler.block(foreign, self.now))
        self.refuses(lambda: self.scheduler.unblock(foreign, self.now))
        self.refuses(lambda: self.scheduler.returned(foreign, self.now))

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def finish_as_cancelled(self, data: st.DataObject) -> None:
        attempt = self.pick(data, self.live())
        self.refuses(lambda: self.scheduler.finish(attempt, "cancelled", self.now + FAR))

    @precondition(lambda self: self.live("blocked", "resuming"))
    @rule(data=st.data())
    def block_what_does_not_run(self, data: st.DataObject) -> None:
        attempt = self.pick(data, self.live("blocked", "resuming"))
        self.refuses(lambda: self.scheduler.block(attempt, self.now + FAR))

    @precondition(lambda self: self.live("running", "resuming"))
    @rule(data=st.data())
    def unblock_what_is_not_blocked(self, data: st.DataObject) -> None:
        attempt = self.pick(data, self.live("running", "resuming"))
        self.refuses(lambda: self.scheduler.unblock(attempt, self.now + FAR))
        self.refuses(lambda: self.scheduler.returned(attempt, self.now + FAR))

    @rule(data=st.data())
    def call_by_one_that_does_not_run(self, data: st.DataObject) -> None:
        idle = [
            step_id
            for index, step_id in enumerate(self.scheduler.step_ids)
            if self.scheduler.status(index) not in ("running", "blocked")
        ]
        name = self.pick(data, idle) if idle else "nobody"
        call = Step(step_id="1", tool="noop")
        self.refuses(lambda: self.scheduler.add([call], self.now + FAR, parent=name))
        self.refuses(lambda: self.scheduler.add([call], self.now + FAR, parent="nobody"))

    @precondition(lambda self: self.live("running", "blocked"))
    @rule(data=st.data(), fields=st.sampled_from([
        {"writes": ("not declared",)}, {"reads": ("not declared",)}, {"depends_on": ("nobody",)},
        {"needs": {"not declared": 1}}, {"needs": {"a": 10_000}},
    ]))  # fmt: skip
    def call_against_the_rules(self, data: st.DataObject, fields: dict[str, Any]) -> None:
        caller = self.pick(data, self.live("running", "blocked"))
        resource = self.resources.get("a")
        if fields.get("needs") == {"a": 10_000} and resource is not None and resource.capacity is None:
            return
        good, bad = Step(step_id="1", tool="noop"), Step(step_id="2", tool="noop", **fields)
        self.refuses(lambda: self.scheduler.add([good, bad], self.now + FAR, parent=caller.step_id))

    @precondition(lambda self: any(map(self.has_devices_above, self.live("running", "blocked"))))
    @rule(data=st.data(), amount=st.sampled_from([1, 0.25]))
    def devices_for_calls_of_one_that_keeps_some(self, data: st.DataObject, amount: float) -> None:
        caller = self.pick(data, [one for one in self.live("running", "blocked") if self.has_devices_above(one)])
        call = Step(step_id="1", tool="noop", needs={DEVICE_KIND: amount})
        self.refuses(lambda: self.scheduler.add([call], self.now + FAR, parent=caller.step_id))

    @rule(data=st.data())
    def add_against_the_rules(self, data: st.DataObject) -> None:
        there = self.pick(data, self.scheduler.step_ids)
        new = Step(step_id="new", tool="noop")
        for bad in (
            Step(step_id=there, tool="noop"),
            Step(step_id="new", tool="noop"),
            Step(step_id="bad", tool="noop", depends_on=("nobody",)),
            Step(step_id="bad", tool="noop", needs={"not declared": 1}),
        ):
            self.refuses(lambda bad=bad: self.scheduler.add([new, bad], self.now + FAR))
        self.refuses(lambda: self.scheduler.add(self.graph, self.now + FAR))

    @rule(data=st.data())
    def cancel_or_resize_the_unknown(self, data: st.DataObject) -> None:
        there = self.pick(data, self.scheduler.step_ids)
        self.refuses(lambda: self.scheduler.cancel(self.now + FAR, [there, "nobody"]))
        self.refuses(lambda: self.scheduler.resize(self.now + FAR, 2, {"not declared": 3}))

    # ------------------------------------------------------------------ always, and at the end

    @invariant()
    def books_agree(self) -> None:
        self.scheduler.validate()

    @invariant()
    def clock_never_goes_back(self) -> None:
        latest = getattr(self, "latest", 0)
        assert self.scheduler._now >= latest
        self.latest = self.scheduler._now

    def teardown(self) -> None:
        """A run that goes on properly comes to the end."""
        if not hasattr(self, "scheduler"):
            return
        scheduler = self.scheduler
        for _ in range(600):
            scheduler.start(self.now)
            scheduler.validate()
            if scheduler.done:
                break
            live = self.live("running")
            if live:
                scheduler.finish(live[0], "succeeded", self.now)
            elif blocked := self.live("blocked"):
                scheduler.unblock(blocked[-1], self.now)
            elif scheduler.abandoned:
                scheduler.take_cancelled()
                scheduler.returned(scheduler.abandoned[0], self.now)
            else:
                wake = scheduler.wake_at()
                assert wake is not None, "nothing can happen, and the run is not over"
                self.now = max(self.now, wake)
        assert scheduler.done, "the run does not end"
        assert scheduler.wake_at() is None or not scheduler.start(scheduler.wake_at())
        scheduler.reached()
        assert scheduler.illegal == []
        timeline: Timeline = scheduler.timeline()
        assert all(status in ("succeeded", "failed", "skipped", "cancelled") for status in timeline.statuses)
        for attempt in timeline.attempts:
            assert attempt.outcome is not None
            assert attempt.ready <= attempt.granted <= (attempt.known or 0)
