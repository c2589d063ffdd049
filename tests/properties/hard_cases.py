"""The combinations that break schedulers, named, so that it can be counted how often they are drawn.

Rules of this module:
- A case is recognised from the drawn run alone, before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.testing.drawing.behaviour import AttemptPlan, StepPlan
from harness.testing.drawing.generator import DrawnRun
from harness.testing.oracle.plain_graph import PlainGraph, PlainStep


@dataclass(frozen=True)
class _Seen:
    run: DrawnRun
    graph: PlainGraph

    @property
    def steps(self) -> tuple[PlainStep, ...]:
        return self.graph.steps

    def plan(self, step: PlainStep) -> StepPlan:
        return self.run.behaviour.steps[step.step_id]

    def fails(self, step: PlainStep) -> bool:
        return self.plan(step).attempts[0].outcome != "succeeded"

    def fails_for_good(self, step: PlainStep) -> bool:
        plan = self.plan(step)
        return all(plan.attempt(number + 1).outcome != "succeeded" for number in range(step.retry.max_attempts))

    def calls(self, step: PlainStep) -> bool:
        return any(attempt.calls for attempt in self.plan(step).attempts)

    def attempts(self) -> Iterator[tuple[PlainStep, AttemptPlan]]:
        for step in self.steps:
            for attempt in self.plan(step).attempts:
                yield step, attempt

    def depended_on(self, step: PlainStep) -> bool:
        return any(step.step_id in other.data for other in self.steps)

    def before_another(self, step: PlainStep) -> bool:
        return any(step.step_id in others for others in self.graph.order_parents.values())


_CASES: dict[str, Callable[[_Seen], bool]] = {
    "conflict and failure": lambda seen: any(
        seen.fails(step) and (seen.graph.order_edges[step.step_id] or seen.before_another(step)) for step in seen.steps
    ),
    "retry under a limit": lambda seen: any(
        seen.fails(step) and step.retry.max_attempts > 1 and step.needs for step in seen.steps
    ),
    "retry with backoff": lambda seen: any(seen.fails(step) and step.retry.wait_ns(1) > 0 for step in seen.steps),
    "failure with dependants": lambda seen: any(
        seen.fails_for_good(step) and seen.depended_on(step) for step in seen.steps
    ),
    "false condition with dependants": lambda seen: any(
        step.when is False and seen.depended_on(step) for step in seen.steps
    ),
    "never-run step between conflicting ones": lambda seen: any(
        step.when is False and seen.graph.order_edges[step.step_id] and seen.before_another(step) for step in seen.steps
    ),
    "durations that tie": lambda seen: any(
        left.data == right.data and seen.plan(left).attempts[0].duration_ns == seen.plan(right).attempts[0].duration_ns
        for place, left in enumerate(seen.steps)
        for right in seen.steps[:place]
    ),
    "no duration": lambda seen: any(attempt.duration_ns == 0 for _, attempt in seen.attempts()),
    "call under a lock": lambda seen: any(
        seen.calls(step) and (step.reads or step.writes) and seen.graph.order_edges[step.step_id] for step in seen.steps
    ),
    "call with limits": lambda seen: any(
        child.step.needs for _, attempt in seen.attempts() for call in attempt.calls for child in call.children
    ),
    "call of a call": lambda seen: any(
        nested.calls
        for _, attempt in seen.attempts()
        for call in attempt.calls
        for child in call.children
        for nested in child.plan.attempts
    ),
    "failing call": lambda seen: any(
        nested.outcome != "succeeded"
        for _, attempt in seen.attempts()
        for call in attempt.calls
        for child in call.children
        for nested in child.plan.attempts
    ),
    "timeout of a step that calls": lambda seen: any(step.timeout_ns and seen.calls(step) for step in seen.steps),
    "calls with one worker": lambda seen: (
        (seen.graph.workers == 1 or seen.graph.policy == "serial") and any(map(seen.calls, seen.steps))
    ),
    "timeout that strikes": lambda seen: any(
        step.timeout_ns is not None and attempt.duration_ns > step.timeout_ns for step, attempt in seen.attempts()
    ),
    "stop while others back off": lambda seen: (
        any(step.stops and seen.fails_for_good(step) for step in seen.steps)
        and any(seen.fails(step) and step.retry.wait_ns(1) > 0 for step in seen.steps)
    ),
    "cancellation": lambda seen: bool(seen.run.behaviour.cancellations),
    "cancellation with locks": lambda seen: bool(
        seen.run.behaviour.cancellations and any(seen.graph.order_edges.values())
    ),
    "token debt": lambda seen: any(
        (attempt.tokens_used or 0) > step.tokens
        and any(name in seen.graph.resources and seen.graph.resources[name].tokens_per_minute for name, _ in step.needs)
        for step, attempt in seen.attempts()
    ),
    "rate shared by several": lambda seen: any(
        limit.rate_per_minute and sum(name in dict(step.needs) for step in seen.steps) > limit.burst
        for name, limit in seen.graph.resources.items()
    ),
    "groups under barriers": lambda seen: (
        seen.graph.policy == "barrier" and len({step.group for step in seen.steps}) > 2
    ),
    "priorities under contention": lambda seen: (
        seen.graph.workers < len(seen.steps) and len({step.priority for step in seen.steps}) > 1
    ),
    "two needs at once": lambda seen: any(len(step.needs) > 1 for step in seen.steps),
}

HARD_CASES = tuple(_CASES)
"""The names of all cases."""


def hard_cases(run: DrawnRun) -> set[str]:
    """The hard cases that a drawn run contains."""
    seen = _Seen(run, run.behaviour.describe(run.workflow))
    return {name for name, contains in _CASES.items() if contains(seen)}
