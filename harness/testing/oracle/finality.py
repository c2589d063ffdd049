"""When every step became final, and what that allows: the part of the oracle that the properties share.

Rules of this module:
- Where a record leaves a time open (a step that never ran says nothing), both the earliest and the latest possible
  time are kept. "Too early" is judged by the earliest, "needlessly late" by the latest: neither is a false alarm.
- A state that follows from others is judged by the reported states of those others, so one fault is one violation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from harness.testing.oracle.events import FAILURES, NEVER, START, Key, Record, Try
from harness.testing.oracle.plain_graph import PlainGraph, PlainStep


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a run broke: the property's name, a message, and the steps and the instant that it is about."""

    property: str
    message: str
    steps: tuple[str, ...] = ()
    time_ns: int | None = None

    def __str__(self) -> str:
        return f"{self.property}: {self.message}"


@dataclass(frozen=True, slots=True)
class Options:
    """How strictly a record is judged. ``exact``: times are those of a virtual clock, so nothing is ever late.

    ``handed_out_ahead``: steps are given to workers before these are free, so a slot is used from started to ended.
    ``unretryable``: attempts (step id, number) whose failure no other attempt can help.
    ``unlisted_cancellations``: anything, or any call, may have been cancelled without an event.
    ``reasons``: the reasons of waits are judged. ``tolerance_ns``: how far two clocks of a real run may lie apart.
    """

    exact: bool = False
    handed_out_ahead: bool = False
    unretryable: frozenset[tuple[str, int]] = frozenset()
    unlisted_cancellations: bool | Literal["calls"] = False
    tolerance_ns: int = 0
    reasons: bool = False
    outcomes: Callable[[str, int], str | None] | None = None


