"""`virtual`, and everything that can go wrong with attempts, with the news of their ends, and with the clock.

Rules of this module:
- Faults are made where they are made in life: outside engine and scheduler, which are those of every run.
- Same run, same faults, same schedule.
- What was asked from outside is noted with the time at which the scheduler heard of it: the oracle needs it.
"""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from executor.backends.virtual import VirtualBackend
from executor.engine.engine import Completion, Engine, Request
from executor.record.timeline import Attempt, AttemptOutcome
from harness.testing.drawing.simulated_run import DIED, FAILED
from harness.testing.fuzz.faults import FaultPlan, Mishap

# Far more turns than any drawn run needs: a loop in which nothing goes on is a finding and no endless wait.
TURNS_PER_STEP = 2000


class StuckError(Exception):
    """The run goes round in circles, or nothing can happen any more; the message has the history."""


class FaultyBackend(VirtualBackend):
    """`virtual`, and everything that can go wrong with attempts, news and the clock."""

    def __init__(self, workers: int, faults: FaultPlan, *, check_every_turn: bool, **options: Any) -> None:
        super().__init__(workers, **options)
        self.faults = faults
        self.stops_at_once = not faults.stubborn
        # Steps that were cancelled, or called by one that returned without waiting for them: (time, their ids).
        self.asked: list[tuple[int, list[str]]] = []
        self.stale_news = 0
        # Starts beside a call that goes on past its end and still holds what they need, as sentences.
        self.overlaps: list[str] = []
        self.turns = 0
        self._check_every_turn = check_every_turn
        self._clock_back = 0
        self._count = 0
        self._jumps = dict(faults.clock)
        self._shuffle = None if faults.disorder is None else random.Random(faults.disorder)  # noqa: S311 - a test case
        # Later news: (time, count, completion). Blows: (time, count, attempt, what happens to it).
        self._news: list[tuple[int, int, Completion]] = []
        # Calls that were asked to stop and go on, and until when.
        self._lingering: dict[Attempt, int] = {}
        self._blows: list[tuple[int, int, Attempt, Mishap]] = []

    def now(self) -> int:
        """The clock that the engine sees."""
        return self._time - self._clock_back

    def cancel(self, attempt: Attempt) -> None:
        running = self._running.get(attempt)
        super().cancel(attempt)
        mishap = self._mishap(attempt)
        late = mishap is not None and mishap.kind == "late"
        if running is None or not (late or self.faults.stubborn):
            return
        after = mishap.after_ns if mishap is not None else 1 << 20
        news: Completion = (
            attempt,
            attempt.granted,
            self._time + after,
            running.worker,
            None,
            "succeeded",
            "late news",
            None,
        )
        self._later(after, news)
        if self.faults.stubborn:
            self._lingering[attempt] = self._time + after

    # ------------------------------------------------------------------ a turn

    def _next_instant(self, engine: Engine) -> int:
        self.turns += 1
        if self.turns > TURNS_PER_STEP * (len(engine.scheduler.steps) + 1):
            raise StuckError(why_stuck(engine, f"{self.turns} turns, and the run is not over"))
        self._clock_back = 0
        try:
            instant = super()._next_instant(engine)
        except RuntimeError as error:
            raise StuckError(why_stuck(engine, str(error))) from error
        jump = self._jumps.get(self.turns, 0)
        self._clock_back = max(0, -jump)
        return instant + max(0, jump)

    def _happening(self) -> tuple[list[Completion], list[Request]]:
        arrived, requests = super()._happening()
        if self.faults.mishaps:
            ended, arrived = arrived, []
            for completion in ended:
                self._deliver(completion, arrived)
        while self._news and self._news[0][0] <= self._time:
            news = heappop(self._news)[2]
            self._lingering.pop(news[0], None)
            arrived.append(news)
        if self._blows:
            self._strike(arrived, requests)
        if self._shuffle is not None:
            self._shuffle.shuffle(arrived)
        seen: set[Attempt] = set()
        for completion in arrived:
            attempt = completion[0]
            if attempt.outcome is not None or attempt in seen:
                self.stale_news += 1
            seen.add(attempt)
        if self._clock_back:
            # A turn of its own, so that it is one in which the clock is read.
            requests.append(_nothing)
        return arrived, requests

    def _start(self, starts: Sequence[Attempt]) -> None:
        super()._start(starts)
        if self._lingering:
            self._look_for_overlaps(starts)
        if self.faults.mishaps:
            self._aim_at(starts)
        if self._check_every_turn and self._engine is not None:
            self._engine.scheduler.validate()

    def _aim_at(self, starts: Sequence[Attempt]) -> None:
        """What is to hit those that start now, or resume later."""
        for attempt in starts:
            mishap = self._mishap(attempt)
            if mishap is not None and mishap.kind in ("dies", "returns"):
                self._aim(attempt, mishap, mishap.after_ns)
        assert self._engine is not None
        scheduler = self._engine.scheduler
        for index in scheduler.resuming:
            resuming = scheduler.live_attempt(index)
            mishap = None if resuming is None else self._mishap(resuming)
            if resuming is not None and mishap is not None and mishap.kind.endswith("_resuming"):
                self._aim(resuming, mishap, 1)

    def _look_for_overlaps(self, starts: Sequence[Attempt]) -> None:
        """A call past its end keeps its states, and its step is not tried again before it returns."""
        assert self._engine is not None
        steps = self._engine.scheduler.steps
        for attempt in starts:
            mine = steps[attempt.index]
            for other, until in self._lingering.items():
                if f"{attempt.step_id}/".startswith(f"{other.step_id}/"):
                    why = "which that step, or one that called this one, is waiting for"
                elif f"{other.step_id}/".startswith(f"{attempt.step_id}/"):
                    why = "which this step made"
                else:
                    theirs = steps[other.index]
                    shared = {*mine.writes} & {*theirs.writes, *theirs.reads} | {*theirs.writes} & {*mine.reads}
                    if not shared:
                        continue
                    why = f"which still uses the state {min(shared)!r}"
                self.overlaps.append(
                    f"step {attempt.step_id!r} attempt {attempt.attempt} was granted at {attempt.granted} ns beside "
                    f"the call of {other.step_id!r} attempt {other.attempt} (past its end until {until} ns), {why}"
                )

    # ------------------------------------------------------------------ faults

    def _mishap(self, attempt: Attempt) -> Mishap | None:
        mishaps = self.faults.mishaps
        return mishaps.get((attempt.step_id, attempt.attempt)) if mishaps else None

    def _deliver(self, completion: Completion, arrived: list[Completion]) -> None:
        mishap = self._mishap(completion[0])
        kind = None if mishap is None else mishap.kind
        if mishap is None or kind not in ("held", "lost", "repeated"):
            arrived.append(completion)
            return
        if kind == "lost":
            attempt, started, ended, worker, cpu_seconds, *_ = completion
            completion = (attempt, started, ended, worker, cpu_seconds, "worker_died", DIED, None)
        if kind == "repeated":
            arrived.append(completion)
            attempt, started, ended, worker, cpu_seconds, outcome, value, tokens = completion
            value = "repeated news" if outcome == "succeeded" and mishap.after_ns else value
            completion = (attempt, started, ended, worker, cpu_seconds, outcome, value, tokens)
        self._later(mishap.after_ns, completion)

    def _aim(self, attempt: Attempt, mishap: Mishap, after: int) -> None:
        self._count += 1
        heappush(self._blows, (self._time + after, self._count, attempt, mishap))
        self._let_happen(self._time + after)

    def _later(self, after: int, completion: Completion) -> None:
        self._count += 1
        heappush(self._news, (self._time + after, self._count, completion))
        self._let_happen(self._time + after)

    def _strike(self, arrived: list[Completion], requests: list[Request]) -> None:
        """What hits attempts at this instant, whatever they do."""
        while self._blows and self._blows[0][0] <= self._time:
            _, _, attempt, mishap = heappop(self._blows)
            running = self._running.get(attempt)
            if running is None or attempt.outcome is not None or self._engine is None:
                continue
            scheduler = self._engine.scheduler
            state = scheduler.status(attempt.index)
            returns = mishap.kind.startswith("returns")
            if state != "resuming" and (mishap.kind.endswith("_resuming") or (returns and state != "blocked")):
                continue
            if mishap.kind == "cancelled_resuming":
                requests.append(self._cancellation(attempt.step_id))
                continue
            del self._running[attempt]
            self._free_names.append(running.worker)
            outcome: AttemptOutcome = "worker_died"
            value: Any = DIED
            if returns:
                calls = [call for call in scheduler.family_calls(attempt.index) if not scheduler.is_final(call)]
                self.asked.append(
                    (max(self.now(), latest_heard(scheduler)), [scheduler.step_ids[call] for call in calls])
                )
                outcome, value = "succeeded", running.plan.value
                if running.plan.outcome != "succeeded":
                    outcome, value = "failed", FAILED
            arrived.append((attempt, attempt.granted, self._time, running.worker, None, outcome, value, None))

    def _cancellation(self, step_id: str) -> Request:
        def cancel(now: int) -> None:
            assert self._engine is not None
            scheduler = self._engine.scheduler
            self.asked.append((max(now, latest_heard(scheduler)), [step_id]))
            scheduler.cancel(now, [step_id])

        return cancel

    def _let_happen(self, time: int) -> None:
        """Let something happen at this time."""
        insort(self._planned, (time, _nothing), key=lambda planned: -planned[0])


def _nothing(now: int) -> None:
    """A request for the sake of its instant."""


def why_stuck(engine: Engine, why: str) -> str:
    """Why a run does not end, and the histories of steps that are not final."""
    scheduler = engine.scheduler
    open_steps = [index for index in range(len(scheduler.steps)) if not scheduler.is_final(index)]
    return "\n".join([why, *(scheduler.history(index) for index in open_steps[:5])])


def latest_heard(scheduler: Any) -> int:
    """The latest time that the scheduler heard."""
    latest: int = scheduler._now  # noqa: SLF001 - no other reader needs to know it
    return latest
