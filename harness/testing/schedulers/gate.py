"""The gate at which every call of a scheduler under test waits, and what happened there.

Rules of this module:
- A call arrives, is written down, and waits until it is let through: with a value, or with the error that was drawn.
- Time is a count of instants. Each instant lets some calls through; what arrives until the next one belongs to it.
- It knows nothing of the scheduler but its calls, in threads or in an event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from harness.testing.oracle.finality import Violation
from harness.testing.schedulers.graph_case import Case, shortened


class StepFailed(Exception):  # noqa: N818  # it reads as what happened
    """What a call raises that was drawn to fail."""


class Ticket:
    """A call that waits at the gate."""

    def __init__(self, step: str, number: int, loop: asyncio.AbstractEventLoop | None) -> None:
        self.step = step
        self.number = number
        self.error: BaseException | None = None
        self._loop = loop
        self._event = threading.Event()
        self._future: asyncio.Future[None] | None = None if loop is None else loop.create_future()

    def wait(self) -> str:
        """Wait in a thread; the call's value."""
        self._event.wait()
        return self._end()

    async def wait_async(self) -> str:
        """Wait in an event loop."""
        assert self._future is not None
        await self._future
        return self._end()

    def open(self, error: BaseException | None) -> None:
        """Let the call through. From any thread."""
        self.error = error
        self._event.set()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def _end(self) -> str:
        if self.error is not None:
            raise self.error
        return f"{self.step}#{self.number}"


class Gate:
    """All calls of one run: which wait, which have passed, and the events as the oracle reads them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.instant = 0
        self.running: list[Ticket] = []
        self.events: list[tuple[Any, ...]] = []
        self.faults: list[Violation] = []
        self.succeeded: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.counts = Counter[str]()
        self.over = False
        self._dependencies = dict(case.steps)
        self._history: list[tuple[int, str]] = []
        self._changed = threading.Condition()
        self._arrivals = 0
        self._abandoned = False

    # ------------------------------------------------------------------ for the scheduler under test

    def call(self, step: str) -> str:
        """Run a step, in a thread. Raises :class:`StepFailed` where that was drawn."""
        return self._arrive(step, None).wait()

    async def call_async(self, step: str) -> str:
        """Run a step, in an event loop."""
        ticket = self._arrive(step, asyncio.get_running_loop())
        try:
            return await ticket.wait_async()
        except asyncio.CancelledError:
            with self._changed:
                if ticket in self.running:
                    self._leave(ticket, "cancelled")
                    self._changed.notify_all()
            raise

    def _arrive(self, step: str, loop: asyncio.AbstractEventLoop | None) -> Ticket:
        with self._changed:
            if self._abandoned:
                return self._let_go(step, loop)
            if step not in self._dependencies:
                self._fault("known_steps", f"{step!r} was called, which is no step of the graph")
                raise StepFailed(f"there is no step {step!r}")
            self.counts[step] += 1
            ticket = Ticket(step, self.counts[step], loop)
            self.running.append(ticket)
            self.events.append(("ready", step, ticket.number, min(self.ready_at(step), self.instant)))
            self.events.append(("granted", step, ticket.number, self.instant))
            self._tell(f"{self._name(ticket)} is called")
            self._arrivals += 1
            self._changed.notify_all()
        return ticket

    def _let_go(self, step: str, loop: asyncio.AbstractEventLoop | None) -> Ticket:
        ticket = Ticket(step, 0, loop)
        ticket.open(None)
        return ticket

    # ------------------------------------------------------------------ for the one that opens it

    def finish(self) -> None:
        """The scheduler's run is over."""
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def wait_until_quiet(self, settle_seconds: float, patience_seconds: float, quiet: Callable[[], bool]) -> None:
        """Wait until nothing has arrived for ``settle_seconds``, and ``quiet()``; at most ``patience_seconds`` for the
        latter.
        """
        deadline = time.monotonic() + patience_seconds
        with self._changed:
            seen = -1
            while not self.over:
                if seen == self._arrivals and (quiet() or time.monotonic() >= deadline):
                    return
                seen = self._arrivals
                self._changed.wait(settle_seconds)

    def let_through(self, tickets: Sequence[Ticket]) -> None:
        """Begin an instant: these calls end, as was drawn for them."""
        with self._changed:
            self.instant += 1
            for ticket in [ticket for ticket in tickets if ticket in self.running]:
                fails = ticket.number <= self.case.fails.get(ticket.step, 0)
                ticket.error = StepFailed(f"step {ticket.step!r} was drawn to fail") if fails else None
                self._leave(ticket, "failed" if fails else "succeeded")
        for ticket in tickets:
            ticket.open(ticket.error)

    def note_cancellation(self) -> None:
        """Begin an instant: the run is cancelled. The next one begins once the scheduler was asked to stop."""
        with self._changed:
            self.instant += 1
            self.events.append(("cancel", "", 0, self.instant))
            self._tell("the run is cancelled")

    def after_cancellation(self) -> None:
        """The scheduler has been asked to stop: a step that is called from now on comes too late."""
        with self._changed:
            self.instant += 1

    def abandon(self) -> None:
        """The test is over: every call that waits or comes passes, so that threads come to their end."""
        with self._changed:
            self._abandoned = True
            tickets = list(self.running)
        for ticket in tickets:
            ticket.open(None)

    def ready_at(self, step: str) -> int:
        """The instant from which a step could be called (again); in the future if it is not known yet."""
        if step in self.failed:
            return self.failed[step]
        never = self.instant + 1
        return max((self.succeeded.get(other, never) for other in self._dependencies[step]), default=0)

    def could_start(self) -> list[str]:
        """The steps that are ready and have a worker and their limits free. Under the lock, or when all is quiet."""
        if len(self.running) >= self.case.workers:
            return []
        used: Counter[str] = Counter()
        for ticket in self.running:
            used.update(self.case.needs.get(ticket.step, {}))
        at_work = {ticket.step for ticket in self.running}
        return [
            step
            for step, _ in self.case.steps
            if step not in at_work
            and step not in self.succeeded
            and self.counts[step] < self.case.attempts.get(step, 1)
            and self.ready_at(step) <= self.instant
            and all(
                used[name] + units <= self.case.limits[name] for name, units in self.case.needs.get(step, {}).items()
            )
        ]

    def fault(self, rule: str, description: str) -> None:
        """Keep a fault that the oracle does not see."""
        with self._changed:
            self._fault(rule, description)

    def history(self) -> str:
        """What happened, an instant a line."""
        lines: dict[int, list[str]] = {}
        for instant, text in self._history:
            lines.setdefault(instant, []).append(text)
        return shortened([f"  instant {instant}: {', '.join(texts)}" for instant, texts in lines.items()])

    # ------------------------------------------------------------------ under the lock

    def _leave(self, ticket: Ticket, outcome: str) -> None:
        self.running.remove(ticket)
        self.events.append(("known", ticket.step, ticket.number, self.instant, {"outcome": outcome}))
        if outcome == "succeeded":
            self.succeeded.setdefault(ticket.step, self.instant)
        elif outcome == "failed":
            self.failed[ticket.step] = self.instant
        verb = {"succeeded": "ends well", "failed": "fails"}.get(outcome, "is cancelled")
        self._tell(f"{self._name(ticket)} {verb}")

    def _fault(self, rule: str, description: str) -> None:
        self.faults.append(Violation(rule, description))

    def _tell(self, text: str) -> None:
        self._history.append((self.instant, text))

    def _name(self, ticket: Ticket) -> str:
        return ticket.step if ticket.number == 1 else f"{ticket.step} (call {ticket.number})"
