"""Which states and transitions a simulated run really went through, and whether each is in the table.

Rules of this module:
- The scheduler that is watched is the production one: only the array of its states is another kind of array, which sees
  what the short ways write, too.
- A transition is (state, event, state after), as in :data:`executor.scheduler.TRANSITIONS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
    """States by step. ``changes`` counts every change by state before, state after, and ``event``: the number of the
    event that is being carried out; None: a short way makes the change.
    """

    event: int | None = None

    def count_in(self, changes: dict[tuple[int, int, int | None], int]) -> None:
        self._changes = changes

    def __setitem__(self, index: Any, state: Any) -> None:
        change = self[index], state, self.event
        bytearray.__setitem__(self, index, state)
        self._changes[change] = self._changes.get(change, 0) + 1


class WatchedScheduler(Scheduler):
    """The production scheduler, with ``transitions`` counted and ``illegal`` changes of state kept."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.transitions: Counter[Transition] = Counter()
        self.illegal: list[str] = []
        # When steps ended whose result was there, by their place.
        self.reused_at: dict[int, int] = {}
        self._changes: dict[tuple[int, int, int | None], int] = {}
        super().__init__(*arguments, **options)
        self._state: _WatchedStates = _WatchedStates()
        self._state.count_in(self._changes)

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

    def _move(self, index: int, event: int, after: int) -> None:
        self._state.event = event
        if event == REUSE:
            self.reused_at[index] = self._now
        try:
            super()._move(index, event, after)
        finally:
            self._state.event = None


def _event_of(state: StepStatus, after: StepStatus) -> str | None:
    """The event of a change that a short way made: it names none, and the table has one alone for each of them."""
    events = [event for event, afters in TRANSITIONS[state].items() if after in afters]
    return events[0] if len(events) == 1 else None
