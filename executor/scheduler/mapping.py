"""Mapped steps: one step of a workflow, done once for each item of a list that is known when it is ready.

A mapped step is a join: it holds neither slot nor limits. When it would start, the list is asked for, its items come in
as calls below it, and it is blocked until the last of them is final.

Rules of this module:
- An item has what its step has: tool, needs, retry, timeout, states, priority, rank. In the order of starts, where a
  run stops, and in what its failure means, it counts as a step of the workflow that was added late.
- Lists are made, and outputs put together, by whoever runs the steps (:class:`executor.scheduler.items.Items`); here
  are numbers alone.
- It ends at the instant at which its last item is final: failed if an item failed, else cancelled if one was cancelled.
- Lists are asked for, and ends are noted, after all completions of an instant and before anything starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from executor.model.workflow import Resource, Step, max_parallel_resource
from executor.record.timeline import Attempt
from executor.scheduler.intake import Intake, NewStep
from executor.scheduler.queue import INDEX_BITS, INDEX_MASK, waits_of
from executor.scheduler.states import BLOCKED, CANCELLED, FAILED, READY, SUCCEEDED


class Mapped(Intake):
    """What happens to mapped steps instead of a start and an end."""

    def _start_mapped(self, now: int) -> None:
        # An empty list, or a failure, may make other mapped steps ready, or end them.
        while self._to_expand or self._to_join:
            joining, self._to_join = self._to_join, []
            expanding, self._to_expand = self._to_expand, []
            for index in sorted(joining):
                if self._state[index] == BLOCKED:
                    self._join(index, now)
            for key in sorted(self._keys[index] for index in expanding):
                index = key & INDEX_MASK
                if self._state[index] == READY:
                    self._expand(index, now)
            self._open_gate(now)

    def _expand(self, index: int, now: int) -> None:
        items = self._items
        history = self._histories.pop(index, None)
        try:
            count = items.count(index)
        except Exception as error:  # noqa: BLE001  # whatever a user's expression raises is that step's failure
            self.condition_errors[index] = error
            self._settle(index, FAILED, now)
            return
        attempt = self._begin(index, history, now)
        first = len(self.steps)
        if count:
            self._items_left[index] = count
            self._state[index] = BLOCKED
            self._blocked_since[index] = now
            self._live[index] = attempt
            self._add_items(index, count)
        items.began(attempt, range(first, first + count))
        if not count:
            self._end_mapped(attempt, SUCCEEDED, now)
            return
        for item in range(first, first + count):
            self._decide_new(item, index, now)

    def _begin(self, index: int, history: Sequence[tuple[int, str]] | None, now: int) -> Attempt:
        ready, released_by = self._ready_at[index], self._released_by[index]
        attempt = Attempt(
            index,
            self.step_ids[index],
            1,
            ready,
            now,
            None if released_by < 0 else self.step_ids[released_by],
            None,
            waits_of(history, ready, now) if history else None,
        )
        attempt.started = now
        self._made[index] = 1
        self.attempts.append(attempt)
        return attempt

    def _add_items(self, index: int, count: int) -> None:
        step = self._item_of(index)
        rank = self._keys[index] >> INDEX_BITS << INDEX_BITS
        first = len(self.steps)
        for place, step_id in enumerate(self._family.new_ids(index, self.step_ids[index], count, self.index), first):
            self._append(NewStep(step, step_id, (), self._family.add_call(index, place, step)), rank | place)
        self._has_calls = True

    def _item_of(self, index: int) -> Step:
        """What is done for each item. All items share it: what differs is known to who runs them."""
        step = self.steps[index]
        needs = dict(step.needs or {})
        if step.max_parallel is not None:
            name = max_parallel_resource(step.step_id)
            self.limits.declare(name, Resource(capacity=step.max_parallel))
            needs[name] = 1
        alone = {"for_each": None, "max_parallel": None, "expected_items": None, "when": None, "depends_on": ()}
        return step.model_copy(update={**alone, "needs": needs or None, "parallel_group": None})

    def _join(self, index: int, now: int) -> None:
        states = {self._state[item] for item in self._family.calls(index)}
        state = FAILED if FAILED in states else CANCELLED if CANCELLED in states else SUCCEEDED
        self._end_mapped(self._live.pop(index), state, now)

    def _end_mapped(self, attempt: Attempt, state: int, now: int) -> None:
        index = attempt.index
        if index in self._blocked_since:
            self._end_block(attempt, now)
        attempt.ended = attempt.known = now
        attempt.outcome = "succeeded" if state == SUCCEEDED else "failed" if state == FAILED else "cancelled"
        self._items.ended(attempt, self._family.calls(index))
        self._settle(index, state, now)
