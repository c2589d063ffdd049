"""Makes a failing run smaller, as long as it still fails: fewer steps, fewer faults, plainer steps.

Rules of this module:
- Greedy: each simplification that keeps the failure is kept, until none does or the time is up.
- A candidate that is no valid run simply does not fail in the right way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from executor.model.workflow import Step, Workflow
from harness.testing.drawing.behaviour import AttemptPlan, Behaviour, StepPlan
from harness.testing.drawing.generator import DrawnRun
from harness.testing.fuzz.faults import CrashPlan, FaultPlan
from harness.testing.oracle.description import references
from harness.testing.oracle.plain_graph import EXACT_UNIT_NANOSECONDS

PLAIN: dict[str, Any] = {
    "needs": None, "expected_tokens": None, "reads": (), "writes": (), "parallel_group": None, "priority": 0,
    "timeout": None, "retry": None, "on_failure": "continue", "idempotent": None, "expected_seconds": None,
}  # fmt: skip
"""What a step is without each of its fields."""


class Candidate(NamedTuple):
    """A run and its faults."""

    run: DrawnRun
    faults: FaultPlan


def shrink(candidate: Candidate, fails: Callable[[Candidate], bool], *, seconds: float = 20.0) -> Candidate:
    """The smallest run found that still ``fails``, within about so much time."""
    until = time.monotonic() + seconds
    changed = True
    while changed:
        changed = False
        for make in (_without_steps, _without_faults, _plainer_runs, _plainer_steps, _plainer_attempts):
            again = True
            while again:
                again = False
                for simpler in make(candidate):
                    if time.monotonic() > until:
                        return candidate
                    if fails(simpler):
                        candidate = simpler
                        changed = again = True
                        break
    return candidate


# ------------------------------------------------------------------ whole steps


def _without_steps(candidate: Candidate) -> Iterator[Candidate]:
    """First halves, then quarters, at last single steps from the end."""
    ids = [step.step_id for step in candidate.run.workflow.steps]
    size = len(ids) // 2
    while size:
        for first in reversed(range(0, len(ids), size)):
            gone = set(ids[first : first + size])
            if len(gone) < len(ids):
                yield without(candidate, gone)
        size //= 2


def without(candidate: Candidate, gone: set[str]) -> Candidate:
    """The candidate without these top-level steps and all that mentions them."""
    (workflow, behaviour), faults = candidate
    steps = tuple(_forget(step, gone) for step in workflow.steps if step.step_id not in gone)
    inputs = {name: value for name, value in workflow.inputs.items() if name.removeprefix("go_") not in gone}
    return Candidate(
        DrawnRun(
            workflow.model_copy(update={"steps": steps, "inputs": inputs}),
            replace(
                behaviour,
                steps={step_id: plan for step_id, plan in behaviour.steps.items() if step_id not in gone},
                cancellations=_without_ids(behaviour.cancellations, gone),
            ),
        ),
        replace(
            faults,
            mishaps={key: mishap for key, mishap in faults.mishaps.items() if key[0].split("/")[0] not in gone},
            conditions=tuple(step_id for step_id in faults.conditions if step_id not in gone),
            cancellations=_without_ids(faults.cancellations, gone),
            crash=None if faults.crash is None else _crash_without(faults.crash, gone),
        ),
    )


def _crash_without(crash: CrashPlan, gone: set[str]) -> CrashPlan:
    return replace(crash, rerun=tuple(step_id for step_id in crash.rerun if step_id not in gone))


def _forget(step: Step, gone: set[str]) -> Step:
    if gone.isdisjoint((*step.depends_on, *references(step))):
        return step
    kept = [other for other in dict.fromkeys((*step.depends_on, *references(step))) if other not in gone]
    return step.model_copy(update={"depends_on": tuple(kept), "prompt": None})


def _without_ids(
    cancellations: Iterable[tuple[int, tuple[str, ...] | None]], gone: set[str]
) -> tuple[tuple[int, tuple[str, ...] | None], ...]:
    kept = []
    for at, ids in cancellations:
        left = None if ids is None else tuple(one for one in ids if one.split("/")[0] not in gone)
        if left != ():
            kept.append((at, left))
    return tuple(kept)


# ------------------------------------------------------------------ faults, and what surrounds a run


def _without_faults(candidate: Candidate) -> Iterator[Candidate]:
    run, faults = candidate
    plain = FaultPlan()
    for name in (
        "mishaps",
        "disorder",
        "clock",
        "instruments",
        "conditions",
        "cancellations",
        "resizes",
        "stubborn",
        "overtakes",
        "crash",
    ):
        if getattr(faults, name) != getattr(plain, name):
            yield Candidate(run, replace(faults, **{name: getattr(plain, name)}))
    for key in faults.mishaps:
        yield Candidate(run, replace(faults, mishaps={k: m for k, m in faults.mishaps.items() if k != key}))
    for name in ("clock", "instruments", "conditions", "cancellations", "resizes"):
        values: tuple[Any, ...] = getattr(faults, name)
        for place in range(len(values) if len(values) > 1 else 0):
            fewer: dict[str, Any] = {name: (*values[:place], *values[place + 1 :])}
            yield Candidate(run, replace(faults, **fewer))
    if faults.crash is not None:
        for crash in _plainer_crashes(faults.crash):
            yield Candidate(run, replace(faults, crash=crash))


def _plainer_crashes(crash: CrashPlan) -> Iterator[CrashPlan]:
    """Fewer crashes, then earlier ones that lose less."""
    crashes = crash.crashes
    for place, one in enumerate(crashes):
        if len(crashes) > 1:
            yield replace(crash, crashes=(*crashes[:place], *crashes[place + 1 :]))
        simpler = []
        if one.lost_writes:
            simpler.append(replace(one, lost_writes=0))
        if one.stage != "begun":
            simpler.append(replace(one, stage="begun"))
        simpler += [replace(one, turn=turn) for turn in (1, one.turn // 2, one.turn - 1) if 0 < turn < one.turn]
        for other in simpler:
            yield replace(crash, crashes=(*crashes[:place], other, *crashes[place + 1 :]))
    plain = CrashPlan(crashes)
    for name in ("write_period_ns", "each", "unsure", "rerun"):
        if getattr(crash, name) != getattr(plain, name):
            changed: dict[str, Any] = {name: getattr(plain, name)}
            yield replace(crash, **changed)


def _plainer_runs(candidate: Candidate) -> Iterator[Candidate]:
    (workflow, behaviour), faults = candidate

    def changed(**fields: Any) -> Candidate:
        return Candidate(DrawnRun(workflow, replace(behaviour, **fields)), faults)

    for place in range(len(behaviour.cancellations)):
        kept = behaviour.cancellations[:place] + behaviour.cancellations[place + 1 :]
        yield changed(cancellations=kept)
    if behaviour.policy != "dataflow":
        yield changed(policy="dataflow")
    for workers in (1, 2, 3):
        if workers < behaviour.workers:
            yield changed(workers=workers)
    for name, resource in behaviour.resources.items():
        others = {other: value for other, value in behaviour.resources.items() if other != name}
        if not any(name in (step.needs or {}) for step in workflow.steps):
            yield changed(resources=others)
        for field in ("rate_per_minute", "tokens_per_minute", "capacity"):
            if getattr(resource, field) is not None:
                left = resource.model_copy(update={field: None})
                yield changed(resources={**behaviour.resources, name: left})


# ------------------------------------------------------------------ single steps


def _fewer_items(candidate: Candidate, step: Step) -> Iterator[Candidate]:
    """Done for its first item alone and without a list, or for one item less."""
    plan = candidate.run.behaviour.steps[step.step_id]
    if not plan.items:
        return
    alone = _with_plan(candidate, step.step_id, plan.items[0]._replace(when=plan.when))
    yield _with_step(alone, step, {"for_each": None, "max_parallel": None})
    fewer = _with_plan(candidate, step.step_id, plan._replace(items=plan.items[:-1]))
    yield _with_step(fewer, step, {"for_each": list(range(len(plan.items) - 1))})


def _plainer_steps(candidate: Candidate) -> Iterator[Candidate]:
    for step in candidate.run.workflow.steps:
        yield from _fewer_items(candidate, step)
        for name, plain in PLAIN.items():
            if getattr(step, name) != plain:
                yield _with_step(candidate, step, {name: plain})
        mentioned = references(step)
        if step.prompt is not None:
            parents = tuple(dict.fromkeys((*step.depends_on, *mentioned)))
            yield _with_step(candidate, step, {"prompt": None, "depends_on": parents})
        if step.when is not None:
            yield _with_condition(candidate, step)
        for other in step.depends_on:
            yield _with_step(candidate, step, {"depends_on": tuple(kept for kept in step.depends_on if kept != other)})


def _with_step(candidate: Candidate, step: Step, fields: dict[str, Any]) -> Candidate:
    (workflow, behaviour), faults = candidate
    changed = step.model_copy(update=fields)
    steps = tuple(changed if other is step else other for other in workflow.steps)
    return Candidate(DrawnRun(workflow.model_copy(update={"steps": steps}), behaviour), faults)


def _with_condition(candidate: Candidate, step: Step) -> Candidate:
    """Without its condition."""
    plan = candidate.run.behaviour.steps[step.step_id]
    changed = _with_plan(candidate, step.step_id, plan._replace(when=None))
    (workflow, behaviour), faults = _with_step(changed, step, {"when": None})
    inputs = {name: value for name, value in workflow.inputs.items() if name != f"go_{step.step_id}"}
    return Candidate(
        DrawnRun(workflow.model_copy(update={"inputs": inputs}), behaviour),
        replace(faults, conditions=tuple(one for one in faults.conditions if one != step.step_id)),
    )


def _with_plan(candidate: Candidate, step_id: str, plan: StepPlan) -> Candidate:
    (workflow, behaviour), faults = candidate
    return Candidate(DrawnRun(workflow, replace(behaviour, steps={**behaviour.steps, step_id: plan})), faults)


def _plainer_attempts(candidate: Candidate) -> Iterator[Candidate]:
    for step_id, plan in candidate.run.behaviour.steps.items():
        for place, item in enumerate(plan.items):
            for attempts in _plainer_attempts_of(item):
                items = (*plan.items[:place], item._replace(attempts=attempts), *plan.items[place + 1 :])
                yield _with_plan(candidate, step_id, plan._replace(items=items))
        for attempts in _plainer_attempts_of(plan):
            yield _with_plan(candidate, step_id, plan._replace(attempts=attempts))


def _plainer_attempts_of(plan: StepPlan) -> Iterator[tuple[AttemptPlan, ...]]:
    if len(plan.attempts) > 1:
        yield plan.attempts[:-1]
    for place, attempt in enumerate(plan.attempts):
        for simpler in _plainer_attempt(attempt):
            yield (*plan.attempts[:place], simpler, *plan.attempts[place + 1 :])


def _plainer_attempt(attempt: AttemptPlan) -> Iterator[AttemptPlan]:
    for place, call in enumerate(attempt.calls):
        others = (attempt.calls[:place], attempt.calls[place + 1 :])
        yield attempt._replace(calls=(*others[0], *others[1]))
        if len(call.children) > 1:
            # The last one: those before it may be what it depends on.
            fewer = call._replace(children=call.children[:-1])
            yield attempt._replace(calls=(*others[0], fewer, *others[1]))
    if attempt.outcome != "succeeded":
        yield attempt._replace(outcome="succeeded")
    if attempt.tokens_used is not None:
        yield attempt._replace(tokens_used=None)
    half = attempt.duration_ns // 2 // EXACT_UNIT_NANOSECONDS * EXACT_UNIT_NANOSECONDS
    for duration in (0, EXACT_UNIT_NANOSECONDS, half):
        if duration < attempt.duration_ns:
            calls = tuple(call._replace(offset_ns=min(call.offset_ns, duration)) for call in attempt.calls)
            yield attempt._replace(duration_ns=duration, calls=calls)


__all__ = ["Behaviour", "Candidate", "Workflow", "shrink", "without"]
