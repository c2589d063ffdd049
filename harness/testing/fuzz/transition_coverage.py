"""Which states and transitions a simulated run really went through, and whether each stands in the table.

Rules of this module:
- The scheduler that is watched is the production one: only the array of its states is another kind of array.
- A transition is (state, event, state after), as in :data:`executor.scheduler.TRANSITIONS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from executor.scheduler import STATE_NAMES, TRANSITIONS, Scheduler

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
    """States by step that tell of every change."""

    def watch(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell

    def __setitem__(self, index: Any, state: Any) -> None:
        before = self[index]
        bytearray.__setitem__(self, index, state)
        self._tell(before, state)


class WatchedScheduler(Scheduler):
    """The production scheduler, with ``transitions`` counted and ``illegal`` changes of state kept."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.transitions: Counter[Transition] = Counter()
        self.illegal: list[str] = []
        self._changes: Counter[tuple[int, int, bool, bool]] = Counter()
        self._is_ending = self._is_stopping = False
        super().__init__(*arguments, **options)
        states = _WatchedStates()
        states.watch(self._note_change)
        self._state = states

    def reached(self) -> Counter[Transition]:
        """How often each transition was taken. Changes that the table does not know are in ``illegal`` after it."""
        for (before, after, ending, stopping), count in self._changes.items():
            state, state_after = STATE_NAMES[before], STATE_NAMES[after]
            event = _event_of(state, state_after, ending=ending, stopping=stopping)
            if event is None:
                self.illegal.append(f"a step went from {state} to {state_after}, which the table does not know")
            else:
                self.transitions[state, event, state_after] += count
        self._changes.clear()
        return self.transitions

    def _note_change(self, before: int, after: int) -> None:
        self._changes[before, after, self._is_ending, self._is_stopping] += 1

    def _end_now(self, index: int, final_state: int, now: int) -> None:
        self._is_ending = True
        try:
            super()._end_now(index, final_state, now)
        finally:
            self._is_ending = False

    def _stop(self, final: list[int], now: int) -> None:
        self._is_stopping = True
        try:
            super()._stop(final, now)
        finally:
            self._is_stopping = False


def _event_of(state: str, after: str, *, ending: bool, stopping: bool) -> str | None:
    """The event of a change. Only two changes have two events: the scheduler says from where it made them."""
    events = [event for event, afters in TRANSITIONS[state].items() if after in afters]  # type: ignore[index]  # names of states, all in the table
    if len(events) < 2:
        return next(iter(events), None)
    if "decide" in events:
        return "cancel" if ending else "decide"
    return "stop" if stopping else "cancel"
