"""Child steps of code that runs in the engine's own process, or whose requests come to it over a channel.

Rules of this module:
- A request becomes a step of the engine; nothing is run here. What starts goes to the backend.
- Notes about who waits are made under the engine's lock, so that no end can overtake its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from executor.child_steps.child_request import Caller, ChildRequest, Done, Outcome, Withdraw
from executor.child_steps.child_step import ChildStep
from executor.engine.engine import Engine
from executor.record.outcomes import Failure
from executor.record.timeline import Attempt
from executor.scheduler import SchedulerError


class EngineCaller(Caller):
    """Starts child steps at an engine. Subclasses see to their backend's workers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # ------------------------------------------------------------------ for subclasses

    def dispatch(self, starts: list[Attempt]) -> None:
        """Have these run. From any thread, not under the engine's lock."""
        raise NotImplementedError

    def blocked(self, who: object) -> None:
        """A step of this caller waits, and gave back its slot. Under the engine's lock: only note it."""

    def resumed(self, who: object) -> None:
        """``who`` waits no more: it has a slot again, or is over. From any thread, and maybe late: others may have
        resumed before, and the step may have gone on and wait again.
        """

    def start_alone(
        self, attempt: Attempt, request: ChildRequest, done: Done, can_run: Callable[[ChildStep], bool] | None = None
    ) -> Attempt | None:
        """Start a single child step that the attempt waits for the short way, if that is open and the caller can run
        it: the attempt that starts; no :meth:`blocked` and no :meth:`resumed` follow. Else None, and nothing was done.
        """
        engine = self._engine
        step = engine.toolbox.step(request)
        if isinstance(step, Failure) or step.timeout is not None or not (can_run is None or can_run(step)):
            return None

        def resume(goes_on: bool) -> None:
            done([engine.outcome_of(child_id)] if goes_on else None)

        made = engine.start_child_alone(attempt, step, resume)
        if made is not None:
            child_id = made.step_id
        return made

    def withdraw(self, attempt: Attempt, ids: list[str]) -> None:
        """The attempt waits for these child steps no more: cancel what is not over."""

        def request(now: int) -> None:
            self._engine.child_steps.withdraw(attempt, ids, now)

        self.dispatch(self._engine.advance((), (request,)))

    # ------------------------------------------------------------------ requests

    def begin(self, running: Any, requests: Sequence[ChildRequest], at_once: int | None, done: Done) -> Withdraw:
        batch = Batch(self, running, requests, at_once, done)
        self.dispatch(batch.submit())
        return batch.withdraw


class Batch:
    """Child steps asked for together, from the request to the answer. Without ``notes`` the caller keeps its own
    account of what waits.
    """

    def __init__(
        self,
        caller: EngineCaller,
        attempt: Attempt,
        requests: Sequence[ChildRequest],
        at_once: int | None,
        done: Done,
        *,
        notes: bool = True,
    ) -> None:
        self._caller = caller
        self._engine = caller._engine  # noqa: SLF001  # two halves of one thing
        self._attempt = attempt
        self._at_once = at_once
        self._done = done
        self._notes = notes
        self._outcomes: list[Outcome | None] = [None] * len(requests)
        self._places: list[int] = []
        self._steps: list[ChildStep] = []
        self._ids: list[str] = []
        self._error: SchedulerError | None = None
        self._withdrawn = False
        step_of = self._engine.toolbox.step
        for place, request in enumerate(requests):
            step = step_of(request)
            if isinstance(step, Failure):
                self._outcomes[place] = Outcome(None, None, step)
            else:
                self._places.append(place)
                self._steps.append(step)

    def submit(self) -> list[Attempt]:
        """Hand the steps to the engine. Returns what starts with that; the answer may come before this returns."""
        if not self._steps:
            self._tell()
            return []
        # Stays empty if the step has to resume from others first: then `_again` goes on, maybe before this ends.
        blocks: list[bool] = []

        def answer(ids: list[str] | SchedulerError, blocked: bool) -> None:
            blocks.append(blocked)
            if isinstance(ids, SchedulerError):
                self._error = ids
                return
            self._ids = ids
            if blocked and self._notes:
                self._caller.blocked(self)

        request = self._engine.child_step_request(
            self._attempt, self._steps, self._resume, answer, at_once=self._at_once, again=self._again
        )
        starts = self._engine.advance((), (request,))
        if blocks == [False]:
            self._tell()
        return starts

    def _again(self, goes_on: bool) -> None:
        """The step has resumed from other child steps. If it no longer waits for these, they are not added."""
        if not goes_on or self._withdrawn:
            self._done(None)
            return
        self._caller.dispatch(self.submit())
        self._cancel_withdrawn()

    def _resume(self, goes_on: bool) -> None:
        if self._notes:
            self._caller.resumed(self)
        if goes_on:
            self._tell()
        else:
            self._done(None)

    def _tell(self) -> None:
        if self._error is not None and self._attempt.outcome is not None:
            self._done(None)
            return
        failure = Failure("CallRefused", str(self._error or "it was never made"), retryable=False)
        outcomes = self._outcomes
        for number, place in enumerate(self._places):
            known = number < len(self._ids)
            outcomes[place] = self._engine.outcome_of(self._ids[number]) if known else Outcome(None, None, failure)
        self._done([outcome for outcome in outcomes if outcome is not None])

    def withdraw(self) -> None:
        """The step no longer waits: cancel what is not over."""
        self._withdrawn = True
        self._cancel_withdrawn()

    def _cancel_withdrawn(self) -> None:
        """Asked by both sides: they may meet in the moment in which the calls are made."""
        if self._withdrawn:
            self._caller.withdraw(self._attempt, self._ids)
