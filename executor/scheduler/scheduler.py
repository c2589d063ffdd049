"""The scheduler: which step may start now. A state machine without clock, thread, I/O, span or random source.

One class, in one file, which passes 900 lines for that: its fields and the ways through them are read together.
A step is admitted (`add`), becomes ready (`_decide`, `_approach`, `_enqueue`), is granted a slot and its
limits (`start`, `_grant`), and completes (`finish`, `_settle`, `_cascade`), which decides on those that depend on it.

Rules of this module:
- The time comes in as an argument (integer nanoseconds) and never runs backwards: an earlier one counts as the latest.
- Same calls, same answers.
- What may happen to a step is in :data:`executor.scheduler.states.TRANSITIONS`. An illegal call raises
  :class:`SchedulerError` with the history of the step, and changes nothing. States are written by `_move` alone, and by
  the short ways.
- All completions of an instant come before any start: call :meth:`Scheduler.finish` for each, then
  :meth:`Scheduler.start` once.
- A step's fate is decided when all its data dependencies are final: skipped if one failed or was skipped for such a
  reason; else cancelled if one was cancelled or the run stops; else skipped if its `when` is false; else ready.
- The order of starts: resuming, reserved (in the order of their reservations), nested calls (deepest first), then
  priority, upward rank, file order. After every round of starts each waiting step has one reason, the first that
  applies; the record keeps the changes.
- A completion costs O(out-degree · log ready), plus O(distinct sets of needs that wait) where steps have needs. The
  steps that reserved are few (`ready_queue.RESERVED_AT_ONCE`). Nothing recurses: a cascade through a million steps is
  a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush

from executor.dependencies import Graph
from executor.model.workflow import Resource, Step
from executor.record.timeline import Attempt, AttemptOutcome, Interval, StepStatus, Timeline, Wait
from executor.scheduler import mapped_steps, prefetch, reuse, short_way
from executor.scheduler.admission import add_child_steps, add_graph, add_late
from executor.scheduler.backoff import retry_wait
from executor.scheduler.barriers import Policy, gate_for
from executor.scheduler.call_tree import NO_STEP, CallTree
from executor.scheduler.constrained_start import start_constrained
from executor.scheduler.errors import SchedulerError, history_of
from executor.scheduler.invariants import validate
from executor.scheduler.items import Items, NoItems
from executor.scheduler.locks import Locks, StateUse
from executor.scheduler.ready_queue import HANDED_OUT, INDEX_MASK, QUEUED, RESERVED, ReadyQueue
from executor.scheduler.resources import Demand, Limits, release_devices, take_devices
from executor.scheduler.reuse import Reuse
from executor.scheduler.states import (
    BACKING_OFF,
    BLOCK,
    BLOCKED,
    CANCEL,
    CANCELLED,
    DECIDE,
    DUE,
    EVENT_NAMES,
    FAIL,
    FAILED,
    FIRST_FINAL,
    MOVES,
    READY,
    RESUMING,
    RUNNING,
    SKIPPED,
    START,
    STATE_NAMES,
    STOP,
    SUCCEED,
    SUCCEEDED,
    UNBLOCK,
    WAITING,
    allows,
)
from executor.scheduler.wait_reasons import WaitReasons

# How far the run still goes on.
GOING, STOPPING, CANCELLING = 0, 1, 2
# What a final step means for those that depend on it; the largest counts.
NO_FATE, CANCELLED_FATE, FAILED_FATE = 0, 1, 2


class Scheduler:
    """See the head of this module. ``slots`` is the number of workers; ``condition(index)`` evaluates a step's
    ``when`` (it may raise: the step has failed then); ``items`` knows the lists of mapped steps; ``seed`` feeds the
    jitter of backoffs; ``max_depth`` limits how deep calls nest; ``reuse(index)`` says whether a step that would start
    has its result already (:mod:`executor.scheduler.reuse`).
    """

    # With more than thirty fields each look at one costs more, unless they are named here (CPython): a tenth of a step.
    __slots__ = (
        "_abandoned", "_blocked_since", "_call_tree", "_children", "_condition", "_conditional", "_data_parents",
        "_data_pending", "_demand", "_due", "_false_condition", "_fate", "_free", "_gate", "_has_calls", "_has_locks",
        "_held", "_items", "_items_left", "_keys", "_late_state_use", "_levels", "_live", "_locks", "_made", "_mapped",
        "_mode", "_now", "_order_parents", "_queue", "_ready_at", "_released_by", "_resuming", "_resuming_reserved",
        "_reuse", "_seed", "_state", "_to_expand", "_to_join", "_to_reuse", "_wait_reasons", "attempts", "cached",
        "cancelled_attempts", "condition_errors", "ended_unrun", "held", "index", "largest_slots", "limits",
        "owns_index", "plain", "policy", "rate_opens_at", "remaining", "reused", "short", "slot_changes", "slots",
        "step_ids", "steps", "timers",
    )  # fmt: skip

    # Arrays by step for what every step has; dictionaries for what few have, so that a million plain steps stay small.
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
        reuse: Callable[[int], Reuse] | None = None,
    ) -> None:
        # The workflow, and the record.
        self.policy: Policy = policy
        self.steps: list[Step] = []  # by index, as in the arrays below
        self.step_ids: list[str] = []
        self.index: dict[str, int] = {}  # of each id
        self.owns_index = False  # or it is that of a graph, which is shared until a step is added to it
        self.attempts: list[Attempt] = []  # in the order of their grants
        self.condition_errors: dict[int, Exception] = {}  # what a condition or a list raised, by step
        # The run.
        self._now = 0  # the latest time that was heard of
        self._mode = GOING  # how far the run still goes on
        self.remaining = 0  # how many steps are not final, those that may still be added included
        self.held = 0  # how many steps may still be added
        self.slots = self.largest_slots = 1 if policy == "serial" else slots  # now, and at most so far
        self.slot_changes: list[tuple[int, int]] = []  # when they became how many, once they changed
        self._free = self.slots  # slots that no step has; below zero after a `resize` to fewer
        # Whether short ways are open: `plain` with only data dependencies, slots and calls; `short`, that of an end,
        # with conditions of top-level steps and capacities, too.
        self.plain = self.short = policy in ("dataflow", "serial") and reuse is None
        self._has_locks = False  # whether any step has order edges
        self._has_calls = False  # whether any step made calls or was blocked
        # Of every step.
        self._state = bytearray()  # see `states`
        self._fate = bytearray()  # what its final dependencies mean for it
        self._data_pending: list[int] = []  # how many of its data dependencies are not final
        self._children: list[list[int]] = []  # what depends on it
        self._data_parents: list[tuple[int, ...]] = []  # what it depends on
        self._order_parents: list[Sequence[int]] = []  # what it follows on a state
        self._keys: list[int] = []  # its place in the order of starts
        self._ready_at: list[int] = []  # when it became ready, or its last attempt failed
        self._released_by: list[int] = []  # the step whose end made it ready, or NO_STEP
        self._made: list[int] = []  # how many attempts it had
        # Of steps that have it.
        self._demand: dict[int, Demand] = {}  # what it needs
        self._conditional: set[int] = set()  # those with a `when`
        self._false_condition: set[int] = set()  # those that were skipped because their `when` was false
        self._levels: dict[int, int] = {}  # its level, where the policy has a gate
        self._held: set[int] = set()  # those that the gate holds back
        self._live: dict[int, Attempt] = {}  # the attempt that runs, is blocked or resumes
        self._blocked_since: dict[int, int] = {}  # when it was blocked
        self._resuming: list[int] = []  # the keys of those that resume
        self._resuming_reserved: set[int] = set()  # those of them that reserved what they need
        self._due: dict[int, int] = {}  # when its backoff is over
        self._mapped: set[int] = set()  # those with a `for_each`
        self._to_expand: list[int] = []  # mapped steps whose list is to be asked for
        self._to_join: list[int] = []  # mapped steps whose items are final
        self._items_left: dict[int, int] = {}  # how many items of a mapped step are not final
        self.reused: set[int] = set()  # those whose result an earlier run left
        self.cached: set[int] = set()  # those of them that made the same call as a step of any run
        self._to_reuse: list[int] = []  # those that are to be asked about
        # Of the run as a whole, beside the steps.
        self.ended_unrun = False  # whether a start ended steps by reuse; the caller of `start` takes it back
        self.timers: list[tuple[int, int]] = []  # a heap of (due, step), some of which no longer count
        self.rate_opens_at: int | None = None  # when the first closed rate opens for which a step waits
        self.cancelled_attempts: list[Attempt] = []  # for the backend to stop
        self._abandoned: dict[Attempt, Demand | None] = {}  # attempts whose call goes on, and what they hold
        # What it is made of.
        self._queue = ReadyQueue()
        self.limits = Limits(resources or {})
        self._locks = Locks()
        self._late_state_use: StateUse | None = None  # by top-level steps, once one came late
        self._gate = gate_for(policy)
        self._call_tree = CallTree(max_depth)
        self._wait_reasons = WaitReasons(self._demand, self._queue.lines)
        # What comes from outside.
        self._seed = seed
        self._condition = condition
        self._reuse = reuse
        self._items: Items = NoItems(self.steps) if items is None else items

    # The short ways of plain runs, and what is handed out before its slot is free.
    succeed = short_way.succeed
    succeed_together = short_way.succeed_together
    call = short_way.call
    come_back = short_way.come_back
    hand_out = prefetch.hand_out
    take_back = prefetch.take_back
    start_handed_out = prefetch.start_handed_out
    move_grant = prefetch.move_grant
    regrant = prefetch.regrant

    # ------------------------------------------------------------------ questions

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
        """Attempts whose calls go on although no step waits for them."""
        return list(self._abandoned)

    @property
    def may_hand_out(self) -> bool:
        """Whether :meth:`hand_out` could find anything: a look that needs no lock."""
        return bool(self._queue.open_heap or self._queue.lines)

    def first_in_order(self) -> int | None:
        """The step that may start next if it needs but a slot, or one that has ended meanwhile; None: there is none.
        A look that needs no lock.
        """
        return next((key & INDEX_MASK for key in self._queue.open_heap[:1]), None)

    @property
    def has_handed_out(self) -> bool:
        """Whether any step waits for its slot where it will run."""
        return HANDED_OUT in self._queue.queued

    def is_abandoned(self, attempt: Attempt) -> bool:
        """Whether the attempt's call goes on although no step waits for it."""
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

    def statuses(self) -> list[StepStatus]:
        """The states of all steps."""
        return [STATE_NAMES[state] for state in self._state]

    def count(self, status: StepStatus) -> int:
        """How many steps are in that state. For an observer, from any thread: it looks at a byte a step."""
        return self._state.count(STATE_NAMES.index(status))

    def waits_for(self, index: int) -> str | None:
        """The reason for which a ready, resuming or backing-off step waits now, as the record will name it; None:
        it does not wait. For an observer, from any thread: the answer may be a moment old.
        """
        if self.status(index) not in ("ready", "resuming", "backing_off"):
            return None
        return self._wait_reasons.latest(index, in_line=self._queue.queued[index] == QUEUED)

    def was_false(self, index: int) -> bool:
        """Whether the step was skipped because its ``when`` was false."""
        return index in self._false_condition

    def is_mapped(self, index: int) -> bool:
        """Whether the step is done once for each item of a list."""
        return index in self._mapped

    def needs_devices(self, index: int) -> bool:
        """Whether each attempt of the step, or of a mapped one each item's, gets devices."""
        return bool(self.limits.pools and self.limits.device_parts(self.steps[index]))

    def family_calls(self, index: int) -> Sequence[int]:
        """The calls that a step made so far, in all its attempts."""
        return self._call_tree.calls(index)

    def live_attempts(self) -> list[Attempt]:
        """The attempts that run, are blocked or resume. For an observer, from any thread."""
        return list(self._live.copy().values())

    def has_run(self, index: int) -> bool:
        """Whether the step, or of a mapped one any item, had an attempt in this run."""
        if index in self._mapped:
            return any(self._made[item] for item in self._call_tree.calls(index))
        return self._made[index] > 0

    def order_parents(self, index: int) -> Sequence[int]:
        """The steps that the step follows on a state."""
        return self._order_parents[index]

    def data_parents(self, index: int) -> Sequence[int]:
        """The steps that the step depends on."""
        return self._data_parents[index]

    def caller(self, index: int) -> int:
        """The step that made the call, or -1."""
        return self._call_tree.parent(index)

    def live_attempt(self, index: int) -> Attempt | None:
        """The attempt that runs, is blocked or resumes, or None."""
        return self._live.get(index)

    def history(self, index: int) -> str:
        """What happened to a step so far, for error messages."""
        return history_of(self.step_ids[index], self.status(index), [a for a in self.attempts if a.index == index])

    def timeline(self, *, backend: str = "", startup_seconds: float = 0.0) -> Timeline:
        """The record so far. It shares lists with the scheduler."""
        resources: dict[str, Resource] = {}
        for limit in self.limits:
            resources[limit.name] = limit.resource
            if limit.largest_capacity != limit.resource.capacity or limit.adaptive is not None:
                largest = {"capacity": limit.largest_capacity, "auto": None}
                resources[limit.name] = limit.resource.model_copy(update=largest)
        resources |= {pool.kind: pool.resource for pool in self.limits.pools.values()}
        return Timeline(
            step_ids=self.step_ids,
            data_parents=self._data_parents,
            order_parents=self._order_parents,
            statuses=self.statuses(),
            attempts=self.attempts,
            workers=self.largest_slots,
            nested_in=self._call_tree.parents(len(self.steps)),
            needs=[None if index in self._mapped else step.needs for index, step in enumerate(self.steps)],
            resources=resources,
            policy=self.policy,
            backend=backend,
            startup_seconds=startup_seconds,
            capacity_changes={limit.name: limit.changes for limit in self.limits if limit.changes},
            worker_changes=self.slot_changes,
            tools=[step.tool for step in self.steps],
            reused=frozenset(self.reused),
            cached=frozenset(self.cached),
        )

    def validate(self) -> None:
        """Check every invariant from scratch. For tests: O(steps).

        Raises:
            SchedulerError: an invariant does not hold.
        """
        validate(self)

    # ------------------------------------------------------------------ state and time

    def _move(self, index: int, event: int, after: int) -> None:
        """An event changes the state of a step.

        Raises:
            SchedulerError: the table has no such transition.
        """
        states = self._state
        if after not in MOVES[event][states[index]]:
            raise SchedulerError(f"{EVENT_NAMES[event]!r} cannot lead to {STATE_NAMES[after]!r}", self.history(index))
        states[index] = after

    def _advance_to(self, now: int) -> int:
        if now < self._now:
            return self._now
        self._now = now
        return now

    def _expect(self, attempt: Attempt, event: int) -> int:
        """The index of a live attempt whose step allows ``event``.

        Raises:
            SchedulerError: it does not.
        """
        index = attempt.index
        if self._live.get(index) is not attempt or not allows(self._state[index], event):
            raise SchedulerError(
                f"cannot {EVENT_NAMES[event]} attempt {attempt.attempt} of step {attempt.step_id!r}, which is "
                f"{self.status(index)}",
                self.history(index),
            )
        return index

    def _is_top(self, index: int) -> bool:
        """Whether the step counts as one of the workflow where it fails or the run stops: items of mapped ones do."""
        parent = self._call_tree.parent(index)
        return parent < 0 or parent in self._mapped

    # ------------------------------------------------------------------ admission

    def add(self, steps: Graph | Sequence[Step], now: int, parent: str | None = None) -> list[str]:
        """Add a whole graph, or steps late, or the calls of a running step (``parent``). Returns the ids.

        Late steps name what they depend on in ``depends_on``. Calls get the ids ``<parent>/<n>``; within one batch
        they may name each other by the ids that they came with.

        Raises:
            SchedulerError: a rule is broken; nothing was added.
        """
        first = len(self.steps)
        caller = NO_STEP
        if isinstance(steps, Graph):
            if first or parent is not None:
                raise SchedulerError("a graph is added first, and once; later steps are added as steps")
            add_graph(self, steps)
        elif parent is None:
            add_late(self, steps)
        else:
            caller = add_child_steps(self, steps, parent)
        now = self._advance_to(now)
        for index in range(first, len(self.steps)):
            if self._state[index] == WAITING and not self._data_pending[index]:
                self._decide_new(index, caller, now)
        return self.step_ids[first:]

    def hold(self) -> None:
        """Further steps will come: the run is not done before :meth:`release`, or until it is cancelled."""
        self.held += 1
        self.remaining += 1

    def release(self) -> None:
        """No further steps will come. Of a run that is not held nothing changes."""
        if self.held:
            self.held -= 1
            self.remaining -= 1

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
            if slots != self.slots:
                self.slot_changes = self.slot_changes or [(0, self.slots)]
                self.slot_changes.append((self._now, slots))
            self.slots = slots
            self.largest_slots = max(self.largest_slots, slots)
        for name, capacity in (capacities or {}).items():
            self.limits.by_name[name].resize(capacity)

    # ------------------------------------------------------------------ ready: fate, gate, locks, queue

    def _decide_new(self, index: int, origin: int, now: int) -> None:
        """A step that was just added has nothing left to wait for."""
        if self._decide(index, origin, now):
            self._cascade([index], origin, now)

    def _decide(self, index: int, origin: int, now: int) -> bool:
        """All data dependencies of a step are final. Returns whether the step is final with that."""
        fate = self._fate[index]
        if fate == FAILED_FATE:
            self._move(index, DECIDE, SKIPPED)
            return True
        if fate == CANCELLED_FATE or (self._mode and self._is_stopped(index)):
            self._move(index, DECIDE, CANCELLED)
            return True
        if self._conditional and index in self._conditional and self._ends_by_condition(index):
            return True
        self._move(index, DECIDE, READY)
        self._ready_at[index] = now
        self._released_by[index] = origin
        if self._gate is None and not self._has_locks and not self._mapped and self._reuse is None:
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
            self.plain = self.short = False
            self._move(index, DECIDE, FAILED)
            return True
        self._false_condition.add(index)
        self._move(index, DECIDE, SKIPPED)
        return True

    def _approach(self, index: int, now: int) -> None:
        """A ready step comes to the gate and to its locks, and goes on to the queue if both let it."""
        locked = self._locks.locked(index)
        gate = self._gate
        if gate is not None and self._call_tree.parent(index) < 0 and not gate.arrive(index, locked=locked):
            self._held.add(index)
            self._wait_reasons.note(index, "barrier", now)
        elif locked:
            self._wait_reasons.note(index, self._locks.reason(index), now)
        else:
            self._enqueue(index, now)

    def _open_gate(self, now: int) -> None:
        if self._gate is None:
            return
        for index in self._gate.open(self._held.__contains__):
            self._held.discard(index)
            if self._locks.locked(index):
                self._wait_reasons.note(index, self._locks.reason(index), now)
            else:
                self._enqueue(index, now)

    def _enqueue(self, index: int, now: int) -> None:
        if index in self._mapped:
            self._to_expand.append(index)
        elif self._reuse is not None and not self._made[index]:
            self._to_reuse.append(index)
        else:
            self._push(index, now)

    def _push(self, index: int, now: int) -> None:
        self._wait_reasons.enters_queue(index, now)
        self._queue.push(index, self._keys[index], self._demand.get(index), now)

    def _is_released(self, index: int) -> bool:
        """Whether order edges to the step are satisfied."""
        return (
            self._state[index] >= FIRST_FINAL
            and not self._call_tree.abandoned_below(index)
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
                    self._wait_reasons.note(successor, self._locks.reason(successor), now)
                elif state == READY:
                    self._enqueue(successor, now)
                else:
                    free.append(successor)

    # ------------------------------------------------------------------ grant

    def start(self, now: int) -> list[Attempt]:
        """What starts or resumes now, in the order of starts. An attempt with ``blocked`` intervals resumes."""
        now = self._advance_to(now)
        if self.timers:
            self._end_backoffs(now)
        if self._gate is not None:
            self._open_gate(now)
        if self._mapped:
            mapped_steps.start_mapped(self, now)
        if self._to_reuse:
            reuse.end_reused(self, now)
        queue = self._queue
        if self._resuming or queue.reserved or queue.lines:
            return start_constrained(self, now)
        # Those that waited for a rate may have been cancelled since.
        self.rate_opens_at = None
        starts: list[Attempt] = []
        heap = queue.open_heap
        queued = queue.queued
        while self._free > 0 and heap:
            index = heappop(heap) & INDEX_MASK
            if queued[index] != QUEUED:
                continue
            starts.append(self._grant(index, now))
            if queue.overdue:
                return starts + start_constrained(self, now)
        return starts

    def _end_backoffs(self, now: int) -> None:
        timers = self.timers
        while timers:
            due, index = timers[0]
            # Otherwise it has ended while it backed off.
            waits = self._due.get(index) == due
            if waits and due > now:
                return
            heappop(timers)
            if waits:
                del self._due[index]
                self._move(index, DUE, READY)
                self._wait_reasons.note(index, "", due)
                self._approach(index, now)

    def _grant(self, index: int, now: int) -> Attempt:
        queue = self._queue
        was_reserved = queue.queued[index] == RESERVED
        if was_reserved:
            queue.end_reservation(index)
        queue.queued[index] = 0
        queue.granted(index)
        ready = self._ready_at[index]
        waits: str | Sequence[Wait] | None = None
        if self._demand or self._wait_reasons.own:
            waits = self._wait_reasons.take(index, ready, now, was_reserved=was_reserved)
        elif ready != now:
            waits = "worker"
        number = self._made[index] + 1
        self._made[index] = number
        released_by = self._released_by[index]
        step_ids = self.step_ids
        parent = self._call_tree.parent(index) if self._has_calls else NO_STEP
        demand = self._demand.get(index) if self._demand else None
        attempt = (Attempt if demand is None else demand.attempt_class)(
            index,
            step_ids[index],
            number,
            ready,
            now,
            None if released_by < 0 else step_ids[released_by],
            None if parent < 0 else step_ids[parent],
            waits,
        )
        self._move(index, START, RUNNING)
        self._live[index] = attempt
        self.attempts.append(attempt)
        self._free -= 1
        if demand is not None:
            self._take_needs(demand, attempt, now)
        return attempt

    @staticmethod
    def _take_needs(demand: Demand, attempt: Attempt, now: int) -> None:
        demand.hold()
        if demand.devices:
            take_devices(demand, attempt)
        demand.charge(now)
        if demand.tokens:
            attempt.tokens_reserved = demand.tokens

    # ------------------------------------------------------------------ while a step runs

    def block(self, attempt: Attempt, now: int) -> None:
        """A running step waits for its own calls: it gives back slot and limits, not locks and devices.

        Raises:
            SchedulerError: it is not running.
        """
        index = self._expect(attempt, BLOCK)
        now = self._advance_to(now)
        # The short way asks whether any step may be blocked or resume.
        self._has_calls = True
        self._move(index, BLOCK, BLOCKED)
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
        index = self._expect(attempt, UNBLOCK)
        now = self._advance_to(now)
        self._move(index, UNBLOCK, RESUMING)
        self._end_block(attempt, now)
        self._resuming.append(self._keys[index])
        self._queue.enter_epoch(index, now)

    def _end_block(self, attempt: Attempt, now: int) -> None:
        since = self._blocked_since.pop(attempt.index)
        # A step may make a hundred thousand calls, one after the other.
        if isinstance(attempt.blocked, list):
            attempt.blocked.append(Interval(since, now))
        else:
            attempt.blocked = [*attempt.blocked, Interval(since, now)]

    def _end_resuming(self, attempt: Attempt, now: int) -> None:
        """Write the resuming waits into the record."""
        for wait in self._wait_reasons.take_own(attempt.index, attempt.blocked[-1].end, now):
            attempt.add_wait(wait)

    # ------------------------------------------------------------------ completion of an attempt

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

        ``abandoned``: the call goes on although no step waits for it (a thread past its timeout); it keeps its limits
        and locks until :meth:`returned`.

        Raises:
            SchedulerError: the attempt is not the step's present one.
        """
        index = attempt.index
        state = self._state[index]
        if self._live.get(index) is not attempt or outcome == "cancelled":
            raise SchedulerError(
                f"cannot finish attempt {attempt.attempt} of step {attempt.step_id!r} as {outcome}", self.history(index)
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
            self._move(index, SUCCEED, SUCCEEDED)
            self._cascade([index], index, now)
            return "succeeded"
        self.plain = self.short = False
        self._leave_worker(attempt, state, tokens_used, now, abandoned=abandoned)
        if overloaded or outcome == "timed_out":
            self._learn(attempt, now, overloaded=True)
        wait = None
        if not (self._mode and self._is_stopped(index)):
            wait = retry_wait(
                self.steps[index],
                attempt,
                outcome,
                seed=self._seed,
                retryable=retryable,
                retry_after_seconds=retry_after_seconds,
            )
        if wait is None:
            self._move(index, FAIL, FAILED)
            self._cascade([index], index, now)
            return "failed"
        self._back_off(index, wait, now)
        return "backing_off"

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
            # Blocked and resuming steps hold nothing but their locks and devices.
            self._leave_block(attempt, state, now)
            demand = None
        if abandoned:
            self._abandoned[attempt] = demand
            self._call_tree.abandon(index)
        elif demand is not None:
            demand.release()
        if self.limits.pools and attempt.devices is not None and not abandoned:
            release_devices(self.limits, attempt)

    def _leave_block(self, attempt: Attempt, state: int, now: int) -> None:
        index = attempt.index
        if state == BLOCKED:
            self._end_block(attempt, now)
            return
        self._resuming.remove(self._keys[index])
        self._resuming_reserved.discard(index)
        self._queue.leave_epoch(index)
        self._end_resuming(attempt, now)

    def _learn(self, attempt: Attempt, now: int, *, overloaded: bool) -> None:
        demand = self._demand.get(attempt.index)
        if demand is None or not demand.adapts or (attempt.blocked and not overloaded):
            # While it was blocked it held nothing: its latency says nothing of a load.
            return
        started = attempt.granted if attempt.started is None else attempt.started
        latency = (now if attempt.ended is None else attempt.ended) - started
        expected_seconds = self.steps[attempt.index].expected_seconds
        demand.learn(attempt.granted, None if overloaded else latency, expected_seconds, now)

    def _back_off(self, index: int, wait: int, now: int) -> None:
        self._move(index, FAIL, BACKING_OFF)
        # The calls of the failed attempt end with it; what they bring about is decided at once.
        final: list[int] = []
        self._end_calls(index, final, now)
        self._cascade(final, index, now)
        self._due[index] = now + wait
        self._ready_at[index] = now
        self._wait_reasons.own[index] = [(now, "backoff")]
        if not self._call_tree.abandoned_below(index):
            heappush(self.timers, (now + wait, index))

    def returned(self, attempt: Attempt, now: int) -> None:
        """An abandoned or cancelled call has really come to its end: what it held is free.

        Raises:
            SchedulerError: the attempt was not abandoned.
        """
        if attempt not in self._abandoned:
            raise SchedulerError(f"step {attempt.step_id!r} was not abandoned", self.history(attempt.index))
        now = self._advance_to(now)
        demand = self._abandoned.pop(attempt)
        if demand is not None:
            demand.release()
        release_devices(self.limits, attempt)
        for index in self._call_tree.return_abandoned(attempt.index):
            if self._state[index] == BACKING_OFF:
                self._due[index] = max(self._due[index], now)
                heappush(self.timers, (self._due[index], index))
            elif self.is_final(index):
                self._release_locks(index, now)

    # ------------------------------------------------------------------ completion of a step, and what follows from it

    def _cascade(self, final: list[int], origin: int, now: int) -> None:
        """Steps became final: decide the fate of those that depend on them, and so on. ``origin`` ended first."""
        pending = self._data_pending
        while final:
            index = final.pop()
            self.remaining -= 1
            state = self._state[index]
            if state != SUCCEEDED:
                self._after_bad_end(index, state, final, now)
            if self._gate is not None and self._call_tree.parent(index) < 0:
                self._gate.leave(index)
            if self._has_calls:
                self._end_calls(index, final, now)
            if self._items_left:
                mapped_steps.note_item(self, index)
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

    def _end_calls(self, index: int, final: list[int], now: int) -> None:
        for call in self._call_tree.calls(index):
            if not self.is_final(call):
                self._end_now(call, CANCEL, CANCELLED, now)
                final.append(call)

    # ------------------------------------------------------------------ stop and cancel

    def _stop(self, final: list[int], now: int) -> None:
        """`on_failure: stop`: what runs ends, backing-off steps have failed, the rest is cancelled."""
        if self._mode:
            return
        self._mode = STOPPING
        for index, state in enumerate(self._state):
            if state in (READY, BACKING_OFF) and self._is_top(index):
                self._end_now(index, STOP, CANCELLED if state == READY else FAILED, now)
                final.append(index)

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
        self.plain = self.short = False
        if step_ids is None:
            self._mode = CANCELLING
            while self.held:
                self.release()
            chosen = [index for index, state in enumerate(self._state) if state != WAITING]
        else:
            chosen = [self.index[step_id] for step_id in step_ids]
        for index in chosen:
            if not self.is_final(index):
                self._end_now(index, CANCEL, CANCELLED, now)
                self._cascade([index], index, now)

    def give_up(self, now: int) -> None:
        """End a run in which nothing can move: backing-off steps have failed, the rest is cancelled."""
        now = self._advance_to(now)
        self._mode = CANCELLING
        for index in [index for index, state in enumerate(self._state) if state == BACKING_OFF]:
            self._end_now(index, STOP, FAILED, now)
            self._cascade([index], index, now)
        self.cancel(now)

    def take_cancelled(self) -> list[Attempt]:
        """The running attempts that were cancelled since the last call, for the backend to stop."""
        cancelled, self.cancelled_attempts = self.cancelled_attempts, []
        return cancelled

    def _end_now(self, index: int, event: int, final_state: int, now: int) -> None:
        """Take a step that is not final out of wherever it is. The caller cascades."""
        state = self._state[index]
        self._move(index, event, final_state)
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
