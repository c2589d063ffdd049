"""Random calls to the scheduler alone: invariants hold after each, and the short way does what the general one does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.model.workflow import Resource, Retry, Step
from executor.record.timeline import Attempt
from executor.scheduler import POLICIES, Scheduler, ready_queue
from tests.properties.effort import examples
from tests.unit.scheduling import graph_of


@st.composite
def plain_steps(draw: st.DrawFn, largest: int = 12) -> list[Step]:
    """Steps with data dependencies, durations and priorities, and nothing else."""
    count = draw(st.integers(1, largest))
    steps = []
    for place in range(count):
        above = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        steps.append(
            Step(
                step_id=f"s{place}",
                tool="noop",
                depends_on=tuple(f"s{other}" for other in sorted(above)),
                expected_seconds=draw(st.sampled_from([None, 0.0, 1.0, 2.5])),
                priority=draw(st.sampled_from([0, 0, 0, 1, -1])),
            )
        )
    return steps


def facts(attempts: list[Attempt]) -> list[tuple[object, ...]]:
    return [
        (a.step_id, a.attempt, a.ready, a.granted, a.known, a.released_by, a.outcome, tuple(a.waits)) for a in attempts
    ]


@st.composite
def short_steps(draw: st.DrawFn, largest: int = 12) -> list[Step]:
    """Plain steps, some with a limit that is a capacity, and some with a condition, which may fail and stop the run."""
    return [
        step.model_copy(
            update={
                "needs": draw(st.sampled_from([None, None, {"llm": 1}, {"llm": 2}, {"llm": 1, "gpu": 1}])),
                "when": draw(st.sampled_from([None, None, "x"])),
                "on_failure": draw(st.sampled_from(["continue", "continue", "stop"])),
            }
        )
        for step in draw(plain_steps(largest))
    ]


class Short:
    """Two schedulers that are called alike: one goes the short way where it is open, the other never does."""

    def __init__(self, steps: list[Step], slots: int, data: st.DataObject) -> None:
        truths = data.draw(
            st.lists(st.sampled_from([True, True, False, None]), min_size=len(steps), max_size=len(steps))
        )

        def condition(index: int) -> bool:
            truth = truths[index]
            if truth is None:
                raise ValueError("it cannot be evaluated")
            return truth

        resources = {"llm": Resource(capacity=2), "gpu": Resource(capacity=1)}
        self.short, self.general = (Scheduler(slots, resources=resources, condition=condition) for _ in range(2))
        self.live: dict[str, tuple[Attempt, Attempt]] = {}
        for scheduler in (self.short, self.general):
            scheduler.add(graph_of(steps), 0)
        self.starts(self.short.start(0), 0)

    def starts(self, starts: list[Attempt], now: int) -> None:
        others = self.general.start(now)
        self.live |= {a.step_id: (a, b) for a, b in zip(starts, others, strict=True)}
        self.short.validate()
        assert facts(self.short.attempts) == facts(self.general.attempts)
        assert self.short.statuses() == self.general.statuses()
        assert self.short.running == self.general.running
        assert self.short.remaining == self.general.remaining
        assert [limit.in_use for limit in self.short.limits] == [limit.in_use for limit in self.general.limits]
        assert self.short.condition_errors.keys() == self.general.condition_errors.keys()

    def finish(self, ended: list[tuple[Attempt, Attempt]], starts: list[Attempt] | None, now: int) -> None:
        """They have ended well; ``starts``: what the short way said, None where it was closed."""
        for _, other in ended:
            self.general.finish(other, "succeeded", now)
        if starts is None:
            assert not self.short.short
            for one, _ in ended:
                self.short.finish(one, "succeeded", now)
            starts = self.short.start(now)
        self.starts(starts, now)


@given(short_steps(), st.integers(1, 4), st.data())
def test_the_short_way_does_what_finish_and_start_do(steps: list[Step], slots: int, data: st.DataObject) -> None:
    pair = Short(steps, slots, data)
    now = 0
    while pair.live:
        ended = pair.live.pop(data.draw(st.sampled_from(sorted(pair.live))))
        now += data.draw(st.integers(0, 2))
        pair.finish([ended], pair.short.succeed(ended[0], now), now)
    assert pair.short.done


@given(short_steps(), st.integers(1, 4), st.data())
def test_the_short_way_of_several_ends_does_what_each_finish_and_one_start_do(
    steps: list[Step], slots: int, data: st.DataObject
) -> None:
    pair = Short(steps, slots, data)
    now = 0
    while pair.live:
        names = data.draw(st.lists(st.sampled_from(sorted(pair.live)), min_size=1, unique=True))
        now += data.draw(st.integers(-1, 2))
        ended = [pair.live.pop(name) for name in names]
        assert pair.short.succeed_together([ended[0][0], ended[0][0]], now + 1) is None
        pair.finish(ended, pair.short.succeed_together([one for one, _ in ended], now), now)
        assert pair.short.succeed_together([ended[0][0]], now + 1) is None
    assert pair.short.done


@given(short_steps(largest=30), st.integers(1, 2), st.integers(1, 6), st.data())
def test_steps_reserve_on_the_short_way_as_in_general(
    steps: list[Step], slots: int, overtakes: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Else no graph of this size has a step that is overtaken often enough.
        patch.setattr(ready_queue, "OVERTAKES_UNTIL_RESERVED", overtakes)
        pair = Short(steps, slots, data)
        now = 0
        while pair.live:
            ended = pair.live.pop(data.draw(st.sampled_from(sorted(pair.live))))
            now += data.draw(st.integers(1, 2))
            pair.finish([ended], pair.short.succeed(ended[0], now), now)
    assert pair.short.done


@given(plain_steps(), st.data())
def test_a_run_without_anything_special_never_leaves_the_short_way(steps: list[Step], data: st.DataObject) -> None:
    scheduler = Scheduler(2)
    scheduler.add(graph_of(steps), 0)
    live = scheduler.start(0)
    while live:
        starts = scheduler.succeed(live.pop(data.draw(st.integers(0, len(live) - 1))), 1)
        assert starts is not None
        live += starts
    assert scheduler.done


def outcome_of(data: st.DataObject) -> str:
    return data.draw(st.sampled_from(["succeeded", "succeeded", "failed", "timed_out", "worker_died"]))


STATES = ("s", "t")


@st.composite
def rich_steps(draw: st.DrawFn) -> list[Step]:
    """Steps with everything that the scheduler knows; order edges are left to the graph helper."""
    steps = []
    for step in draw(plain_steps(8)):
        uses = draw(st.sampled_from([(), (), ("s",), ("t",), ("s", "t")]))
        writes = draw(st.booleans())
        fields = {
            "needs": draw(st.sampled_from([None, None, {"llm": 1}, {"llm": 2}, {"api": 1}, {"llm": 1, "api": 1}])),
            "retry": draw(st.sampled_from([None, Retry(max_attempts=2, backoff_seconds=1e-9, jitter="none")])),
            "parallel_group": draw(st.sampled_from([None, 1, "1"])),
            "on_failure": draw(st.sampled_from(["continue", "continue", "stop"])),
            "when": draw(st.sampled_from([None, None, "x"])),
            "reads": () if writes else uses,
            "writes": uses if writes else (),
        }
        steps.append(step.model_copy(update=fields))
    return steps


RESOURCES = {"llm": Resource(capacity=2), "api": Resource(rate_per_minute=60e9, burst=1)}


def order_of(steps: list[Step]) -> dict[str, list[tuple[str, str]]]:
    """Order edges in file order (parents come before children, so that is a topological order)."""
    edges: dict[str, list[tuple[str, str]]] = {}
    for place, step in enumerate(steps):
        for state in (*step.writes, *step.reads):
            edges.setdefault(step.step_id, []).extend(
                (other.step_id, state)
                for other in steps[:place]
                if state in other.writes or (state in other.reads and state in step.writes)
            )
    return edges


@settings(max_examples=examples(150))
@given(rich_steps(), st.integers(1, 3), st.sampled_from(POLICIES), st.data())
def test_every_run_ends_and_every_invariant_holds_after_every_call(
    steps: list[Step], slots: int, policy: str, data: st.DataObject
) -> None:
    truth = data.draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))
    scheduler = Scheduler(slots, policy=policy, resources=RESOURCES, condition=lambda index: truth[index])  # type: ignore[arg-type]  # drawn from POLICIES
    scheduler.add(graph_of(steps, order_of(steps)), 0)
    live: list[Attempt] = []
    abandoned: list[Attempt] = []
    now = 0
    for _ in range(400):
        live += scheduler.start(now)
        scheduler.validate()
        if scheduler.done:
            break
        choices = ["end"] * bool(live) + ["return"] * bool(abandoned) + ["wait"] * (scheduler.wake_at() is not None)
        if not choices:
            raise AssertionError("nothing can happen and the run is not over")
        choice = data.draw(st.sampled_from(choices))
        if choice == "wait":
            now = max(now, scheduler.wake_at() or now)
        elif choice == "return":
            scheduler.returned(abandoned.pop(), now)
        else:
            attempt = live.pop(data.draw(st.integers(0, len(live) - 1)))
            outcome = outcome_of(data)
            leaves = outcome == "timed_out" and data.draw(st.booleans())
            scheduler.finish(attempt, outcome, now, abandoned=leaves)  # type: ignore[arg-type]  # drawn from outcomes
            if leaves:
                abandoned.append(attempt)
        now += data.draw(st.integers(0, 2))
        scheduler.validate()
    assert scheduler.done
