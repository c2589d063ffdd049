"""What the outside world does in a drawn run: how long attempts take, how they end, what they call, what is cancelled.

A workflow says what should happen; a :class:`Behaviour` says what does. A simulation plays it, the oracle reads it.

Rules of this module:
- Plain frozen data; times in integer nanoseconds.
- An attempt runs for ``duration_ns`` in all, not counting the time in which it is blocked on its calls.
- Called steps are written with ids of their own call (``"1"``, ``"2"``, …); the player gives them real ids.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from executor.model.workflow import Resource, Step, Workflow
from executor.record.timeline import AttemptOutcome, Timeline
from harness.testing.oracle.description import describe, describe_item, describe_step
from harness.testing.oracle.plain_graph import PlainGraph, PlainStep


class Call(NamedTuple):
    """After ``offset_ns`` of its own running time an attempt calls these steps, and is blocked until all are final."""

    offset_ns: int
    children: tuple[Child, ...]


class AttemptPlan(NamedTuple):
    """One attempt: how long it runs, how it ends, what it uses, what it calls (offsets never fall).

    ``outcome`` is ``succeeded``, ``failed`` or ``worker_died``; a timeout or a cancellation may come before.
    """

    duration_ns: int
    outcome: AttemptOutcome = "succeeded"
    tokens_used: int | None = None
    calls: tuple[Call, ...] = ()


class StepPlan(NamedTuple):
    """A step's attempts in order (the last one represents all later ones) and the result of its condition.

    ``items``: of a mapped step, which has no attempts to plan, the plans of its items.
    """

    attempts: tuple[AttemptPlan, ...]
    when: bool | None = None
    items: tuple[StepPlan, ...] = ()

    def attempt(self, number: int) -> AttemptPlan:
        """The plan of attempt ``number``, counted from 1."""
        return self.attempts[min(number, len(self.attempts)) - 1]


class Child(NamedTuple):
    """A called step: its words, with an id and dependencies that are local to the call, and its plan."""

    step: Step
    plan: StepPlan


def called_by(plan: StepPlan) -> Iterator[Child]:
    """What a step and its items may call, and what these may call. As deep as calls were drawn: a few levels."""
    for part in (plan, *plan.items):
        for attempt in part.attempts:
            for call in attempt.calls:
                for child in call.children:
                    yield child
                    yield from called_by(child.plan)


def output_of(step_id: str, inputs: Sequence[Any]) -> int:
    """The output of a played step that saw these values: of its dependencies, its prompt, its calls."""
    return zlib.crc32(repr((step_id, *inputs)).encode())


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Everything around a workflow that decides a run. ``cancellations`` are (time, step ids or None for the run)."""

    steps: Mapping[str, StepPlan]
    resources: Mapping[str, Resource] = field(default_factory=dict)
    cancellations: tuple[tuple[int, tuple[str, ...] | None], ...] = ()
    workers: int = 1
    policy: str = "dataflow"
    seed: int = 0

    @property
    def whens(self) -> dict[str, bool]:
        """The results of the steps' conditions."""
        return {step_id: plan.when for step_id, plan in self.steps.items() if plan.when is not None}

    def describe(self, workflow: Workflow) -> PlainGraph:
        """The plain graph of the workflow under this behaviour, without called steps."""
        return describe(workflow, resources=self.resources, workers=self.workers, policy=self.policy, whens=self.whens)


def graph_of_run(workflow: Workflow, behaviour: Behaviour, timeline: Timeline, *, complete: bool = False) -> PlainGraph:
    """The plain graph of a finished run: the workflow's steps and those that were really called.

    Which calls were made is read from the run's blocked intervals; the called steps are then the plan's, in order.
    ``complete``: every attempt made all its calls, whose children may have come one after the other.
    Raises ValueError where the run has other called steps than its plan asks for.
    """
    graph = behaviour.describe(workflow)
    words = {step.step_id: step for step in workflow.steps}
    called = _called(behaviour, timeline, words, complete=complete)
    return replace(graph, steps=(*graph.steps, *(step for step, _ in called)))


