"""What the scheduler knows of every step, and the questions that it answers without changing anything.

Arrays by step for what every step has; dictionaries for what few have, so that a million plain steps stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from executor.model.workflow import Resource, Step
from executor.record.timeline import Attempt, StepStatus, Timeline
from executor.scheduler.barriers import Policy, gate_for
from executor.scheduler.family import Family
from executor.scheduler.items import Items, NoItems
from executor.scheduler.locks import Locks, StateUse
from executor.scheduler.queue import INDEX_MASK, QUEUED, ReadyQueue
from executor.scheduler.resources import Demand, Limits
from executor.scheduler.states import FIRST_FINAL, STATE_NAMES, allows
from executor.scheduler.story import SchedulerError, story_of

# How far the run still goes on.
GOING, STOPPING, CANCELLING = 0, 1, 2


class Core:
    """The fields of :class:`executor.scheduler.Scheduler`."""

    def __init__(
        self,
        slots: int,
        *,
        policy: Policy = "dataflow",
        resources: Mapping[str, Resource] | None = None,
        seed: int = 0,
        condition: Callable[[int], bool] | None = None,
        items: Items | None = None,
        max_depth: int = 32,
    ) -> None:
        self.policy: Policy = policy
        self.steps: list[Step] = []
        self.step_ids: list[str] = []
        self.index: dict[str, int] = {}
        self.attempts: list[Attempt] = []
        self.condition_errors: dict[int, Exception] = {}
        self.slots = self.largest_slots = 1 if policy == "serial" else slots
        self.limits = Limits(resources or {})
        # Nothing but data dependencies, slots and calls so far: the short ways of `fast` and `fast_calls` may be taken.
        self.plain = policy in ("dataflow", "serial")
        self._seed = seed
        self._condition = condition
        self._items: Items = NoItems(self.steps) if items is None else items
        self._now = 0
        self._mode = GOING
        self._free = self.slots
        self.remaining = 0
        # Of those the ones that stand for steps that may still arrive.
        self.held = 0
        # By step.
        self._state = bytearray()
        self._fate = bytearray()
        self._data_pending: list[int] = []
        self._children: list[list[int]] = []
        self._data_parents: list[tuple[int, ...]] = []
        self._order_parents: list[Sequence[int]] = []
        self._keys: list[int] = []
        self._ready_at: list[int] = []
        self._released_by: list[int] = []
        self._made: list[int] = []
        # Of the few steps that have it.
        self._demand: dict[int, Demand] = {}
        self._live: dict[int, Attempt] = {}
        self._conditional: set[int] = set()
        self._false_condition: set[int] = set()
        self._levels: dict[int, int] = {}
        # Why a step waits, where that is its own story and not its line's; `_queued_at`: until when.
        self._histories: dict[int, list[tuple[int, str]]] = {}
        self._queued_at: dict[int, int] = {}
        self._held: set[int] = set()
        self._blocked_since: dict[int, int] = {}
        self._resuming: list[int] = []
        self._resuming_reserved: set[int] = set()
        self._due: dict[int, int] = {}
        self.timers: list[tuple[int, int]] = []
        self.rate_opens_at: int | None = None
        self.cancelled_attempts: list[Attempt] = []
        # Attempts whose call goes on although the scheduler is done with them, and what they hold.
        self._abandoned: dict[Attempt, Demand | None] = {}
        self._queue = ReadyQueue()
        self._locks = Locks()
        self._has_locks = False
        self._late_state_use: StateUse | None = None
        self._gate = gate_for(policy)
        self._family = Family(max_depth)
        self._has_calls = False
        # Steps with `for_each`: those that are due now, and how many items of each are not final.
        self._mapped: set[int] = set()
        self._to_expand: list[int] = []
        self._to_join: list[int] = []
        self._items_left: dict[int, int] = {}

    @property
    def done(self) -> bool:
        """Every step is final."""
        return self.remaining == 0

    @property
    def stalled(self) -> bool:
        """Not done, and nothing will happen by itself: only abandoned calls could move it on. Ask after `start`."""
        waiting = sum(index in self._mapped for index in self._live) if self._mapped else 0
        return bool(self.remaining and not self.held and len(self._live) == waiting and self.wake_at() is None)

    @property
    def running(self) -> int:
        """How many workers are taken."""
        return self.slots - self._free

    @property
    def resuming(self) -> list[int]:
        """The steps whose calls are done and that wait for slot and limits."""
        return [key & INDEX_MASK for key in self._resuming]

    @property
    def abandoned(self) -> list[Attempt]:
        """Attempts whose calls go on although nobody waits for them."""
        return list(self._abandoned)

    def is_abandoned(self, attempt: Attempt) -> bool:
        """Whether the attempt's call goes on although nobody waits for it."""
        return attempt in self._abandoned

    def wake_at(self) -> int | None:
        """When to call `start` again although nothing completes (backoffs, rates); None: no need."""
        due = self.timers[0][0] if self.timers else None
        opens = self.rate_opens_at
        if due is None or opens is None:
            return opens if due is None else due
        return min(due, opens)

    def is_final(self, index: int) -> bool:
        """Whether a step will change no more."""
        return self._state[index] >= FIRST_FINAL

    def status(self, index: int) -> StepStatus:
        """The state of a step."""
        return STATE_NAMES[self._state[index]]

    def waits_for(self, index: int) -> str | None:
        """The reason for which a ready, resuming or backing-off step waits now, as the record will name it; None:
        it does not wait. For whoever watches, from any thread: the answer may be a moment old.
        """
        if self.status(index) not in ("ready", "resuming", "backing_off"):
            return None
        if self._queue.queued[index] == QUEUED:
            demand = self._demand.get(index)
            line = None if demand is None else self._queue.lines.get(demand)
            history = None if line is None else line.history
        else:
            history = self._histories.get(index)
        # A slice: the list may shrink between a question and an index.
        return next((reason for _, reason in (history or ())[-1:]), "") or "worker"

    def statuses(self) -> list[StepStatus]:
        """The states of all steps."""
        return [STATE_NAMES[state] for state in self._state]

    def count(self, status: StepStatus) -> int:
        """How many steps are in that state. For whoever watches, from any thread: it looks at a byte a step."""
        return self._state.count(STATE_NAMES.index(status))

    def was_false(self, index: int) -> bool:
        """Whether the step was skipped because its ``when`` was false."""
        return index in self._false_condition

    def is_mapped(self, index: int) -> bool:
        """Whether the step is done once for each item of a list."""
        return index in self._mapped

    def family_calls(self, index: int) -> Sequence[int]:
        """The calls that a step made so far, in all its attempts."""
        return self._family.calls(index)

    def live_attempt(self, index: int) -> Attempt | None:
        """The attempt that runs, is blocked or resumes, or None."""
        return self._live.get(index)

    def story(self, index: int) -> str:
        """What happened to a step so far, for error messages."""
        return story_of(self.step_ids[index], self.status(index), [a for a in self.attempts if a.index == index])

    def timeline(self, *, backend: str = "", startup_seconds: float = 0.0) -> Timeline:
        """The record so far. It shares lists with the scheduler."""
        resources: dict[str, Resource] = {}
        for limit in self.limits:
            resources[limit.name] = limit.resource
            if limit.largest_capacity != limit.resource.capacity or limit.adaptive is not None:
                largest = {"capacity": limit.largest_capacity, "auto": None}
                resources[limit.name] = limit.resource.model_copy(update=largest)
        return Timeline(
            step_ids=self.step_ids,
            data_parents=self._data_parents,
            order_parents=self._order_parents,
            statuses=self.statuses(),
            attempts=self.attempts,
            workers=self.largest_slots,
            nested_in=self._family.parents(len(self.steps)),
            needs=[None if index in self._mapped else step.needs for index, step in enumerate(self.steps)],
            resources=resources,
            policy=self.policy,
            backend=backend,
            startup_seconds=startup_seconds,
            capacity_changes={limit.name: limit.changes for limit in self.limits if limit.changes},
        )

    def _is_top(self, index: int) -> bool:
        """Whether the step counts as one of the workflow where it fails or the run stops: items of mapped ones do."""
        parent = self._family.parent(index)
        return parent < 0 or parent in self._mapped

    def _advance_to(self, now: int) -> int:
        self._now = max(self._now, now)
        return self._now

    def _expect(self, attempt: Attempt, event: str) -> int:
        """The index of a live attempt whose step allows ``event``.

        Raises:
            SchedulerError: it does not.
        """
        index = attempt.index
        if self._live.get(index) is not attempt or not allows(self._state[index], event):
            raise SchedulerError(
                f"cannot {event} attempt {attempt.attempt} of step {attempt.step_id!r}, which is {self.status(index)}",
                self.story(index),
            )
        return index
