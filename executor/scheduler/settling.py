"""From one step's end to what follows from it: fates, gates, locks, calls. Nothing starts here.

Rules of this module:
- A step's fate is decided when all its data dependencies are final: skipped if one failed or was skipped for such a
  reason; else cancelled if one was cancelled or the run stops; else skipped if its `when` is false; else ready.
- Nothing recurses: a cascade through a million steps is a loop.
"""

from __future__ import annotations

from executor.record.timeline import Attempt, Interval
from executor.scheduler.core import CANCELLING, STOPPING, Core
from executor.scheduler.queue import extend_history
from executor.scheduler.states import (
    BACKING_OFF,
    BLOCKED,
    CANCELLED,
    FAILED,
    FIRST_FINAL,
    READY,
    RESUMING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
)

NO_FATE, CANCELLED_FATE, FAILED_FATE = 0, 1, 2


class Settling(Core):
    """Final states and what they bring about."""

    def _settle(self, index: int, state: int, now: int) -> None:
        """A step is final: decide the fate of those that depend on it, and so on."""
        self._state[index] = state
        self._cascade([index], index, now)

    def _cascade(self, final: list[int], origin: int, now: int) -> None:
        pending = self._data_pending
        while final:
            index = final.pop()
            self.remaining -= 1
            state = self._state[index]
            if state != SUCCEEDED:
                self._after_bad_end(index, state, final, now)
            if self._gate is not None and self._family.parent(index) < 0:
                self._gate.leave(index)
            if self._has_calls:
                self._end_calls(index, final, now)
            if self._items_left:
                self._note_item(index)
            for child in self._children[index]:
                left = pending[child] - 1
                pending[child] = left
                if not left and not self._state[child] and self._decide(child, origin, now):
                    final.append(child)
            if self._has_locks:
                self._release_locks(index, now)

    def _after_bad_end(self, index: int, state: int, final: list[int], now: int) -> None:
        fate = self._fate_from(index)
        if fate:
            for child in self._children[index]:
                self._fate[child] = max(self._fate[child], fate)
        if state == FAILED and self.steps[index].on_failure == "stop" and self._is_top(index):
            self._stop(final, now)

    def _fate_from(self, index: int) -> int:
        """What a final step means for those that depend on it."""
        state = self._state[index]
        if state == SUCCEEDED or index in self._false_condition:
            return NO_FATE
        return CANCELLED_FATE if state == CANCELLED else FAILED_FATE

    def _stop(self, final: list[int], now: int) -> None:
        """`on_failure: stop`: what runs ends, backing-off steps have failed, the rest is cancelled."""
        if self._mode:
            return
        self._mode = STOPPING
        for index, state in enumerate(self._state):
            if state in (READY, BACKING_OFF) and self._is_top(index):
                self._end_now(index, CANCELLED if state == READY else FAILED, now)
                final.append(index)

    def _end_calls(self, index: int, final: list[int], now: int) -> None:
        for call in self._family.calls(index):
            if not self.is_final(call):
                self._end_now(call, CANCELLED, now)
                final.append(call)

    def _end_now(self, index: int, final_state: int, now: int) -> None:
        """Take a step that is not final out of wherever it is. The caller cascades."""
        state = self._state[index]
        self._state[index] = final_state
        if state == READY:
            self._queue.remove(index)
            self._held.discard(index)
        elif state == BACKING_OFF:
            self._due.pop(index, None)
        elif state in (RUNNING, BLOCKED, RESUMING):
            attempt = self._live.pop(index)
            attempt.outcome = "cancelled"
            attempt.known = now
            if index in self._mapped:
                self._end_block(attempt, now)
            else:
                self._leave_worker(attempt, state, None, now, abandoned=True)
            self.cancelled_attempts.append(attempt)

    def _leave_worker(
        self, attempt: Attempt, state: int, tokens_used: int | None, now: int, *, abandoned: bool = False
    ) -> None:
        """An attempt is over: its slot and what it holds are free, unless its call goes on."""
        index = attempt.index
        demand = self._demand.get(index)
        if tokens_used is not None:
            attempt.tokens_used = tokens_used
            if demand is not None:
                demand.settle(tokens_used, now)
        if state == RUNNING:
            self._free += 1
        else:
            # Blocked and resuming steps hold nothing but their locks.
            self._leave_block(attempt, state, now)
            demand = None
        if abandoned:
            self._abandoned[attempt] = demand
            self._family.abandon(index)
        elif demand is not None:
            demand.release()

    def _leave_block(self, attempt: Attempt, state: int, now: int) -> None:
        index = attempt.index
        if state == BLOCKED:
            self._end_block(attempt, now)
            return
        self._resuming.remove(self._keys[index])
        self._resuming_reserved.discard(index)
        self._queue.leave_epoch(index)
        self._end_resuming(attempt, now)

    def _end_block(self, attempt: Attempt, now: int) -> None:
        since = self._blocked_since.pop(attempt.index)
        # A step may make a hundred thousand calls, one after the other.
        if isinstance(attempt.blocked, list):
            attempt.blocked.append(Interval(since, now))
        else:
            attempt.blocked = [*attempt.blocked, Interval(since, now)]

    def _end_resuming(self, attempt: Attempt, now: int) -> None:
        """Write the resuming waits into the record."""
        raise NotImplementedError

    def _note_item(self, index: int) -> None:
        """A step is final; it may be the last item of a mapped one."""
        parent = self._family.parent(index)
        left = self._items_left.pop(parent, 0)
        if left > 1:
            self._items_left[parent] = left - 1
        elif left:
            self._to_join.append(parent)

    def _start_mapped(self, now: int) -> None:
        """Ask for lists that are due, and end mapped steps whose items are final."""
        raise NotImplementedError

    # ------------------------------------------------------------------ becoming ready

    def _decide_new(self, index: int, origin: int, now: int) -> None:
        """A step that was just added has nothing left to wait for."""
        if self._decide(index, origin, now):
            self._cascade([index], origin, now)

    def _decide(self, index: int, origin: int, now: int) -> bool:
        """All data dependencies of a step are final. Returns whether the step is final with that."""
        fate = self._fate[index]
        if fate == FAILED_FATE:
            self._state[index] = SKIPPED
            return True
        if fate == CANCELLED_FATE or (self._mode and self._is_stopped(index)):
            self._state[index] = CANCELLED
            return True
        if self._conditional and index in self._conditional and self._ends_by_condition(index):
            return True
        self._state[index] = READY
        self._ready_at[index] = now
        self._released_by[index] = origin
        if self._gate is None and not self._has_locks and not self._mapped:
            self._queue.push(index, self._keys[index], self._demand.get(index) if self._demand else None, now)
        else:
            self._approach(index, now)
        return False

    def _is_stopped(self, index: int) -> bool:
        return self._mode == CANCELLING or self._is_top(index)

    def _ends_by_condition(self, index: int) -> bool:
        try:
            if self._condition is None or self._condition(index):
                return False
        except Exception as error:  # noqa: BLE001  # whatever a user's expression raises is that step's failure
            self.condition_errors[index] = error
            self._state[index] = FAILED
            return True
        self._false_condition.add(index)
        self._state[index] = SKIPPED
        return True

    def _approach(self, index: int, now: int) -> None:
        """A ready step comes to the gate and to its locks, and goes on to the queue if both let it."""
        locked = self._locks.locked(index)
        gate = self._gate
        if gate is not None and self._family.parent(index) < 0 and not gate.arrive(index, locked=locked):
            self._held.add(index)
            self._note(index, "barrier", now)
        elif locked:
            self._note(index, self._locks.reason(index), now)
        else:
            self._enqueue(index, now)

    def _open_gate(self, now: int) -> None:
        if self._gate is None:
            return
        for index in self._gate.open(self._held.__contains__):
            self._held.discard(index)
            if self._locks.locked(index):
                self._note(index, self._locks.reason(index), now)
            else:
                self._enqueue(index, now)

    def _enqueue(self, index: int, now: int) -> None:
        if index in self._mapped:
            self._to_expand.append(index)
            return
        if index in self._histories:
            self._queued_at[index] = now
        self._queue.push(index, self._keys[index], self._demand.get(index), now)

    def _note(self, index: int, reason: str, now: int) -> None:
        extend_history(self._histories.setdefault(index, []), reason, now)

    # ------------------------------------------------------------------ locks

    def _is_released(self, index: int) -> bool:
        """Whether order edges to the step are satisfied."""
        return (
            self._state[index] >= FIRST_FINAL
            and not self._family.abandoned_below(index)
            # A step that ran is not locked; one that never will is, until its own order edges are satisfied.
            and not self._locks.locked(index)
        )

    def _release_locks(self, index: int, now: int) -> None:
        """Satisfy the order edges to a step if they can be, and to those that never ran and waited only for it."""
        free = [index]
        while free:
            predecessor = free.pop()
            if not self._is_released(predecessor):
                continue
            for successor in self._locks.satisfy(predecessor):
                locked = self._locks.locked(successor)
                state = self._state[successor]
                if successor in self._held:
                    if not locked and self._gate is not None:
                        self._gate.unlock(successor)
                elif state == READY and locked:
                    self._note(successor, self._locks.reason(successor), now)
                elif state == READY:
                    self._enqueue(successor, now)
                else:
                    free.append(successor)