def plans_of_run(behaviour: Behaviour, timeline: Timeline, *, complete: bool = False) -> dict[str, StepPlan]:
    """The plan of every step of a finished run, called steps included, by the ids of the run."""
    called = _called(behaviour, timeline, complete=complete)
    return {**behaviour.steps, **{step.step_id: plan for step, plan in called}}


def _called(
    behaviour: Behaviour, timeline: Timeline, words: Mapping[str, Step] | None = None, *, complete: bool = False
) -> list[tuple[PlainStep, StepPlan]]:
    """The called steps of a run, in order of their indices, with their plans. ``words``: the steps of the workflow,
    without which nothing but the ids of mapped steps' items is true.
    """
    kids: dict[int, list[int]] = {}
    for index, caller in enumerate(timeline.nested_in):
        if caller >= 0:
            kids.setdefault(caller, []).append(index)
    if not kids:
        return []
    blocks: dict[int, list[tuple[int, int]]] = {}
    for attempt in timeline.attempts:
        if attempt.index in kids:
            blocks.setdefault(attempt.index, []).append((attempt.attempt, len(attempt.blocked)))
    ids = timeline.step_ids
    plans = {index: behaviour.steps[ids[index]] for index in kids if ids[index] in behaviour.steps}
    found: dict[int, tuple[PlainStep, StepPlan]] = {}
    for caller in sorted(kids):
        if caller not in plans:
            raise ValueError(f"step {ids[caller]!r} made calls, but no plan of it is known")
        if plans[caller].items:
            mapped = (words or {}).get(ids[caller], Step(step_id=ids[caller]))
            for index, plan in zip(kids[caller], plans[caller].items, strict=True):
                found[index] = (describe_item(mapped, ids[index]), plan)
                plans[index] = plan
            continue
        calls = [
            call
            for number, count in sorted(blocks.get(caller, ()))
            for call in plans[caller].attempt(number).calls[: None if complete else count]
        ]
        numbered = _numbered(ids[caller], calls, kids[caller], ids)
        if complete:
            numbered = _placed(numbered, timeline, caller)
        for index, (step, plan) in zip(kids[caller], numbered, strict=True):
            found[index] = (step, plan)
            plans[index] = plan
    return [found[index] for index in sorted(found)]


def _numbered(
    caller: str, calls: Sequence[Call], indices: Sequence[int], ids: Sequence[str]
) -> list[tuple[PlainStep, StepPlan]]:
    """The children of these calls under the ids that the run gave them."""
    if sum(len(call.children) for call in calls) != len(indices):
        raise ValueError(
            f"step {caller!r} has {len(indices)} called steps in the run, but the calls it made name "
            f"{sum(len(call.children) for call in calls)}"
        )
    found: list[tuple[PlainStep, StepPlan]] = []
    names = iter(ids[index] for index in indices)
    for number, call in enumerate(calls):
        local = {child.step.step_id: next(names) for child in call.children}
        for child in call.children:
            step = describe_step(child.step, when=child.plan.when, parent=caller, call=number, names=local)
            found.append((step, child.plan))
    return found


def _placed(
    numbered: Sequence[tuple[PlainStep, StepPlan]], timeline: Timeline, caller: int
) -> list[tuple[PlainStep, StepPlan]]:
    """The same, each counted to the blocked interval of its caller in which it came. One that waits for others came
    with the first of its call.
    """
    since = [start for attempt in timeline.attempts if attempt.index == caller for start, _ in attempt.blocked]
    ready: dict[str, int] = {}
    for attempt in timeline.attempts:
        ready.setdefault(attempt.step_id, attempt.ready)
    first: dict[int, int] = {}
    for step, _ in numbered:
        if step.step_id in ready:
            first[step.call] = min(ready[step.step_id], first.get(step.call, ready[step.step_id]))
    found = []
    for step, plan in numbered:
        came = first.get(step.call) if step.data else ready.get(step.step_id)
        # One that never came has no interval; with all calls made there is none, save in a record that is broken.
        place = step.call if came is None else bisect_right(since, came) - 1
        found.append((step._replace(call=place), plan))
    return found
