"""Plays a case through a user's scheduler, and judges what it did.

Rules of this module:
- The scheduler runs as it always does, on its own threads or event loop; only its calls are held at a gate.
- The gate opens when the scheduler is quiet, so that what happens next depends on the case alone.
- Nothing is waited for without a bound. A standstill is a finding, with the stacks of all threads.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from harness.testing.backends.protocol_watch import stacks
from harness.testing.oracle import judge as oracle
from harness.testing.oracle.finality import Violation
from harness.testing.schedulers import gate as scheduler_gate
from harness.testing.schedulers.gate import Gate, StepFailed, Ticket
from harness.testing.schedulers.graph_case import Case, Graph

RULES = {
    **{name: oracle.PROPERTIES[name] for name in ("data_edges", "attempts", "final_states", "workers", "limits")},
    "stopping": "Once the run was cancelled, nothing more is called.",
    "known_steps": "Only steps of the graph are called.",
    "returns": "run returns when every call has ended, not before, and not never.",
    "raises": "run raises nothing but what a call raised.",
    "tries": "A failed step is called again while it has attempts left.",
    "work_conserving": "No worker is idle while a step is ready whose limits are open.",
}
"""What is judged, by name."""


IMPORTING_SECONDS = 60.0
"""How long a run may import modules before its first call. A large framework takes seconds on a busy machine."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long nothing may arrive until the scheduler is quiet; how long it may take to call what it could;
    how long to return when nothing runs any more.
    """

    settle: float = 0.004
    idle: float = 0.5
    standstill: float = 2.0


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it: the faults, and what happened."""

    case: Case
    faults: tuple[Violation, ...]
    history: str

    def message(self) -> str:
        """The rule, the graph and the events that led there, then the first fault with all that belongs to it."""
        fault = self.faults[0]
        first, _, details = fault.message.partition("\n")
        more = (
            ""
            if len(self.faults) == 1
            else f"\n  and {len(self.faults) - 1} more, of: "
            + ", ".join(dict.fromkeys(other.property for other in self.faults[1:]))
        )
        return (
            f"the scheduler broke a rule: {RULES[fault.property]} ({fault.property})\n"
            f"{self.case.description()}\nwhat happened:\n{self.history}\n  {first}{more}"
            + (f"\n{details}" if details else "")
        )


