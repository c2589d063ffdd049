"""The short way for a single call that its step waits for: it takes the slot that the step gives back, and gives it
back to the step.

Code that calls tools one after the other does little else. Where nothing stands between, the scheduler says each time
the same, and the general way to it costs more than the call.

Rules of this module:
- It does exactly what `add`, `block` and `start` do for a call, and `finish`, `unblock` and `start` for its end; a
  property test holds them equal.
- It is taken only where that is certain beforehand: :attr:`Core.plain` is True, and nobody else would start or resume.
"""

from __future__ import annotations

from executor.model.workflow import Step
from executor.record.timeline import NANOSECONDS, Attempt
from executor.scheduler.fast import Fast
from executor.scheduler.queue import start_key
from executor.scheduler.states import BLOCKED, READY, RESUMING, RUNNING, SUCCEEDED


class FastCalls(Fast):
    """``call`` and ``come_back``."""

    def call(self, caller: Attempt, step: Step, now: int) -> Attempt | None:
        """Add a call, block ``caller``, start the call: its attempt. None: not a plain case, nothing was changed."""
        parent = caller.index
        queue = self._queue
        if not self.plain or self._resuming or queue.reserved or queue.may_be_overdue() or self._free < 0:
            return None
        if self._live.get(parent) is not caller or self._state[parent] != RUNNING:
            return None
        if (
            step.needs
            or step.depends_on
            or step.reads
            or step.writes
            or step.when is not None
            or step.for_each is not None
        ):
            return None
        family, step_ids = self._family, self.step_ids
        index = len(step_ids)
        expected_seconds = step.expected_seconds
        rank = NANOSECONDS if expected_seconds is None else round(expected_seconds * NANOSECONDS)
        key = start_key(index, step, rank, family.depth(parent) + 1)
        first = queue.head(queue.open_heap)
        if first is not None and (self._free or first < key):
            return None
        step_id = family.add_plain_call(parent, caller.step_id, index, self.index)
        if step_id is None:
            return None
        now = self._advance_to(now)
        self._has_calls = True
        self._add_running_call(step, step_id, key, parent, now)
        queue.pass_through(index, now)
        # The slot of the one is that of the other.
        self._state[parent] = BLOCKED
        self._blocked_since[parent] = now
        attempt = Attempt(index, step_id, 1, now, now, caller.step_id, caller.step_id)
        self._live[index] = attempt
        self.attempts.append(attempt)
        return attempt

    def _add_running_call(self, step: Step, step_id: str, key: int, parent: int, now: int) -> None:
        index = len(self.step_ids)
        self.steps.append(step)
        self.step_ids.append(step_id)
        self.index[step_id] = index
        self._state.append(READY)
        self._state[index] = RUNNING
        self._fate.append(0)
        self._data_pending.append(0)
        self._children.append([])
        self._data_parents.append(())
        self._order_parents.append(())
        self._keys.append(key)
        self._ready_at.append(now)
        self._released_by.append(parent)
        self._made.append(1)
        self._queue.grow_by_one()
        self.remaining += 1

    def come_back(self, attempt: Attempt, caller: Attempt, now: int) -> bool:
        """Finish ``attempt``, the last call that ``caller`` waits for, as succeeded, and let the caller resume. False:
        not a plain case, nothing was changed.
        """
        index, parent = attempt.index, caller.index
        queue, state, live = self._queue, self._state, self._live
        if not self.plain or self._resuming or queue.reserved or queue.may_be_overdue() or self._free < 0:
            return False
        if live.get(index) is not attempt or state[index] != RUNNING:
            return False
        if live.get(parent) is not caller or state[parent] != BLOCKED:
            return False
        if self._children[index] or self._family.has_calls(index):
            return False
        if self._free and queue.head(queue.open_heap) is not None:
            return False
        now = self._advance_to(now)
        del live[index]
        attempt.outcome = "succeeded"
        attempt.known = now
        state[index] = SUCCEEDED
        self.remaining -= 1
        state[parent] = RESUMING
        self._end_block(caller, now)
        queue.pass_through(parent, now)
        state[parent] = RUNNING
        return True
