"""Watches a backend while it drives an engine: which rule of the protocol it breaks, and the events that led there.

``run(workflow, backend=watch(MyBackend(4)))`` runs as it would without, and raises :class:`ProtocolError` where the
backend misbehaves, a standstill included.

Rules of this module:
- The engine is the one that every run has; only what passes between it and the backend is looked at.
- It changes nothing: the engine gets what the backend said, unless the run could not go on from it. Events are kept as
  they come and written out only on demand: a watched run is nearly as fast as any.
- A breach is noted where it happens and raised where :meth:`WatchedBackend.drive` ends, so that the watched backend
  goes its way undisturbed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, cast

from executor.backends import Backend, BackendError
from executor.engine.engine import Engine
from executor.record.outcomes import Completion, Failure
from executor.record.timeline import NANOSECONDS, Attempt

RULES = {
    "begin": "drive() calls engine.begin() once, before anything else",
    "handed_out": "only what the engine handed out is run, and each attempt once",
    "completed_once": "each attempt is completed once, by advance() or succeed()",
    "completed": "each attempt that the engine hands out is completed",
    "completion": "a completion is (attempt, started, ended, worker, cpu_seconds, outcome, value, tokens_used)",
    "times": "times are whole nanoseconds from the run's t = 0 by the backend's clock: granted ≤ started ≤ ended ≤ now",
    "clock": "the clock counts nanoseconds and never runs backwards",
    "woken": "when wake_at() has passed, the backend calls engine.advance()",
    "drive": "drive() returns when the engine is done, and raises nothing of its own",
}
EVENTS_SHOWN = 30


class ProtocolError(AssertionError):
    """A backend broke the protocol. ``rule`` is a key of :data:`RULES`."""

    def __init__(self, rule: str, description: str, events: Sequence[str]) -> None:
        self.rule = rule
        before = "\n".join(f"  {event}" for event in events) or "  nothing"
        broken = f"the backend broke a rule of the protocol: {RULES[rule]}"
        super().__init__(f"{broken}\n  {description}\nwhat led there:\n{before}")


class Log:
    """What passed between a backend and its engine, and the breaches found in it. For any thread."""

    def __init__(self) -> None:
        self.breaches: list[ProtocolError] = []
        self.last = time.monotonic()
        self._began = self.last
        self._lock = threading.Lock()
        self._events: deque[tuple[float, str, str, Sequence[Any], Sequence[Any]]] = deque(maxlen=EVENTS_SHOWN)
        self._count = 0

    def note(self, what: str, said: Sequence[Any] = (), answer: Sequence[Any] = ()) -> None:
        """Keep an event: attempts are named only on demand."""
        with self._lock:
            now = time.monotonic()
            if said or answer:
                # Looking in without anything done moves nothing on, and nor does anything after a breach.
                self.last = self.last if self.breaches else now
            self._count += 1
            self._events.append((now, threading.current_thread().name, what, said, answer))

    def breach(self, rule: str, description: str) -> ProtocolError:
        """Keep a breach with the events up to now."""
        error = ProtocolError(rule, description, self.events())
        with self._lock:
            self.breaches.append(error)
        return error

    def events(self) -> list[str]:
        """The last events, one line each."""
        with self._lock:
            events, count = list(self._events), self._count
        lines = [f"… {count - len(events)} events before"] if count > len(events) else []
        for at, thread, what, said, answer in events:
            text = f"{(at - self._began) * 1000:9.2f} ms  {thread}: {what}({', '.join(map(said_of, said))})"
            lines.append(text + (f" → {', '.join(map(said_of, answer))}" if answer else ""))
        return lines


def stacks(*watchers: str, without: Collection[int | None] = ()) -> str:
    """What all other threads are doing, without the lines of the files that only watch. ``without``: threads, by their
    ident, that belong to others.
    """
    our_files = (threading.__file__, *watchers)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001  # the documented way to other threads' stacks
        if ident != threading.get_ident() and ident not in without:
            lines = [
                f"    {place.name} in {place.filename}:{place.lineno}: {place.line}"
                for place in traceback.extract_stack(frame)
                if place.filename not in our_files
            ]
            if lines:
                found.append("\n".join([f"  {names.get(ident, ident)}:", *lines[-5:]]))
    return "\n".join(found)


def said_of(what: Any) -> str:
    """How an event names it."""
    return f"{what.step_id}#{what.attempt}" if isinstance(what, Attempt) else str(what)


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

    def prepare(self, attempt: Any) -> Any:
        """See :meth:`Engine.prepare`."""
        self._note_prepared(attempt)
        return self._engine.prepare(attempt)

    def prepare_simulated(self, attempt: Any) -> Any:
        """See :meth:`Engine.prepare_simulated`."""
        self._note_prepared(attempt)
        return self._engine.prepare_simulated(attempt)

    def _note_prepared(self, attempt: Any) -> None:
        self._expect_begun("prepare")
        with self._lock:
            again = attempt in self._prepared
            self._prepared.add(attempt)
        self._log.note("prepare", (attempt,))
        if not isinstance(attempt, Attempt) or not self._knows(attempt):
            self._log.breach("handed_out", f"{said_of(attempt)} is prepared, which the engine never handed out")
        if again:
            self._log.breach("handed_out", f"{said_of(attempt)} is prepared a second time: its call is run twice")

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
        """The rule that a run without progress breaks, and a description."""
        engine = self._engine
        if not self._begun:
            return "begin", "begin() was never called"
        open_attempts = [attempt for attempt in self._given if attempt.outcome is None]
        if open_attempts:
            named = ", ".join(map(said_of, open_attempts[:10]))
            return "completed", f"handed out and never completed: {named}"
        statuses = Counter(engine.scheduler.statuses())
        counted = ", ".join(f"{count} {status}" for status, count in statuses.items())
        if self._woke is not None and self._woke <= engine.now():
            due = self._woke / NANOSECONDS
            return "woken", f"something was due at {due:.3f} s, and advance() was not called since (steps: {counted})"
        return "drive", f"all that was handed out is completed, and the run is not over (steps: {counted})"

    def fatal(self, rule: str, description: str) -> ProtocolError:
        """A breach after which the run cannot go on: the thread that waits for its end has to know."""
        error = self._log.breach(rule, description)
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


__all__ = ["RULES", "ProtocolError", "WatchedBackend", "stacks", "watch"]

# Shorter runs say too little about how fast a clock goes.
CLOCK_SAMPLE_SECONDS = 0.05


def watch(backend: Backend, *, patience_seconds: float = 60.0) -> WatchedBackend:
    """The same backend under watch. ``patience_seconds``: how long nothing may pass between it and the engine (no step
    may take longer) before the run counts as a standstill.
    """
    return WatchedBackend(backend, patience_seconds)


class WatchedBackend(Backend):
    """A backend under watch; see :func:`watch`. ``log`` holds what passed in its last run."""

    def __init__(self, backend: Backend, patience_seconds: float) -> None:
        # No call of the base's constructor: everything is the watched backend's.
        self.backend = backend
        self.patience_seconds = patience_seconds
        self.log = Log()
        self.capacity = backend.capacity
        self.warnings = backend.warnings
        self.name = backend.name  # type: ignore[misc]  # of an instance here: it represents any backend
        self.simulates = backend.simulates  # type: ignore[misc]  # as above
        self.stops_at_once = backend.stops_at_once
        self.outputs_may_stay = backend.outputs_may_stay
        self.clock = self._watched_clock
        self._clock_lock = threading.Lock()
        self._latest: int | None = None
        self._stuck = False
        self._watched: WatchedEngine | None = None

    def open(self, engine: Engine) -> None:
        """See :meth:`Backend.open`."""
        self._watched = WatchedEngine(engine, self.log, self.backend.notify)
        self.backend.open(cast("Engine", self._watched))

    def drive(self, engine: Engine) -> None:
        """See :meth:`Backend.drive`. Raises :class:`ProtocolError`."""
        watched = self._begin(engine)
        failures: list[BaseException] = []
        ended = threading.Event()

        def drive() -> None:
            try:
                self.backend.drive(cast("Engine", watched))
            except BaseException as error:  # noqa: BLE001  # judged below, in the caller's thread
                failures.append(error)
            finally:
                ended.set()

        began = time.perf_counter(), self.clock()
        threading.Thread(target=drive, name="drive", daemon=True).start()
        while not ended.wait(self._patience_left()):
            if self._patience_left() <= 0:
                self._stand_still(watched, began)
                break
        self._judge(engine, watched, failures, began)

    async def drive_async(self, engine: Engine) -> None:
        """See :meth:`Backend.drive_async`. Raises :class:`ProtocolError`."""
        watched = self._begin(engine)
        failures: list[BaseException] = []
        began = time.perf_counter(), self.clock()
        driving = asyncio.ensure_future(self.backend.drive_async(cast("Engine", watched)))
        try:
            while not (await asyncio.wait({driving}, timeout=self._patience_left()))[0]:
                if self._patience_left() <= 0:
                    self._stand_still(watched, began)
                    break
        except asyncio.CancelledError:
            driving.cancel()
            await asyncio.wait({driving}, timeout=self.patience_seconds)
            raise
        if driving.done() and not driving.cancelled() and (error := driving.exception()) is not None:
            failures.append(error)
        self._judge(engine, watched, failures, began)

    def cancel(self, attempt: Attempt) -> None:
        """See :meth:`Backend.cancel`."""
        self.log.note("cancel", (attempt,))
        self.backend.cancel(attempt)

    def notify(self) -> None:
        """See :meth:`Backend.notify`."""
        self.backend.notify()

    def close(self) -> None:
        """See :meth:`Backend.close`; for a backend at a standstill it does not wait."""
        if not self._stuck:
            self.backend.close()
            return
        closing = threading.Thread(target=self.backend.close, name="close", daemon=True)
        closing.start()
        closing.join(1.0)

    # ------------------------------------------------------------------ judging

    def _begin(self, engine: Engine) -> WatchedEngine:
        self.log.last = time.monotonic()
        if self._watched is None:
            self._watched = WatchedEngine(engine, self.log, self.backend.notify)
        return self._watched

    def _watched_clock(self) -> int:
        with self._clock_lock:
            now = self.backend.clock()
            latest, self._latest = self._latest, now
        if latest is not None and now < latest:
            self.log.breach("clock", f"it says {now} after it said {latest}")
        return now

    def _patience_left(self) -> float:
        return max(0.0, self.log.last + self.patience_seconds - time.monotonic())

    def _stand_still(self, watched: WatchedEngine, began: tuple[float, int]) -> None:
        self._stuck = True
        threads = stacks(__file__)
        wrong_clock = self._clock_rate(began)
        if self.log.breaches:
            return
        rule, description = ("clock", wrong_clock) if wrong_clock else watched.standstill()
        description += f"; nothing has happened for {self.patience_seconds:g} s. The threads:\n{threads}"
        watched.fatal(rule, description)

    def _judge(
        self, engine: Engine, watched: WatchedEngine, failures: list[BaseException], began: tuple[float, int]
    ) -> None:
        if self.log.breaches:
            raise self.log.breaches[0]
        if failures:
            error = failures[0]
            if isinstance(error, BackendError | KeyboardInterrupt | SystemExit):
                raise error
            trace = "".join(traceback.format_exception(error)).rstrip()
            raise self.log.breach("drive", f"it raised {type(error).__name__}: {error}\n{trace}") from error
        if not engine.done:
            rule, description = watched.standstill()
            raise self.log.breach(rule, f"drive() returned too early: {description}")
        if wrong_clock := self._clock_rate(began):
            raise self.log.breach("clock", wrong_clock)

    def _clock_rate(self, began: tuple[float, int]) -> str:
        """What is wrong with how fast the clock goes; nothing is the empty text."""
        seconds = time.perf_counter() - began[0]
        counted = (self.clock() - began[1]) / NANOSECONDS
        if not self.simulates and seconds > CLOCK_SAMPLE_SECONDS and not seconds / 2 < counted < seconds * 2:
            return f"it counted {counted:g} s while {seconds:.3f} s passed"
        return ""
