"""Which states and transitions a simulated run really went through, and whether each is in the table.

Rules of this module:
- The scheduler that is watched is the production one: only the array of its states is another kind of array, which sees
  what the short ways write, too.
- A transition is (state, event, state after), as in :data:`executor.scheduler.TRANSITIONS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from executor.record.timeline import StepStatus
from executor.scheduler import STATE_NAMES, TRANSITIONS, Scheduler
from executor.scheduler.states import EVENT_NAMES, REUSE

Transition: TypeAlias = tuple[str, str, str]

ALL_TRANSITIONS: tuple[Transition, ...] = tuple(
    (state, event, after)
    for state, events in TRANSITIONS.items()
    for event, afters in events.items()
    for after in afters
)


def missing_transitions(reached: Iterable[Transition]) -> list[Transition]:
    """The transitions of the table that are not among these, in the table's order."""
    found = set(reached)
    return [transition for transition in ALL_TRANSITIONS if transition not in found]


class _WatchedStates(bytearray):
    """States by step that report every change."""

    def watch(self, report: Callable[[int, int], None]) -> None:
        self._report = report

    def __setitem__(self, index: Any, state: Any) -> None:
        before = self[index]
        bytearray.__setitem__(self, index, state)
        self._report(before, state)


class WatchedScheduler(Scheduler):
    """The production scheduler, with ``transitions`` counted and ``illegal`` changes of state kept."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.transitions: Counter[Transition] = Counter()
        self.illegal: list[str] = []
        # When steps ended whose result was there, by their place.
        self.reused_at: dict[int, int] = {}
        self._changes: Counter[tuple[int, int, int | None]] = Counter()
        self._event: int | None = None
        super().__init__(*arguments, **options)
        states = _WatchedStates()
        states.watch(self._note_change)
        self._state = states

    def reached(self) -> Counter[Transition]:
        """How often each transition was taken. Changes that the table does not know are in ``illegal`` after it."""
        for (before, after, event_number), count in self._changes.items():
            state, state_after = STATE_NAMES[before], STATE_NAMES[after]
            event = _event_of(state, state_after) if event_number is None else EVENT_NAMES[event_number]
            if event is None or state_after not in TRANSITIONS[state].get(event, ()):
                self.illegal.append(f"a step went from {state} to {state_after}, which the table does not know")
            else:
                self.transitions[state, event, state_after] += count
        self._changes.clear()
        return self.transitions

    def _note_change(self, before: int, after: int) -> None:
        self._changes[before, after, self._event] += 1

    def _move(self, index: int, event: int, after: int) -> None:
        self._event = event
        if event == REUSE:
            self.reused_at[index] = self._now
        try:
            super()._move(index, event, after)
        finally:
            self._event = None


def _event_of(state: StepStatus, after: StepStatus) -> str | None:
    """The event of a change that a short way made: it names none, and the table has one alone for each of them."""
    events = [event for event, afters in TRANSITIONS[state].items() if after in afters]
    return events[0] if len(events) == 1 else None