class View:
    """A record with everything derived from it.

    By step: the ``earliest`` and ``latest`` time at which it was final, and those at which its fate was ``decided``.
    ``locks``: when each of its order edges was satisfied, with the edge's state (absent: it has none).
    """

    def __init__(self, graph: PlainGraph, record: Record, options: Options) -> None:
        self.graph = graph
        self.record = record
        self.options = options
        self.earliest: dict[str, Key] = {}
        self.latest: dict[str, Key] = {}
        self.order_earliest: dict[str, Key] = dict.fromkeys(graph.by_id, START)
        self.order_latest: dict[str, Key] = dict.fromkeys(graph.by_id, START)
        self.decided: dict[str, tuple[Key, Key]] = {}
        self.locks: dict[str, list[tuple[str, Key, Key]]] = {}
        # Steps that failed or were skipped because another did, those skipped for that reason, and cancelled ones.
        self.spoilers: set[str] = set()
        self.failed_skips: set[str] = set()
        self.cancelled: set[str] = set()
        self.statuses: dict[str, str | None] = {}
        self.slots = 1 if graph.policy == "serial" else graph.workers
        self.stop: Key | None = None
        self._cancelled_at: dict[str, list[int]] = {}
        # The batches of `barrier`, once they were replayed (see oracle_policies).
        self.batches: tuple[dict[str, Key], list[Violation]] | None = None
        self._spread_cancels()
        self.stop = self._stopped_at()
        for step in graph.topological:
            self._settle(step)

    # ---- states -------------------------------------------------------------------------------------------------

    def _spread_cancels(self) -> None:
        """A cancellation reaches everything not final that depends on it or was called by it."""
        record, graph = self.record, self.graph
        for time, step_id in record.cancels:
            if step_id is None:
                reached = set(graph.by_id)
            else:
                reached = {step_id, *graph.descendants(step_id)}
                for step in graph.topological:
                    caller = step.parent is not None and step.parent in reached
                    if step.step_id not in reached and (caller or any(other in reached for other in step.data)):
                        reached.add(step.step_id)
            for other in reached:
                tries = record.by_step.get(other)
                if not tries or tries[-1].known >= time or tries[-1].outcome in FAILURES:
                    self._cancelled_at.setdefault(other, []).append(time)

    def cancel_times(self, step: PlainStep) -> list[int]:
        """When a request, or the death of its caller, may have cancelled the step."""
        times = list(self._cancelled_at.get(step.step_id, ()))
        if step.parent is not None:
            tries = self.record.by_step.get(step.parent, ())
            since = self.added(step) or 0
            times += [one.known for one in tries if one.outcome != "succeeded" and one.known >= since]
        unlisted = self.options.unlisted_cancellations
        if unlisted and (unlisted != "calls" or step.parent is not None):
            times.append(0)
        return times

    def attempts_used_up(self, step: PlainStep, tries: Sequence[Try]) -> bool:
        """Whether a failed last attempt ends the step without anything else having happened."""
        last = tries[-1]
        if last.outcome == "worker_died" and not step.idempotent:
            return True
        return last.number >= step.retry.limit(last.outcome) or (step.step_id, last.number) in self.options.unretryable

    def _stopped_at(self) -> Key | None:
        """When a step with ``on_failure: stop`` failed, and so the run stopped."""
        ended: dict[bool, list[Key]] = {True: [], False: []}
        for step in self.graph.steps:
            tries = self.record.by_step.get(step.step_id) if step.stops else None
            if tries and tries[-1].outcome in FAILURES and self.record.status(step.step_id) in ("failed", None):
                ended[self.attempts_used_up(step, tries)].append(tries[-1].known_key)
        # One with attempts left was itself failed by a stop, or else gave up early and stopped the run.
        return min(ended[True] or ended[False], default=None)

    def _settle(self, step: PlainStep) -> None:
        """Fill in when the step became final."""
        step_id = step.step_id
        tries = self.record.by_step.get(step_id)
        status = self.record.status(step_id)
        self.decided[step_id] = self._decided(step)
        if status is None and "final" not in self.record.reports:
            status = next(iter(self.allowed(step)), None)
        self.statuses[step_id] = status
        if status == "failed":
            self.spoilers.add(step_id)
        elif status == "cancelled":
            self.cancelled.add(step_id)
        early, late = self.decided[step_id]
        if step.reused is not None and status == step.reused and not tries:
            earliest = latest = early if early[0] == step.reused_ns else (step.reused_ns, 1)
        elif tries:
            earliest, latest = self._ended(step, tries, status)
        elif status == "skipped":
            earliest, latest = early, late
        elif status == "cancelled":
            causes = [(time, 1) for time in self.cancel_times(step)]
            causes += [self.stop] if self.stop is not None and self.graph.counts_as_top(step) else []
            # By its fate it is cancelled when that is decided, otherwise at one of these times.
            by_fate = self.stop is not None and self.graph.counts_as_top(step)
            by_fate |= not causes or not self.cancelled.isdisjoint(step.data)
            earliest, latest = min([early, *causes]), max([late, *causes] if by_fate else causes)
            latest = NEVER if self.options.unlisted_cancellations else latest
        else:
            earliest, latest = early, NEVER
        reported = self.record.final_times.get(step_id)
        if reported is not None:
            earliest = latest = earliest if earliest[0] == reported else (reported, 1)
        self.earliest[step_id], self.latest[step_id] = earliest, latest
        if not tries and status == "skipped" and not self.spoilers.isdisjoint(step.data):
            self.failed_skips.add(step_id)
            self.spoilers.add(step_id)
        if edges := self.graph.order_edges[step_id]:
            self._lock(step_id, edges)

    def _lock(self, step_id: str, edges: Iterable[tuple[str, str]]) -> None:
        """Fill in when its order edges were satisfied."""
        locks = [(state, self.free(other, self.earliest), self.free(other, self.latest)) for other, state in edges]
        self.locks[step_id] = locks
        self.order_earliest[step_id] = max([early for _, early, _ in locks])
        self.order_latest[step_id] = max([late for _, _, late in locks])

    def free(self, step_id: str, finals: dict[str, Key]) -> Key:
        """When an order edge to this step is satisfied: final, and for one that never ran its own order edges too."""
        key = finals[step_id]
        if self.record.ran(step_id):
            if finals is self.latest and self.graph.children:
                # Abandoned calls may keep their caller's locks after it is final.
                for child in self.graph.descendants(step_id):
                    key = max([key, *((one.known, 1) for one in self.record.by_step.get(child, ()))])
            return key
        own = self.order_earliest if finals is self.earliest else self.order_latest
        return max(key, own[step_id])

    def _decided(self, step: PlainStep) -> tuple[Key, Key]:
        """When all data dependencies were final (and the step had been added): its fate is decided then."""
        added = None if step.parent is None else self.added(step)
        early = late = START if added is None else (added, 1)
        if step.data:
            early = max(early, *map(self.earliest.__getitem__, step.data))
            late = max(late, *map(self.latest.__getitem__, step.data))
        if added is None and step.call:
            late = NEVER
        return early, late

    def added(self, step: PlainStep) -> int | None:
        """When a called step was added: its caller blocked on it. None for top-level steps."""
        if step.parent is None:
            return None
        tries = self.record.by_step.get(step.parent, ())
        times = [time for one in tries for time in one.blocked_at]
        if step.call < len(times):
            return times[step.call]
        return tries[0].granted if tries else 0

    def _ended(self, step: PlainStep, tries: Sequence[Try], status: str | None) -> tuple[Key, Key]:
        last = tries[-1]
        key = last.known_key
        pending = last.outcome in FAILURES and not self.attempts_used_up(step, tries)
        if not pending or status not in ("failed", "cancelled"):
            return key, key
        causes = [(time, 1) for time in self.cancel_times(step)]
        causes += [self.stop] if self.stop is not None and self.graph.counts_as_top(step) else []
        return key, NEVER if self.options.unlisted_cancellations else max([key, *causes])

    def fulfils(self, step_id: str) -> bool:
        """Whether it ended well: it succeeded, or its false condition skipped it."""
        status = self.statuses.get(step_id)
        return status == "succeeded" or (status == "skipped" and step_id not in self.failed_skips)

    def allowed(self, step: PlainStep) -> list[str]:
        """The final states that the rules of fate allow, given how its dependencies and its attempts ended."""
        tries = self.record.by_step.get(step.step_id)
        if tries:
            return self._allowed_after(step, tries)
        touched = ["cancelled"] if self.cancel_times(step) else []
        if not self.spoilers.isdisjoint(step.data):
            return ["skipped", *touched]
        if not self.cancelled.isdisjoint(step.data):
            return ["cancelled"]
        early, late = self.decided[step.step_id]
        stopped = self.stop is not None and self.graph.counts_as_top(step)
        found = list(touched)
        if step.reused is not None and step.when is not False:
            found.insert(0, step.reused)
        if step.when is False and not (stopped and self.stop is not None and early[0] > self.stop[0]):
            found.insert(0, "skipped")
        if stopped and self.stop is not None and not (step.when is False and late[0] < self.stop[0]):
            found.append("cancelled")
        return list(dict.fromkeys(found))

    def _allowed_after(self, step: PlainStep, tries: Sequence[Try]) -> list[str]:
        last = tries[-1]
        if last.outcome == "succeeded":
            return ["succeeded"]
        touched = ["cancelled"] if self.cancel_times(step) else []
        if last.outcome == "cancelled":
            # A mapped step is cancelled with its items, too; its own property says when.
            return ["cancelled"] if step.mapped else touched
        if self.attempts_used_up(step, tries):
            return ["failed"]
        found = list(touched)
        if self.stop is not None and self.graph.counts_as_top(step):
            backed_off = last.known + step.retry.wait_ns(last.number)
            surely = last.known > self.stop[0] or (step.retry.jitter == "none" and backed_off > self.stop[0])
            found += ["failed"] if surely else ["failed", "cancelled"]
        return list(dict.fromkeys(found))

    # ---- readiness ----------------------------------------------------------------------------------------------

    def ready_key(self, one: Try) -> Key:
        """The latest at which the attempt can have become ready, apart from its backoff."""
        if one.number > 1:
            tries = self.record.by_step[one.step_id]
            before = [other for other in tries if other.number < one.number]
            return before[-1].known_key if before else (one.ready, 1)
        return self.decided[one.step_id][1]

    @cached_property
    def top_level(self) -> list[PlainStep]:
        """The steps that barriers concern."""
        return [step for step in self.graph.steps if step.parent is None]

    @cached_property
    def added_late(self) -> bool:
        """Whether top-level steps were added during the run."""
        return any(step.call for step in self.top_level)

    def reserved_tokens(self, one: Try) -> int:
        """The tokens that the attempt reserves."""
        return self.graph.by_id[one.step_id].tokens if one.tokens_reserved is None else one.tokens_reserved


class Waiting:
    """An attempt before its grant: since when it surely could start, but for slot, limits and rates (``sure``, and
    ``eligible`` with its backoff over), and its place in the order of starts. ``explained_until``: up to when the
    recorded reasons of its waits are known to be right.
    """

    __slots__ = ("eligible", "explained_until", "key", "one", "opening", "rank", "sure")

    def __init__(self, view: View, one: Try, opening: Key) -> None:
        step = view.graph.by_id[one.step_id]
        self.one = one
        self.opening = opening
        self.explained_until = -NEVER[0]
        self.sure = max(view.ready_key(one), view.order_latest[one.step_id], opening)
        self.eligible = max(self.sure[0], one.backoff_end)
        self.rank = view.graph.ranks[one.step_id]
        self.key = (-view.graph.start_depth(step) if step.parent is not None else 0, -step.priority)
