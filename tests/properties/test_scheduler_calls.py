"""Random runs with calls, on two schedulers: one goes the short ways where they are open, the other never does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from executor.model.workflow import Step
from executor.record.timeline import Attempt
from executor.scheduler import Scheduler
from tests.properties.effort import examples
from tests.properties.test_scheduler_properties import plain_steps
from tests.unit.scheduling import graph_of

MOST_STEPS = 40


class Pair:
    """Both schedulers, called alike. ``short_ways`` counts what the one did in a short way."""

    def __init__(self, steps: list[Step], slots: int) -> None:
        self.short, self.general = Scheduler(slots, max_depth=3), Scheduler(slots, max_depth=3)
        self.now = 0
        self.short_ways = {"call": 0, "come_back": 0, "succeed": 0}
        # By the step that waits: the calls that are not final.
        self.waits: dict[str, set[str]] = {}
        for one in (self.short, self.general):
            one.add(graph_of(steps), 0)
        self.same_starts(self.short.start(0))

    def of(self, scheduler: Scheduler, step_id: str) -> Attempt:
        attempt = scheduler.live_attempt(scheduler.index[step_id])
        assert attempt is not None
        return attempt

    def running(self) -> list[str]:
        found = [
            self.short.step_ids[index] for index, status in enumerate(self.short.statuses()) if status == "running"
        ]
        return sorted(found)

    def same_starts(self, starts: list[Attempt], others: list[Attempt] | None = None) -> None:
        others = self.general.start(self.now) if others is None else others
        assert facts(starts) == facts(others)

    def call(self, caller: str, step: Step) -> None:
        """One call that is waited for."""
        own = self.short.call(self.of(self.short, caller), step, self.now)
        schedulers = [self.general] if own is not None else [self.general, self.short]
        for scheduler in schedulers:
            (call,) = scheduler.add([step], self.now, parent=caller)
            scheduler.block(self.of(scheduler, caller), self.now)
        self.waits[caller] = {call}
        if own is not None:
            self.short_ways["call"] += 1
            assert own.step_id == call
        self.same_starts(self.short.start(self.now) if own is None else [own])

    def call_several(self, caller: str, steps: list[Step], *, waits: bool) -> None:
        for scheduler in (self.short, self.general):
            calls = scheduler.add(steps, self.now, parent=caller)
            if waits:
                scheduler.block(self.of(scheduler, caller), self.now)
        if waits:
            self.waits[caller] = set(calls)
        self.same_starts(self.short.start(self.now))

    def succeed(self, name: str) -> None:
        """It has ended well, and who waited for it alone comes back."""
        attempt = self.of(self.short, name)
        caller = next((caller for caller, calls in self.waits.items() if name in calls), None)
        last = caller is not None and self.waits[caller] == {name}
        self.general.finish(self.of(self.general, name), "succeeded", self.now)
        if caller is not None:
            self.waits[caller].discard(name)
        if last and caller is not None:
            del self.waits[caller]
            self.general.unblock(self.of(self.general, caller), self.now)
            others = self.general.start(self.now)
            if self.short.come_back(attempt, self.of(self.short, caller), self.now):
                self.short_ways["come_back"] += 1
                assert [one.step_id for one in others] == [caller]
                return
            self.short.finish(attempt, "succeeded", self.now)
            self.short.unblock(self.of(self.short, caller), self.now)
            self.same_starts(self.short.start(self.now), others)
            return
        starts = self.short.succeed(attempt, self.now)
        if starts is None:
            self.short.finish(attempt, "succeeded", self.now)
            starts = self.short.start(self.now)
        else:
            self.short_ways["succeed"] += 1
        self.same_starts(starts)

    def compare(self) -> None:
        for one in (self.short, self.general):
            one.validate()
        assert facts(self.short.attempts) == facts(self.general.attempts)
        assert self.short.step_ids == self.general.step_ids
        assert self.short.statuses() == self.general.statuses()
        assert self.short.running == self.general.running
        assert self.short.remaining == self.general.remaining
        short, general = self.short.timeline(), self.general.timeline()
        assert short.nested_in == general.nested_in
        assert short.data_parents == general.data_parents
        assert short.order_parents == general.order_parents


def facts(attempts: list[Attempt]) -> list[tuple[object, ...]]:
    return [
        (a.step_id, a.attempt, a.ready, a.granted, a.known, a.released_by, a.parent, a.outcome, *a.waits, *a.blocked)
        for a in attempts
    ]


def drawn_step(data: st.DataObject, step_id: str = "call") -> Step:
    return Step(
        step_id=step_id,
        tool="noop",
        expected_seconds=data.draw(st.sampled_from([None, 0.0, 2.5])),
        priority=data.draw(st.sampled_from([0, 0, 1])),
    )


@settings(max_examples=examples(60))
@given(plain_steps(6), st.integers(1, 3), st.data())
def test_the_short_ways_of_calls_do_what_the_general_ones_do(
    steps: list[Step], slots: int, data: st.DataObject
) -> None:
    pair = Pair(steps, slots)
    while not pair.short.done:
        pair.now += data.draw(st.integers(0, 2))
        # At times nothing runs, since there are fewer slots than before.
        running = pair.running()
        deed = data.draw(st.sampled_from(["end", "end", "end", "call", "call", "several", "resize", "late"]))
        if not running or deed == "resize":
            slots = data.draw(st.integers(1, 3))
            for scheduler in (pair.short, pair.general):
                scheduler.resize(pair.now, slots)
            pair.same_starts(pair.short.start(pair.now))
        elif deed == "end" or len(pair.short.steps) > MOST_STEPS:
            pair.succeed(data.draw(st.sampled_from(running)))
        elif deed == "late":
            step = drawn_step(data, f"late{len(pair.short.steps)}")
            for scheduler in (pair.short, pair.general):
                scheduler.add([step], pair.now)
            pair.same_starts(pair.short.start(pair.now))
        else:
            callers = [name for name in running if name.count("/") < 3]
            if not callers:
                continue
            caller = data.draw(st.sampled_from(callers))
            if deed == "call":
                pair.call(caller, drawn_step(data))
            else:
                calls = [drawn_step(data, str(place)) for place in range(data.draw(st.integers(1, 3)))]
                pair.call_several(caller, calls, waits=data.draw(st.booleans()))
        pair.compare()


def test_calls_made_one_after_the_other_go_the_short_way_though_others_wait() -> None:
    pair = Pair([Step(step_id=name, tool="noop") for name in "abc"], slots=1)
    for _ in range(3):
        pair.now += 1
        pair.call("a", Step(step_id="call", tool="noop"))
        pair.now += 1
        pair.succeed(pair.running()[0])
        pair.compare()
    assert pair.short_ways == {"call": 3, "come_back": 3, "succeed": 0}
    assert len(pair.of(pair.short, "a").blocked) == 3


def test_of_calls_made_at_once_each_but_the_last_ends_the_short_way() -> None:
    pair = Pair([Step(step_id="a", tool="noop")], slots=1)
    pair.call_several("a", [Step(step_id=str(place), tool="noop") for place in range(4)], waits=True)
    for _ in range(4):
        pair.now += 1
        pair.succeed(pair.running()[0])
        pair.compare()
    assert pair.short_ways == {"call": 0, "come_back": 1, "succeed": 3}


def test_who_was_overtaken_a_thousand_times_by_calls_reserves_a_slot_as_ever() -> None:
    pair = Pair([Step(step_id=name, tool="noop") for name in "ab"], slots=1)
    while "b" not in pair.running():
        pair.now += 1
        if pair.running() == ["a"]:
            pair.call("a", Step(step_id="call", tool="noop"))
        else:
            pair.succeed(pair.running()[0])
    pair.compare()
    # Each call overtakes it twice: when it starts, and when its step comes back.
    assert pair.of(pair.short, "b").granted == pair.now == 1_001
    assert pair.short_ways["call"] > 490


def test_what_is_no_plain_call_is_left_to_the_general_way() -> None:
    pair = Pair([Step(step_id="a", tool="noop")], slots=1)
    caller = pair.of(pair.short, "a")
    for step in (
        Step(step_id="call", tool="noop", reads=("s",)),
        Step(step_id="call", tool="noop", writes=("s",)),
        Step(step_id="call", tool="noop", depends_on=("a",)),
        Step(step_id="call", tool="noop", needs={"llm": 1}),
        Step(step_id="call", tool="noop", when="true"),
        Step(step_id="call", tool="noop", for_each=[1]),
    ):
        assert pair.short.call(caller, step, 0) is None
    assert pair.short.step_ids == ["a"]
    pair.short.cancel(0)
    assert pair.short.call(caller, Step(step_id="call", tool="noop"), 0) is None