class _Runner:
    """The scheduler's run, in a thread of its own."""

    def __init__(self, run: Callable[..., Any], gate: Gate) -> None:
        self.gate = gate
        self.graph = Graph(gate.case)
        self.returned: Any = None
        self.error: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        # Threads of earlier cases may still be where these left them.
        self.before = {thread.ident for thread in threading.enumerate()}
        self._run = run
        self._task: asyncio.Task[Any] | None = None
        self.thread = threading.Thread(target=self._work, name="run", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        workers = self.gate.case.workers
        try:
            if inspect.iscoroutinefunction(self._run):
                asyncio.run(self._run_async(workers))
            else:
                self.returned = self._run(self.graph, self.gate.call, workers)
        except BaseException as error:  # noqa: BLE001  # judged by the player
            self.error = error
        finally:
            self.gate.finish()

    async def _run_async(self, workers: int) -> None:
        self.loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.returned = await self._run(self.graph, self.gate.call_async, workers)

    def cancel(self) -> None:
        """Ask the scheduler to end its run."""
        for function in self.graph.cancel_functions:
            if self.loop is not None:
                self.loop.call_soon_threadsafe(function)
            else:
                function()
        if not self.graph.cancel_functions and self.loop is not None and self._task is not None:
            self.loop.call_soon_threadsafe(self._task.cancel)

    def leave(self) -> None:
        """The test is over: a coroutine that still waits is cancelled (a thread cannot be)."""
        if self.loop is not None and self._task is not None and not self.gate.over:
            self.loop.call_soon_threadsafe(self._task.cancel)


def play(
    run: Callable[..., Any],
    case: Case,
    supports: Collection[str] = (),
    *,
    excused: Collection[str] = (),
    patience: Patience | None = None,
) -> Played:
    """Run a case through ``run(graph, call, workers)`` and judge it.

    ``supports`` as in :data:`harness.testing.schedulers.graph_case.SUPPORTS`; ``excused`` are rules of :data:`RULES`
    that are not judged.
    """
    patience = patience or Patience()
    gate = Gate(case)
    runner = _Runner(run, gate)
    try:
        _open_gates(runner, patience, conserving="work_conserving" not in excused)
        faults = _judge(runner, supports)
    finally:
        gate.abandon()
        runner.leave()
    runner.thread.join(patience.settle)
    return Played(case, tuple(fault for fault in faults if fault.property not in excused), gate.history())


def _open_gates(runner: _Runner, patience: Patience, *, conserving: bool) -> None:
    """Let calls through, an instant at a time, until the run is over or at a standstill."""
    gate = runner.gate
    schedule = gate.case.schedule()
    cancelled = False
    # One that may leave workers idle is not waited for as long.
    idle = patience.idle if conserving else min(patience.idle, 10 * patience.settle)
    while True:
        gate.wait_until_quiet(patience.settle, 0.0 if cancelled else idle, lambda: not gate.could_start())
        if not (gate.running or gate.over):
            _wait_for_a_call(runner, patience)
        if gate.over:
            return
        running = list(gate.running)
        if not running:
            _stand_still(runner, patience)
            return
        if gate.case.cancel_at is not None and not cancelled and gate.instant + 1 >= gate.case.cancel_at:
            cancelled = True
            _cancel(runner, patience)
            continue
        tickets: dict[str, Ticket] = {f"{ticket.step}#{ticket.number}": ticket for ticket in running}
        gate.let_through([tickets[name] for name in schedule.next(list(tickets)).step_ids])


def _wait_for_a_call(runner: _Runner, patience: Patience) -> None:
    """Wait until a call arrives; longer while the run still imports what it needs, which is no fault of its order."""
    gate = runner.gate
    give_up_at = time.monotonic() + IMPORTING_SECONDS
    while True:
        gate.wait_until_quiet(patience.settle, patience.standstill, lambda: bool(gate.running))
        if gate.running or gate.over or not _imports(runner.thread) or time.monotonic() >= give_up_at:
            return


def _imports(thread: threading.Thread) -> bool:
    """Whether the thread is importing a module, or waits for another thread that imports it."""
    # The documented way to another thread's stack.
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - as said above
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _cancel(runner: _Runner, patience: Patience) -> None:
    gate = runner.gate
    gate.note_cancellation()
    runner.cancel()
    if runner.loop is not None:
        # What the loop had begun before it heard of it is no fault.
        gate.wait_until_quiet(patience.settle, 0.0, lambda: True)
    gate.after_cancellation()


def _stand_still(runner: _Runner, patience: Patience) -> None:
    gate = runner.gate
    waiting = gate.could_start()
    could = f", and {', '.join(waiting)} could be called" if waiting else ""
    names = ", ".join(step for step, _ in gate.case.steps if step not in gate.counts)
    never = f"; never called: {names}" if names else ""
    gate.fault(
        "returns",
        f"no call is running{could}, and run has not returned for {patience.standstill:g} s{never}. The threads:\n"
        f"{stacks(__file__, scheduler_gate.__file__, without=runner.before)}",
    )


def _judge(runner: _Runner, supports: Collection[str]) -> list[Violation]:
    gate, case, error = runner.gate, runner.gate.case, runner.error
    over = gate.over
    cancelled = any(event[0] == "cancel" for event in gate.events)
    as_it_should = error is None or _allowed(error, failed=bool(gate.failed), cancelled=cancelled)
    finals = _final_events(runner) if "states" in supports and over and error is None else []
    found = list(gate.faults)
    if over and gate.running:
        names = ", ".join(ticket.step for ticket in gate.running)
        found.append(Violation("returns", f"run returned while {names} was still running"))
    if error is not None and not as_it_should:
        found.append(Violation("raises", f"run raised {type(error).__name__}: {error}"))
    later = gate.instant + 1
    events = [*gate.events, *finals]
    events += [("known", one.step, one.number, later, {"outcome": "succeeded"}) for one in gate.running]
    wanted = ["data_edges", "attempts", "workers", "limits", "stopping"]
    complete = over and as_it_should and not (gate.failed and "fail_fast" in supports)
    if complete:
        wanted.append("final_states")
    if not cancelled and not (gate.failed and "fail_fast" in supports):
        wanted.append("work_conserving")
    judged = oracle.check(case.plain(), events, exact=True, properties=wanted)
    found += [Violation(one.property, re.sub(r"(\d\]?) ns\b", r"\1", one.message), one.steps) for one in judged]
    if complete and not cancelled:
        found += _given_up(gate)
    # A standstill and an error come first; idleness comes last, since it follows from much else.
    order = [*([] if over else ["returns"]), "raises", *RULES]
    return sorted(found, key=lambda one: order.index(one.property))


def _given_up(gate: Gate) -> list[Violation]:
    """Steps that failed with attempts left, and were not called again."""
    return [
        Violation("tries", f"{step} failed in call {gate.counts[step]} of {most} and was not called again", (step,))
        for step, most in gate.case.attempts.items()
        if step in gate.failed and step not in gate.succeeded and gate.counts[step] < most
    ]


def _final_events(runner: _Runner) -> list[tuple[Any, ...]]:
    returned = runner.returned
    if not isinstance(returned, Mapping):
        runner.gate.fault("returns", f"run returned {returned!r}; it promises a mapping from steps to states")
        return []
    return [("final", step, 0, None, {"status": returned.get(step)}) for step, _ in runner.gate.case.steps]


def _allowed(error: BaseException, *, failed: bool, cancelled: bool) -> bool:
    """Whether run may raise this: what a failed call raised, however wrapped; anything when it was cancelled."""
    if cancelled:
        return True
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, StepFailed):
            return failed
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
    return False
