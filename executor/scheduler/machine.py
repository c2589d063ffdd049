"""The scheduler: which step may start now. A state machine without clock, thread, I/O, span or random source.

Rules of this module:
- The time comes in as an argument (integer nanoseconds) and never runs backwards: an earlier one counts as the latest.
- Same calls, same answers.
- What may happen to a step stands in :data:`executor.scheduler.states.TRANSITIONS`. An illegal call raises
  :class:`SchedulerError` with the step's story and changes nothing.
- All completions of an instant come before any start: call :meth:`Scheduler.finish` for each, then
  :meth:`Scheduler.start` once.
- A completion costs O(out-degree · log ready), plus O(distinct sets of needs that wait) where steps have needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappush

from executor.record.timeline import Attempt, AttemptOutcome, StepStatus
from executor.scheduler.ahead import Ahead
from executor.scheduler.backoff import backoff_nanoseconds
from executor.scheduler.core import CANCELLING
from executor.scheduler.fast_calls import FastCalls
from executor.scheduler.mapping import Mapped
from executor.scheduler.states import BACKING_OFF, BLOCKED, FAILED, RESUMING, RUNNING, SUCCEEDED, WAITING
from executor.scheduler.states import CANCELLED as CANCELLED_STATE
from executor.scheduler.story import SchedulerError
from executor.scheduler.validation import validate

# Attempts that a step without a `retry` gets when its worker dies: the step is not to blame.
WORKER_DEATH_ATTEMPTS = 3


class Scheduler(Ahead, Mapped, FastCalls):
    """See the head of this module. ``slots`` is the number of workers; ``condition(index)`` evaluates a step's
    ``when`` (it may raise: the step has failed then); ``items`` knows the lists of mapped steps; ``seed`` feeds the
    jitter of backoffs.
    """

    def finish(
        self,
        attempt: Attempt,
        outcome: AttemptOutcome,
        now: int,
        *,
        retryable: bool = True,
        retry_after_seconds: float | None = None,
        tokens_used: int | None = None,
        abandoned: bool = False,
        overloaded: bool = False,
    ) -> StepStatus:
        """An attempt came to an end. Returns the step's state after it.

        ``overloaded``: it failed because too much was asked of a service at once (a timeout says so, too): where the
        capacity of a resource is found out, that counts.

        ``abandoned``: the call goes on although nobody waits for it (a thread past its timeout); it keeps its limits
        and locks until :meth:`returned`.

        Raises:
            SchedulerError: the attempt is not the step's present one.
        """
        index = attempt.index
        state = self._state[index]
        if self._live.get(index) is not attempt or outcome == "cancelled":
            raise SchedulerError(
                f"cannot finish attempt {attempt.attempt} of step {attempt.step_id!r} as {outcome}", self.story(index)
            )
        now = self._advance_to(now)
        del self._live[index]
        attempt.outcome = outcome
        attempt.known = now
        if outcome == "succeeded":
            if state == RUNNING and not self._demand:
                self._free += 1
                attempt.tokens_used = tokens_used
            else:
                self._leave_worker(attempt, state, tokens_used, now)
                self._learn(attempt, now, overloaded=False)
            self._settle(index, SUCCEEDED, now)
            return "succeeded"
        self.plain = False
        self._leave_worker(attempt, state, tokens_used, now, abandoned=abandoned)
        if overloaded or outcome == "timed_out":
            self._learn(attempt, now, overloaded=True)
        wait = self._retry_wait(attempt, outcome, retryable=retryable, retry_after_seconds=retry_after_seconds)
        if wait is None:
            self._settle(index, FAILED, now)
            return "failed"
        self._back_off(index, wait, now)
        return "backing_off"

    def _learn(self, attempt: Attempt, now: int, *, overloaded: bool) -> None:
        demand = self._demand.get(attempt.index)
        if demand is None or not demand.adapts or (attempt.blocked and not overloaded):
            # While it was blocked it held nothing: its latency says nothing of a load.
            return
        started = attempt.granted if attempt.started is None else attempt.started
        latency = (now if attempt.ended is None else attempt.ended) - started
        expected_seconds = self.steps[attempt.index].expected_seconds
        demand.learn(attempt.granted, None if overloaded else latency, expected_seconds, now)

    def _retry_wait(
        self, attempt: Attempt, outcome: AttemptOutcome, *, retryable: bool, retry_after_seconds: float | None
    ) -> int | None:
        """Nanoseconds until the next attempt, or None if there is none."""
        index = attempt.index
        if self._mode and self._is_stopped(index):
            return None
        step = self.steps[index]
        retry = step.retry
        died = outcome == "worker_died"
        if died:
            if step.idempotent is False:
                return None
            most = WORKER_DEATH_ATTEMPTS if retry is None else retry.max_attempts
        else:
            most = 1 if retry is None or not retryable else retry.max_attempts
        if attempt.attempt >= most:
            return None
        if retry is None:
            return 0
        return backoff_nanoseconds(retry, self._seed, attempt.step_id, attempt.attempt, retry_after_seconds)

    def _back_off(self, index: int, wait: int, now: int) -> None:
        self._state[index] = BACKING_OFF
        # The calls of the failed attempt end with it; what they bring about is decided at once.
        final: list[int] = []
        self._end_calls(index, final, now)
        self._cascade(final, index, now)
        self._due[index] = now + wait
        self._ready_at[index] = now
        self._histories[index] = [(now, "backoff")]
        if not self._family.abandoned_below(index):
            heappush(self.timers, (now + wait, index))

    def returned(self, attempt: Attempt, now: int) -> None:
        """An abandoned or cancelled call has really come to its end: what it held is free.

        Raises:
            SchedulerError: the attempt was not abandoned.
        """
        if attempt not in self._abandoned:
            raise SchedulerError(f"step {attempt.step_id!r} was not abandoned", self.story(attempt.index))
        now = self._advance_to(now)
        demand = self._abandoned.pop(attempt)
        if demand is not None:
            demand.release()
        for index in self._family.return_abandoned(attempt.index):
            if self._state[index] == BACKING_OFF:
                self._due[index] = max(self._due[index], now)
                heappush(self.timers, (self._due[index], index))
            elif self.is_final(index):
                self._release_locks(index, now)

    def block(self, attempt: Attempt, now: int) -> None:
        """A running step waits for its own calls: it gives back slot and limits, not locks.

        Raises:
            SchedulerError: it is not running.
        """
        index = self._expect(attempt, "block")
        now = self._advance_to(now)
        # The short way asks whether anybody may be blocked or resume.
        self._has_calls = True
        self._state[index] = BLOCKED
        self._blocked_since[index] = now
        self._free += 1
        demand = self._demand.get(index)
        if demand is not None:
            demand.release()

    def unblock(self, attempt: Attempt, now: int) -> None:
        """The calls are done; the step resumes when slot and limits are granted again.

        Raises:
            SchedulerError: it is not blocked.
        """
        index = self._expect(attempt, "unblock")
        now = self._advance_to(now)
        self._state[index] = RESUMING
        self._end_block(attempt, now)
        self._resuming.append(self._keys[index])
        self._queue.enter_epoch(index, now)

    def cancel(self, now: int, step_ids: Sequence[str] | None = None) -> None:
        """Cancel everything, or the named steps with their calls. Attempts that run are handed out by
        :meth:`take_cancelled`; each holds its limits and locks until :meth:`returned`. Final steps stay as they are.

        Raises:
            SchedulerError: an id is unknown.
        """
        unknown = [step_id for step_id in step_ids or () if step_id not in self.index]
        if unknown:
            raise SchedulerError(f"cannot cancel unknown steps {', '.join(map(repr, unknown))}")
        now = self._advance_to(now)
        self.plain = False
        if step_ids is None:
            self._mode = CANCELLING
            while self.held:
                self.release()
            chosen = [index for index, state in enumerate(self._state) if state != WAITING]
        else:
            chosen = [self.index[step_id] for step_id in step_ids]
        for index in chosen:
            if not self.is_final(index):
                self._end_now(index, CANCELLED_STATE, now)
                self._cascade([index], index, now)

    def give_up(self, now: int) -> None:
        """End a run in which nothing can move: backing-off steps have failed, the rest is cancelled."""
        now = self._advance_to(now)
        self._mode = CANCELLING
        for index in [index for index, state in enumerate(self._state) if state == BACKING_OFF]:
            self._end_now(index, FAILED, now)
            self._cascade([index], index, now)
        self.cancel(now)

    def resize(self, now: int, slots: int | None = None, capacities: Mapping[str, int] | None = None) -> None:
        """Change the number of workers or the capacity of resources. What runs goes on.

        Raises:
            SchedulerError: a resource is unknown or has no capacity.
        """
        for name in capacities or ():
            limit = self.limits.by_name.get(name)
            if limit is None or limit.capacity is None:
                raise SchedulerError(f"the resource {name!r} has no capacity to change")
        self._advance_to(now)
        if slots is not None and self.policy != "serial":
            self._free += slots - self.slots
            self.slots = slots
            self.largest_slots = max(self.largest_slots, slots)
        for name, capacity in (capacities or {}).items():
            self.limits.by_name[name].resize(capacity)

    def take_cancelled(self) -> list[Attempt]:
        """The running attempts that were cancelled since the last call, for the backend to stop."""
        cancelled, self.cancelled_attempts = self.cancelled_attempts, []
        return cancelled

    def validate(self) -> None:
        """Check every invariant from scratch. For tests: O(steps).

        Raises:
            SchedulerError: an invariant does not hold.
        """
        validate(self)
