"""A workflow as plain data, and what the three rules make of it, computed slowly and obviously.

This is a second, separately written reading of the rules of a run: the oracle shares no code with what it judges.

Rules of this module:
- It imports nothing of the executor. How words become such a graph is in :mod:`harness.testing.oracle.description`.
- Times are integer nanoseconds. Ids are strings. Everything is a tuple or a frozen dataclass.
- A called step (a child) is in the same list as its caller, with ``parent`` set; ``call`` counts the additions.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

NANOSECONDS = 1_000_000_000
# One 512th of a second is a whole number of nanoseconds and an exact float, so sums of such durations agree
# whether they are made in seconds or in nanoseconds.
EXACT_UNIT_NANOSECONDS = NANOSECONDS // 512


@dataclass(frozen=True, slots=True)
class PlainRetry:
    """How often a failed attempt is tried again. Times in nanoseconds.

    ``attempts_after_death`` is the limit where the worker died (None: the same): a step that asks for no retry is still
    run again when its worker dies.
    """

    max_attempts: int = 1
    backoff_ns: int = 0
    multiplier: float = 1.0
    max_backoff_ns: int = 60 * NANOSECONDS
    jitter: str = "none"
    attempts_after_death: int | None = None

    def limit(self, outcome: str | None) -> int:
        """The most attempts, if the last one ended so."""
        if outcome == "worker_died" and self.attempts_after_death is not None:
            return self.attempts_after_death
        return self.max_attempts

    def wait_ns(self, attempt: int) -> int:
        """The wait after failed attempt ``attempt`` (from 1): ``min(max, backoff · multiplier^(attempt − 1))``."""
        wait: float = self.backoff_ns
        for _ in range(attempt - 1):
            if wait >= self.max_backoff_ns or wait == 0 or self.multiplier == 1:
                break
            wait *= self.multiplier
        return round(min(wait, self.max_backoff_ns))


ONE_ATTEMPT = PlainRetry()


@dataclass(frozen=True, slots=True)
class PlainResource:
    """Something limited: units at once, attempts per minute, tokens per minute. None is no such limit. ``devices``:
    the ids of devices of which each attempt gets its own, with their memory in GB.
    """

    capacity: int | None = None
    rate_per_minute: float | None = None
    burst: int = 1
    tokens_per_minute: float | None = None
    token_burst: float | None = None
    devices: tuple[tuple[str, float | None], ...] = ()


class PlainStep(NamedTuple):
    """One step. ``data`` are the steps it depends on; ``needs`` are (resource, units) in order.

    ``when`` is the result of its condition (None: it has none). ``stops`` is ``on_failure: stop``. ``tokens`` is the
    estimate for limits of tokens per minute. ``parent`` is the step that calls it; ``call`` counts the additions to its
    scope (the parent's calls across all attempts; for top-level steps 0, or more for those added late). ``mapped``: it
    is done once for each item of a list; its items are its calls, and it holds neither slot nor limits itself.
    ``reused``: it has its result from an earlier run and ended without an attempt, as ``succeeded``, or as ``skipped``
    where it was left out on request; at ``reused_ns``.
    """

    step_id: str
    data: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    needs: tuple[tuple[str, float], ...] = ()
    group: int | str | None = None
    priority: int = 0
    expected_ns: int | None = NANOSECONDS
    tokens: int = 0
    retry: PlainRetry = ONE_ATTEMPT
    timeout_ns: int | None = None
    when: bool | None = None
    stops: bool = False
    idempotent: bool = True
    parent: str | None = None
    call: int = 0
    mapped: bool = False
    reused: Literal["succeeded", "skipped"] | None = None
    reused_ns: int = 0

    def conflicts_with(self, other: PlainStep) -> bool:
        """Whether the two may not hold their states at once: one writes what the other reads or writes."""
        mine, theirs = set(self.writes), set(other.writes)
        return bool(mine & (theirs | set(other.reads)) or theirs & set(self.reads))


@dataclass(frozen=True)
class PlainGraph:
    """A run's steps in file order (added ones at the end), its limits, its workers and its policy."""

    steps: tuple[PlainStep, ...]
    resources: Mapping[str, PlainResource] = field(default_factory=dict)
    workers: int = 1
    policy: str = "dataflow"

    @cached_property
    def by_id(self) -> dict[str, PlainStep]:
        """The steps by their ids. Raises ValueError for a duplicate or an unknown dependency."""
        found = {step.step_id: step for step in self.steps}
        if len(found) != len(self.steps):
            raise ValueError("the graph names a step twice")
        for step in self.steps:
            for other in step.data if step.parent is None else (*step.data, step.parent):
                if other not in found:
                    raise ValueError(f"step {step.step_id!r} refers to {other!r}, which the graph does not contain")
        return found

    @cached_property
    def places(self) -> dict[str, int]:
        """Each step's place in file order."""
        return {step.step_id: place for place, step in enumerate(self.steps)}

    @cached_property
    def order_edges(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """For each step the (earlier step, state) pairs that it waits for under rule 3."""
        return order_edges(self)

    @cached_property
    def order_parents(self) -> dict[str, tuple[str, ...]]:
        """The steps of :attr:`order_edges`, each once."""
        return {
            step_id: tuple(dict.fromkeys([earlier for earlier, _ in edges])) if edges else ()
            for step_id, edges in self.order_edges.items()
        }

    @cached_property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """For each step what it depends on by data, then by order."""
        return {step.step_id: (*step.data, *self.order_parents[step.step_id]) for step in self.steps}

    @cached_property
    def topological(self) -> tuple[PlainStep, ...]:
        """All steps, each after everything that it depends on by data or order. Raises ValueError for a cycle."""
        return tuple(earliest_first(self.steps, self.parents))

    @cached_property
    def depths(self) -> dict[str, int]:
        """How deep each step is nested: 0 at the top."""
        depths: dict[str, int] = {step.step_id: 0 for step in self.steps if step.parent is None}
        for step in self.steps:
            if step.parent is None:
                continue
            chain = []
            at: str | None = step.step_id
            while at is not None and at not in depths:
                chain.append(at)
                at = self.by_id[at].parent
            depth = -1 if at is None else depths[at]
            for step_id in reversed(chain):
                depth += 1
                depths[step_id] = depth
        return depths

    def is_item(self, step: PlainStep) -> bool:
        """Whether it is one of the items of a mapped step."""
        return step.parent is not None and self.by_id[step.parent].mapped

    def counts_as_top(self, step: PlainStep) -> bool:
        """Whether it is a step of the workflow where the run stops: items of mapped steps are."""
        return step.parent is None or self.is_item(step)

    def start_depth(self, step: PlainStep) -> int:
        """Its depth in the order of starts: items of mapped steps come among the steps of the workflow."""
        return 0 if self.is_item(step) else self.depths[step.step_id]

    @cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """The steps that each step calls, in file order; steps that call none are absent."""
        found: dict[str, list[str]] = {}
        for step in self.steps:
            if step.parent is not None:
                found.setdefault(step.parent, []).append(step.step_id)
        return {parent: tuple(called) for parent, called in found.items()}

    def ancestors(self, step_id: str) -> Iterator[str]:
        """Its caller, the caller's caller, and so on."""
        parent = self.by_id[step_id].parent
        while parent is not None:
            yield parent
            parent = self.by_id[parent].parent

    def descendants(self, step_id: str) -> list[str]:
        """All steps called by it, by those, and so on."""
        found: list[str] = []
        if not self.children:
            return found
        open_ids = [step_id]
        while open_ids:
            called = self.children.get(open_ids.pop(), ())
            found.extend(called)
            open_ids.extend(called)
        return found

    @cached_property
    def levels(self) -> dict[str, int]:
        """The level of each top-level step: 0, or one more than the deepest it depends on by data or order."""
        found: dict[str, int] = {}
        for step in self.topological:
            if step.parent is None:
                before = [found[other] for other in self.parents[step.step_id] if other in found]
                found[step.step_id] = 1 + max(before, default=-1)
        return found

    @cached_property
    def ranks(self) -> dict[str, int | None]:
        """Upward rank in nanoseconds: own expected duration and the longest chain of expected durations behind it, over
        data and order edges among the steps added together. None where any step of the batch states no duration.
        An item has the rank of its mapped step.
        """
        unknown = {(step.parent, step.call) for step in self.steps if step.expected_ns is None}
        longest: dict[str, int] = dict.fromkeys(self.by_id, 0)
        found: dict[str, int | None] = {}
        for step in reversed(self.topological):
            rank = longest[step.step_id] + (step.expected_ns or 0)
            found[step.step_id] = None if unknown and (step.parent, step.call) in unknown else rank
            for other in self.parents[step.step_id]:
                before = self.by_id[other]
                if rank > longest[other] and before.parent == step.parent and before.call == step.call:
                    longest[other] = rank
        found.update({step.step_id: found[step.parent] for step in self.steps if step.parent and self.is_item(step)})
        return found


def earliest_first(steps: Sequence[PlainStep], parents: Mapping[str, Iterable[str]]) -> list[PlainStep]:
    """The topological order that always takes the earliest-listed available step (Kahn 1962, with a heap).

    Parents outside ``steps`` are ignored. Raises ValueError for a cycle.
    """
    places = {step.step_id: place for place, step in enumerate(steps)}
    if all(places.get(other, -1) < place for step_id, place in places.items() for other in parents[step_id]):
        return list(steps)  # each is listed behind its parents
    missing = [0] * len(steps)
    dependants: list[list[int]] = [[] for _ in steps]
    for place, step in enumerate(steps):
        for other in dict.fromkeys(parents[step.step_id]):
            if other in places:
                missing[place] += 1
                dependants[places[other]].append(place)
    available = [place for place, count in enumerate(missing) if count == 0]
    order: list[PlainStep] = []
    while available:
        place = heapq.heappop(available)
        order.append(steps[place])
        for other_place in dependants[place]:
            missing[other_place] -= 1
            if missing[other_place] == 0:
                heapq.heappush(available, other_place)
    if len(order) != len(steps):
        stuck = sorted(steps[place].step_id for place, count in enumerate(missing) if count)
        raise ValueError(f"the graph has a cycle among {', '.join(stuck[:10])}")
    return order


def order_edges(graph: PlainGraph) -> dict[str, tuple[tuple[str, str], ...]]:
    """Rule 3: conflicting steps of one scope run in one fixed order, by edges to the last writer and the readers since.

    A scope is the top level, or the calls of one step. Steps added together are ordered by :func:`earliest_first` over
    data edges; later additions come behind. Writes come before reads in each step's list.
    """
    edges: dict[str, tuple[tuple[str, str], ...]] = {step.step_id: () for step in graph.steps}
    if not any(step.reads or step.writes for step in graph.steps):
        return edges
    batches: dict[tuple[str | None, int], list[PlainStep]] = {}
    for step in graph.steps:
        batches.setdefault((step.parent, step.call), []).append(step)
    writer: dict[tuple[str | None, str], str] = {}
    readers: dict[tuple[str | None, str], list[str]] = {}
    for batch in sorted(batches, key=lambda batch: batch[1]):
        members = batches[batch]
        if not any(step.reads or step.writes for step in members):
            continue
        for step in earliest_first(members, {member.step_id: member.data for member in members}):
            found: list[tuple[str, str]] = []
            for state in dict.fromkeys((*step.writes, *step.reads)):
                key = (step.parent, state)
                if key in writer:
                    found.append((writer[key], state))
                if state in step.writes:
                    found += [(reader, state) for reader in readers.pop(key, ())]
                    writer[key] = step.step_id
                else:
                    readers.setdefault(key, []).append(step.step_id)
            edges[step.step_id] = tuple(found)
    return edges
