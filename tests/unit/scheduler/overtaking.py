"""Steps that overtake others a thousand times, for tests of what happens then."""

from __future__ import annotations

from typing import Any

from executor.model.workflow import Resource, Step
from executor.record.timeline import Attempt
from executor.scheduler.ready_queue import OVERTAKES_UNTIL_RESERVED
from tests.unit.scheduling import Hand, step

NANOSECOND = 1e-9


def chain(count: int = OVERTAKES_UNTIL_RESERVED + 100, *, after: str = "") -> list[Step]:
    """Steps `c0`, `c1`, … that come one after the other and before all else, each at an instant of its own."""
    above = ["c0" if place == 1 else f"c{place - 1}" if place else after for place in range(count)]
    return [step(f"c{place}", *([name] if name else []), priority=9) for place, name in enumerate(above)]


class Overtaken(Hand):
    """A hand on a run with a `chain`, of which one step runs. The chain goes on in whole nanoseconds."""

    place = 0
    now = 0

    def go_on(self, times: int = 1, *, short_way: bool = False) -> list[str]:
        """So often the chain's step ends, and the next one starts. What started last, in order."""
        starts: list[str] = []
        for _ in range(times):
            attempt = self.live[f"c{self.place}"]
            self.place += 1
            self.now += 1
            if short_way:
                started = self.scheduler.succeed(attempt, self.now)
                assert started is not None
            else:
                self.scheduler.finish(attempt, "succeeded", self.now)
                started = self.scheduler.start(self.now)
            self.live.update((attempt.step_id, attempt) for attempt in started)
            starts = [attempt.step_id for attempt in started]
            if f"c{self.place}" not in starts:
                break
        self.scheduler.validate()
        return starts

    def then(self, *ended: str) -> list[str]:
        """A nanosecond later these end well; what starts."""
        self.now += 1
        return self.turn(self.now * NANOSECOND, *ended)

    def waits_for(self, step_id: str) -> list[tuple[str, int, int]]:
        """The waits of a step's present attempt in nanoseconds."""
        return [(wait.reason, wait.start, wait.end) for wait in self.live[step_id].waits]


def resuming(**fields: Any) -> tuple[Hand, Attempt, list[Attempt]]:
    """`big` lacks two units to resume, and of those that run meanwhile, with one each, one always goes on."""
    chains = [step(f"s{n}", *([f"s{n - 2}"] if n > 1 else []), needs={"llm": 1}) for n in range(2400)]
    big = step("big", needs={"llm": 2}, priority=1, **fields)
    hand = Hand([big, *chains], resources={"llm": Resource(capacity=2)})
    (attempt,) = hand.scheduler.start(0)
    hand.scheduler.block(attempt, 1)
    running = hand.scheduler.start(1)
    hand.scheduler.unblock(attempt, 2)
    return hand, attempt, running


def blocked(hand: Hand, name: str, now: float, until: float) -> None:
    """A running step waits for calls that come to nothing."""
    hand.scheduler.block(hand.live[name], round(now * 1e9))
    hand.start(now)
    hand.scheduler.unblock(hand.live[name], round(until * 1e9))
