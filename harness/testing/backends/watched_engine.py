"""The engine as a watched backend sees it: every call passes through, and is looked at on its way.

Rules of this module:
- It changes nothing: the engine gets what the backend said, unless nobody could go on from it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from executor.engine.engine import Engine
from executor.record.outcomes import Completion, Failure
from executor.record.timeline import NANOSECONDS, Attempt
from harness.testing.backends.protocol_rules import Log, ProtocolError, said_of

OUTCOMES = ("succeeded", "failed", "timed_out", "worker_died", "cancelled")
TOLERANCE_NANOSECONDS = 5_000_000


class WatchedEngine:
    """What the backend gets in place of the engine. What is not looked at passes through."""

    def __init__(self, engine: Engine, log: Log, notify: Callable[[], None]) -> None:
        self._engine = engine
        self._log = log
        self._notify = notify
        self._lock = threading.Lock()
        self._begun = False
        self._given: dict[Attempt, None] = {}
        self._completed: set[Attempt] = set()
        self._prepared: set[Attempt] = set()
        self._granted = Counter[int]()
        self._called = Counter[int]()
        self._woke: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    # ------------------------------------------------------------------ the engine's own methods, looked at

    def begin(self) -> list[Attempt]:
        """See :meth:`Engine.begin`."""
        if self._begun:
            raise self.fatal("begin", "begin() was called a second time")
        self._begun = True
        starts = self._engine.begin()
        self._give("begin", (), starts)
        return starts

    def advance(self, completions: Iterable[Completion] = (), requests: Iterable[Any] = ()) -> list[Attempt]:
        """See :meth:`Engine.advance`."""
        self._expect_begun("advance")
        said: list[str] = []
        starts = self._engine.advance(self._looked_at(completions, said), requests)
        self._give("advance", said, starts)
        return starts

    def succeed(
        self,
        attempt: Attempt,
        started: int,
        ended: int,
        worker: str,
        cpu_seconds: float | None,
        output: Any,
        *,
        late: bool = False,
    ) -> list[Attempt]:
        """See :meth:`Engine.succeed`."""
        self._expect_begun("succeed")
        self._look_at((attempt, started, ended, worker, cpu_seconds, "succeeded", output, None))
        starts = self._engine.succeed(attempt, started, ended, worker, cpu_seconds, output, late=late)
        self._give("succeed", (attempt,), starts)
        return starts

    def prepare(self, attempt: Any, *, simulated: bool = False) -> Any:
        """See :meth:`Engine.prepare`."""
        self._expect_begun("prepare")
        with self._lock:
            again = attempt in self._prepared
            self._prepared.add(attempt)
        self._log.note("prepare", (attempt,))
        if not isinstance(attempt, Attempt) or not self._knows(attempt):
            self._log.breach("handed_out", f"{said_of(attempt)} is prepared, which the engine never handed out")
        if again:
            self._log.breach("handed_out", f"{said_of(attempt)} is prepared a second time: its call is run twice")
        return self._engine.prepare(attempt, simulated=simulated)

    def started(self, attempt: Attempt, at: int, worker: str) -> None:
        """See :meth:`Engine.started`."""
        self._log.note("started", (attempt,))
        self._check_time(attempt, "started", at)
        self._engine.started(attempt, at, worker)

    def wake_at(self) -> int | None:
        """See :meth:`Engine.wake_at`."""
        self._woke = self._engine.wake_at()
        return self._woke

    @property
    def renderer(self) -> Any:
        """The engine's, whose direct calls are counted."""
        return _WatchedRenderer(self._engine.renderer, self._counted)

    # ------------------------------------------------------------------ what is looked at

    def standstill(self) -> tuple[str, str]:
        """The rule that a run breaks which does not move, and the story."""
        engine = self._engine
        if not self._begun:
            return "begin", "begin() was never called"
        open_attempts = [attempt for attempt in self._given if attempt.outcome is None]
        if open_attempts:
            named = ", ".join(map(said_of, open_attempts[:10]))
            return "completed", f"handed out and never completed: {named}"
        statuses = Counter(engine.scheduler.statuses())
        told = ", ".join(f"{count} {status}" for status, count in statuses.items())
        if self._woke is not None and self._woke <= engine.now():
            due = self._woke / NANOSECONDS
            return "woken", f"something was due at {due:.3f} s, and nobody called advance() since (steps: {told})"
        return "drive", f"all that was handed out is completed, and the run is not over (steps: {told})"

    def fatal(self, rule: str, story: str) -> ProtocolError:
        """A breach after which the run cannot go on: whoever waits for its end is to hear of it."""
        error = self._log.breach(rule, story)
        self._engine.crash = error
        self._notify()
        return error

    def _counted(self, index: int) -> None:
        with self._lock:
            self._called[index] += 1
            too_often = self._called[index] > self._granted[index]
        if too_often:
            step_id = self._engine.scheduler.step_ids[index]
            self._log.breach("handed_out", f"the call of step {step_id!r} is run more often than it was handed out")

    def _expect_begun(self, what: str) -> None:
        if not self._begun:
            raise self.fatal("begin", f"{what}() was called before begin()")

    def _give(self, what: str, said: Sequence[Any], starts: Sequence[Attempt]) -> None:
        with self._lock:
            for attempt in starts:
                if attempt not in self._given:
                    self._given[attempt] = None
                    self._granted[attempt.index] += 1
        self._log.note(what, said, tuple(starts))

    def _knows(self, attempt: Attempt) -> bool:
        return attempt in self._given or self._engine.scheduler.live_attempt(attempt.index) is attempt

    def _looked_at(self, completions: Iterable[Completion], said: list[str]) -> Iterator[Completion]:
        for completion in completions:
            self._look_at(completion)
            said.append(f"{said_of(completion[0])} {completion[5]}")
            yield completion

    def _look_at(self, completion: Any) -> None:
        if not isinstance(completion, tuple) or len(completion) != 8 or not isinstance(completion[0], Attempt):
            raise self.fatal("completion", f"got {completion!r}")
        attempt, started, ended, _worker, _cpu_seconds, outcome, value, _tokens_used = completion
        name = said_of(attempt)
        with self._lock:
            again = attempt in self._completed
            self._completed.add(attempt)
        if again:
            self._log.breach("completed_once", f"{name} is completed a second time, as {outcome}")
        elif not self._knows(attempt):
            self._log.breach("handed_out", f"{name} is completed, and the engine never handed it out")
        self._check_time(attempt, "started", started)
        self._check_time(attempt, "ended", ended)
        if isinstance(started, int) and isinstance(ended, int) and started > ended:
            self._log.breach("times", f"{name} started at {started} and ended before, at {ended}")
        late = attempt.outcome is not None
        if outcome not in OUTCOMES or (outcome == "cancelled" and not late):
            raise self.fatal("completion", f"{name} ends as {outcome!r}, which is no outcome of a call")
        if outcome != "succeeded" and not late and not isinstance(value, Failure):
            raise self.fatal("completion", f"{name} ends as {outcome} with {value!r}, which is no Failure")

    def _check_time(self, attempt: Attempt, what: str, at: Any) -> None:
        name = said_of(attempt)
        if not isinstance(at, int):
            raise self.fatal("times", f"{name} {what} at {at!r}, a {type(at).__name__}")
        now = self._engine.now()
        if at > now + TOLERANCE_NANOSECONDS:
            self._log.breach("times", f"{name} {what} at {at}, and now it is {now}")
        elif at < attempt.granted - TOLERANCE_NANOSECONDS:
            self._log.breach("times", f"{name} {what} at {at}, and was granted only at {attempt.granted}")


class _WatchedRenderer:
    def __init__(self, renderer: Any, counted: Callable[[int], None]) -> None:
        self._renderer = renderer
        self._counted = counted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._renderer, name)

    def direct_calls(self, steps: Sequence[Any], *, asynchronous: bool) -> list[Callable[[], Any] | None]:
        found = self._renderer.direct_calls(steps, asynchronous=asynchronous)
        return [None if call is None else self._watched(index, call) for index, call in enumerate(found)]

    def _watched(self, index: int, call: Callable[[], Any]) -> Callable[[], Any]:
        def counted() -> Any:
            self._counted(index)
            return call()

        return counted
