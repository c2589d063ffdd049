"""Why steps wait: the history of reasons that each has of its own, and the waits that the record keeps of them.

Rules of this module:
- A step that waits in the queue has the history of its line; one that waits elsewhere (for a backoff, a gate, a lock, a
  reservation, or to resume) has its own.
- A history is a list of ``(from, reason)`` in order of time, in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from executor.record.timeline import Wait
from executor.scheduler.resources import Demand


class HasHistory(Protocol):
    """Represents several steps that wait for the same: a line of the queue."""

    history: list[tuple[int, str]]


def extend_history(history: list[tuple[int, str]], reason: str, now: int) -> None:
    """Append a change of reason; equal neighbours are one, and the last word of an instant counts."""
    if history and history[-1][0] == now:
        history.pop()
    if not history or history[-1][1] != reason:
        history.append((now, reason))


def waits_of(history: Sequence[tuple[int, str]], start: int, end: int) -> list[Wait]:
    """The part of a history in [start, end] as waits, in order. An empty reason is no wait (a timer noticed late)."""
    waits: list[Wait] = []
    until = end
    for time, reason in reversed(history):
        since = max(time, start)
        if since < until:
            if reason:
                waits.append(Wait(reason, since, until))
            until = since
        if until == start:
            break
    waits.reverse()
    return waits


def waits_in_line(history: Sequence[tuple[int, str]], start: int, end: int) -> str | list[Wait] | None:
    """The waits of a step in the queue in [start, end], from the history of its line: a bare reason where there was one
    alone, as of most steps.
    """
    if history and history[-1][0] <= start:
        return history[-1][1]
    return waits_of(history, start, end) or None


class WaitReasons:
    """The histories of all steps. A step that never waited outside the queue costs nothing.

    ``demands``: what each step asks for, of those that have needs; ``lines``: the lines of the queue. Both are the
    scheduler's own, and change with it.
    """

    def __init__(self, demands: Mapping[int, Demand], lines: Mapping[Demand, HasHistory]) -> None:
        self._demands = demands
        self._lines = lines
        # By step: its own history, and until when it counts, if the step went on to the queue.
        self.own: dict[int, list[tuple[int, str]]] = {}
        self.queued_at: dict[int, int] = {}

    def note(self, index: int, reason: str, now: int) -> None:
        """From ``now`` on the step waits for ``reason``."""
        extend_history(self.own.setdefault(index, []), reason, now)

    def enters_queue(self, index: int, now: int) -> None:
        """From ``now`` on the history of its line counts."""
        if index in self.own:
            self.queued_at[index] = now

    def enters_reservation(self, index: int, ready: int, now: int) -> None:
        """From ``now`` on its own history counts, which takes in what the step waited for in the queue."""
        history = self.own.setdefault(index, [])
        since = self.queued_at.pop(index, ready)
        for wait in self._in_line(index, since, now):
            extend_history(history, wait.reason, wait.start)

    def latest(self, index: int, *, in_line: bool) -> str:
        """The reason for which the step waits now. It may be asked from any thread."""
        if in_line:
            demand = self._demands.get(index)
            line = None if demand is None else self._lines.get(demand)
            history = None if line is None else line.history
        else:
            history = self.own.get(index)
        # A slice: the list may shrink between a question and an index.
        return next((reason for _, reason in (history or ())[-1:]), "") or "worker"

    def take(self, index: int, ready: int, now: int, *, was_reserved: bool) -> str | list[Wait] | None:
        """The waits of a step in [ready, now], at the end of which it is granted: for its gate and locks first, then
        in the queue.
        """
        history = self.own.pop(index, None)
        queued_at = self.queued_at.pop(index, ready)
        if ready == now:
            return None
        if history is None:
            demand = self._demands.get(index)
            line = None if demand is None else self._lines.get(demand)
            return "worker" if line is None else waits_in_line(line.history, ready, now)
        if was_reserved:
            return waits_of(history, ready, now)
        return (waits_of(history, ready, queued_at) + self._in_line(index, queued_at, now)) or None

    def take_own(self, index: int, since: int, now: int) -> list[Wait]:
        """The waits of a step in [since, now], in which it did not wait in the queue."""
        return waits_of(self.own.pop(index, ()), since, now)

    def _in_line(self, index: int, since: int, now: int) -> list[Wait]:
        demand = self._demands.get(index)
        line = None if demand is None else self._lines.get(demand)
        if line is not None:
            return waits_of(line.history, since, now)
        return [Wait("worker", since, now)] if since < now else []
