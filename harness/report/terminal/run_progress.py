"""A run while it goes on: what runs, for how long, and what waits for which reason.

::

    small run: engine's lock ── events ──▶ deque ──▶ one thread: lines for good,
    large run: scheduler ◀── a look now and then ─── and on a terminal a status that is rewritten

Rules of this module:
- Nothing here holds up a run: hooks only append to a queue, and of a large run there are none.
- The words of a start are the seed's: ``Executing 2 steps in parallel:`` with the descriptions below. Where others run
  already, a line says what changed: ``+ Translate (9) · 12 running``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, TypeAlias

from rich.console import Group
from rich.live import Live
from rich.text import Text

from executor.engine.instruments import Instrument, WatchedRun
from executor.record.outcomes import StepError
from executor.record.timeline import NANOSECONDS, Attempt, StepStatus
from harness.plain_text import counted, duration_text, one_line, some_of
from harness.report.terminal.console import Line, Terminal
from harness.report.terminal.plan_text import description_of

# Above this number of steps a line for each is too much to read.
STEPS_IN_DETAIL: Final = 50
# Above this number of steps a look at every state would burden the run.
STEPS_WATCHED: Final = 5_000
_TICK_SECONDS: Final = 0.1
_STATUS_EVERY_SECONDS: Final = 10.0
_RUNNING_SHOWN: Final = 8
_WAITING_SHOWN: Final = 6
_STARTS_SHOWN: Final = 16
_NAMES_SHOWN: Final = 4
_DESCRIPTION_SHOWN: Final = 40
_FAILURES_SHOWN: Final = 20

# An attempt, the state of its step after its end (None: it starts or resumes), and why it failed.
_Event: TypeAlias = tuple[Attempt, StepStatus | None, StepError | None]


def progress_for(terminal: Terminal, steps: int) -> Progress:
    """What shows a run of that many steps."""
    return DetailedProgress(terminal) if steps <= STEPS_IN_DETAIL else DistantProgress(terminal)


class Progress(Instrument):
    """Shows a run. ``with progress_for(terminal, 3) as progress: run(…, instruments=[progress])``."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._engine: WatchedRun | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._live: Live | None = None

    def run_started(self, engine: WatchedRun) -> None:
        """Begin to show."""
        self._engine = engine
        self._thread = threading.Thread(target=self._show, args=(engine,), name="makespan-progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show what is left to show, and stop."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ for subclasses

    def new_lines(self, engine: WatchedRun, *, last: bool) -> Iterator[Line]:
        """The lines of what happened since the last call."""
        raise NotImplementedError

    def running(self, engine: WatchedRun) -> Sequence[Attempt]:
        """What runs at this moment."""
        raise NotImplementedError

    def starts(self, engine: WatchedRun, started: Sequence[Attempt], running: Sequence[Attempt] = ()) -> Iterator[Line]:
        """What started: in the words of the seed where nothing ran, else in a line beside how many run now."""
        # A mapped step waits for its items, which are here themselves.
        started = [attempt for attempt in started if not engine.scheduler.is_mapped(attempt.index)]
        before = sum(1 for attempt in running if not engine.scheduler.is_mapped(attempt.index))
        together = len(started)
        if not together:
            return
        if before:
            alike: dict[str, list[Attempt]] = {}
            for attempt in started:
                description = description_of(engine.scheduler.steps[attempt.index], _DESCRIPTION_SHOWN)
                alike.setdefault(description, []).append(attempt)
            said = [
                self.name(engine, attempts[0]) if len(attempts) == 1 else f"{description} ({len(attempts)})"
                for description, attempts in alike.items()
            ]
            yield Line(f"  + {some_of(said, _NAMES_SHOWN)} · {before + together} running")
            return
        yield Line(f"Executing {together} steps in parallel:" if together > 1 else "Executing 1 step:", "bold")
        for attempt in started[:_STARTS_SHOWN]:
            yield Line(f"  - {self.name(engine, attempt)}")
        if together > _STARTS_SHOWN:
            yield Line(f"  … and {together - _STARTS_SHOWN} more")

    def name(self, engine: WatchedRun, attempt: Attempt) -> str:
        """A step's description, with the id of an item, and the number of its attempt where that is not the first."""
        name = description_of(engine.scheduler.steps[attempt.index], max(20, self._terminal.width - 30))
        if attempt.parent is not None and engine.scheduler.is_mapped(engine.scheduler.index[attempt.parent]):
            name = f"{name} [{one_line(attempt.step_id, 40)}]"
        return name if attempt.attempt == 1 else f"{name} (attempt {attempt.attempt})"

    def reason(self, error: StepError | None) -> str:
        """Why an attempt failed, to be shown behind its name."""
        return "" if error is None else one_line(f": {error.error_type}: {error.message}", self._terminal.width)

    # ------------------------------------------------------------------ the thread

    def _show(self, engine: WatchedRun) -> None:
        console = self._terminal.console
        # Where the terminal has gone there is nothing to show; the run goes on.
        with contextlib.suppress(OSError):
            if console is None:
                self._follow(engine)
                return
            with Live(console=console, auto_refresh=False, transient=True) as live:
                self._live = live
                self._follow(engine)

    def _follow(self, engine: WatchedRun) -> None:
        said_at = time.monotonic()
        while not self._ending.wait(_TICK_SECONDS):
            lines = list(self.new_lines(engine, last=False))
            now = time.monotonic()
            if lines:
                said_at = now
            elif self._live is None and now - said_at >= _STATUS_EVERY_SECONDS:
                said_at = now
                lines = list(self._status(engine))
            self._terminal.write(lines)
            if self._live is not None:
                block = (Text(text, style, no_wrap=True, overflow="ellipsis") for text, style in self._status(engine))
                self._live.update(Group(*block), refresh=True)
        self._terminal.write(self.new_lines(engine, last=True))

    def _status(self, engine: WatchedRun) -> Iterator[Line]:
        """What goes on at this moment."""
        scheduler = engine.scheduler
        now = engine.now()
        running = self.running(engine)
        steps = len(scheduler.steps)
        ended = f"{steps - scheduler.remaining} of {counted(steps, 'step')} ended"
        yield Line(f"{duration_text(now / NANOSECONDS)}: {ended}, {scheduler.running} running", "bold")
        for attempt in running[:_RUNNING_SHOWN]:
            seconds = max(0, now - _start(attempt)) / NANOSECONDS
            yield Line(f"  runs for {seconds:.1f} s: {self.name(engine, attempt)}", "green")
        if len(running) > _RUNNING_SHOWN:
            yield Line(f"  … and {len(running) - _RUNNING_SHOWN} more")
        waiting = list(_waiting(engine))
        for index, reason in waiting[:_WAITING_SHOWN]:
            yield Line(f"  waits for {reason}: {description_of(scheduler.steps[index], 60)}", "dim")
        if len(waiting) > _WAITING_SHOWN:
            yield Line(f"  … and {len(waiting) - _WAITING_SHOWN} more wait", "dim")


class DetailedProgress(Progress):
    """Every start and every end, as the engine reports it."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(terminal)
        self._events: deque[_Event] = deque()
        self._group: list[Attempt] = []
        self._running: dict[Attempt, None] = {}
        # Why attempts failed, and which was the first to do so.
        self._reasons: dict[str, str] = {}

    def attempt_started(self, attempt: Attempt) -> None:
        """Note it."""
        self._events.append((attempt, None, None))

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        """Note it, with its error: an attempt that succeeds later takes that away."""
        engine = self._engine
        error = None if engine is None or status == "succeeded" else engine.errors.get(attempt.step_id)
        self._events.append((attempt, status, error))

    def running(self, engine: WatchedRun) -> Sequence[Attempt]:
        return [*self._running, *self._group]

    def new_lines(self, engine: WatchedRun, *, last: bool) -> Iterator[Line]:
        """A group of starts may still be growing, so it waits for the next look."""
        grew = False
        for _ in range(len(self._events)):
            attempt, status, error = self._events.popleft()
            if status is None:
                if self._group and self._group[0].granted != attempt.granted:
                    yield from self._group_started(engine)
                self._group.append(attempt)
                grew = True
                continue
            yield from self._group_started(engine)
            self._running.pop(attempt, None)
            yield self._end(engine, attempt, status, error)
        if last or not grew:
            yield from self._group_started(engine)

    def _group_started(self, engine: WatchedRun) -> Iterator[Line]:
        if self._group:
            started, before = self._group, list(self._running)
            self._running.update(dict.fromkeys(started))
            self._group = []
            yield from self.starts(engine, started, before)

    def _end(self, engine: WatchedRun, attempt: Attempt, status: StepStatus, error: StepError | None) -> Line:
        name = self.name(engine, attempt)
        if status == "backing_off":
            return Line(f"  failed, another attempt follows: {name}{self._new_reason(name, error)}", "yellow")
        if status == "failed":
            return Line(f"  failed: {name}{self._new_reason(name, error)}", "bold red")
        ran = "" if attempt.ended is None else f" ({duration_text((attempt.ended - _start(attempt)) / NANOSECONDS)})"
        return Line(f"  {status}: {name}{ran}", "green" if status == "succeeded" else "yellow")

    def _new_reason(self, name: str, error: StepError | None) -> str:
        """Why it failed; of what failed for the same reason before, its name."""
        reason = self.reason(error)
        first = self._reasons.setdefault(reason, name)
        return reason if first == name or not reason else f", as {first}"


class DistantProgress(Progress):
    """Failures, and the first time that steps run together. The engine calls no hook of it, so that its short way stays
    open.
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(terminal)
        self._said_parallel = False
        self._said_failed: set[str] = set()

    def running(self, engine: WatchedRun) -> Sequence[Attempt]:
        scheduler = engine.scheduler
        if len(scheduler.steps) > STEPS_WATCHED:
            return []
        indices = (index for index, status in enumerate(scheduler.statuses()) if status in ("running", "blocked"))
        attempts = (scheduler.live_attempt(index) for index in indices)
        return [attempt for attempt in attempts if attempt is not None]

    def new_lines(self, engine: WatchedRun, *, last: bool) -> Iterator[Line]:
        running = self.running(engine)
        if len(running) > 1 and not self._said_parallel:
            self._said_parallel = True
            yield from self.starts(engine, running)
        # Another thread may add an error during this very copy.
        with contextlib.suppress(RuntimeError):
            yield from self._failures(engine, list(engine.errors.values()))

    def _failures(self, engine: WatchedRun, errors: Sequence[StepError]) -> Iterator[Line]:
        scheduler = engine.scheduler
        for error in errors:
            index = scheduler.index[error.step_id]
            if error.step_id in self._said_failed or scheduler.status(index) != "failed":
                continue
            self._said_failed.add(error.step_id)
            if len(self._said_failed) <= _FAILURES_SHOWN:
                name = description_of(scheduler.steps[index], 80)
                yield Line(f"  failed: {name}{self.reason(error)}", "bold red")
            elif len(self._said_failed) == _FAILURES_SHOWN + 1:
                yield Line("  … and more steps failed", "bold red")


def _waiting(engine: WatchedRun) -> Iterator[tuple[int, str]]:
    """Each step that waits, and for what: those that only lack a place first."""
    scheduler = engine.scheduler
    if len(scheduler.steps) > STEPS_WATCHED:
        return
    statuses = scheduler.statuses()
    for index, status in enumerate(statuses):
        if status in ("ready", "backing_off", "resuming"):
            reason = scheduler.waits_for(index)
            if reason is not None:
                yield index, reason_text(reason)
    for index, status in enumerate(statuses[: len(engine.graph.steps)]):
        if status == "waiting":
            open_parents = [one for one in engine.graph.data_parents[index] if not scheduler.is_final(one)]
            if open_parents:
                more = f" and {len(open_parents) - 1} more" if len(open_parents) > 1 else ""
                yield index, f"step {one_line(scheduler.step_ids[open_parents[0]], 40)!r}{more}"


def _start(attempt: Attempt) -> int:
    return attempt.granted if attempt.started is None else attempt.started


def reason_text(reason: str) -> str:
    """A wait's reason as a person says it: ``resource.llm`` is ``units of llm``."""
    kind, _, name = reason.partition(".")
    named = {"resource": "units of {}", "rate": "the rate of {}", "lock": "the state {}"}
    if kind in named and name:
        return named[kind].format(one_line(name, 40))
    plain = {"worker": "a free worker", "barrier": "its barrier", "backoff": "its next attempt", "resuming": "its turn"}
    return plain.get(reason, one_line(reason, 40))
