"""Runs with their faults as plain JSON data, to be kept and played again; and as scenario files for `makespan run`.

Rules of this module:
- What is read back plays exactly as what was written.
- A scenario file is an approximation, and says so: durations, failures and dependencies are in it, faults are not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from executor.model.workflow import Resource, Step, Workflow, dump_workflow, parse_workflow
from executor.record.timeline import NANOSECONDS
from harness.files.finite_json import read_finite_json
from harness.testing.drawing.behaviour import AttemptPlan, Behaviour, Call, Child, StepPlan
from harness.testing.drawing.generator import DrawnRun
from harness.testing.fuzz.faults import NO_FAULTS, Crash, CrashPlan, FaultPlan, Mishap

SCHEMA = "makespan.fuzz/1"
# More failures in a row than any retry allows: a step that never succeeds.
ALWAYS = 1_000_000


class ReplayError(ValueError):
    """A file is no replay. The message says what is wrong and what to do."""


def run_to_data(run: DrawnRun, faults: FaultPlan) -> dict[str, Any]:
    """A run and its faults as JSON data."""
    behaviour = run.behaviour
    return {
        "schema": SCHEMA,
        "workflow": dump_workflow(run.workflow),
        "behaviour": {
            "workers": behaviour.workers,
            "policy": behaviour.policy,
            "seed": behaviour.seed,
            "resources": {name: _words(resource) for name, resource in behaviour.resources.items()},
            "cancellations": [[time, _ids(ids)] for time, ids in behaviour.cancellations],
            "steps": {step_id: _plan_to_data(plan) for step_id, plan in behaviour.steps.items()},
        },
        "faults": {
            "mishaps": [[*key, mishap.kind, mishap.after_ns] for key, mishap in faults.mishaps.items()],
            "disorder": faults.disorder,
            "clock": [list(one) for one in faults.clock],
            "instruments": [list(one) for one in faults.instruments],
            "conditions": list(faults.conditions),
            "cancellations": [[time, _ids(ids)] for time, ids in faults.cancellations],
            "resizes": [[time, dict(sizes)] for time, sizes in faults.resizes],
            "stubborn": faults.stubborn,
            "overtakes": faults.overtakes,
            "crash": None if faults.crash is None else _crash_to_data(faults.crash),
        },
    }


def run_from_data(data: Any) -> tuple[DrawnRun, FaultPlan]:
    """The run and the faults of :func:`run_to_data`.

    Raises:
        ReplayError: it is something else.

    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ReplayError(f"this is no replay of `makespan fuzz`: its `schema` is not {SCHEMA!r}")
    workflow, findings = parse_workflow(data.get("workflow"))
    if workflow is None:
        said = "; ".join(f"{finding.field}: {finding.message}" for finding in findings)
        raise ReplayError(f"its workflow cannot be read: {said}")
    try:
        return DrawnRun(workflow, _behaviour(data["behaviour"])), _faults(data["faults"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReplayError(f"its behaviour or its faults cannot be read: {type(error).__name__}: {error}") from error


def read_replay(path: str | Path) -> tuple[DrawnRun, FaultPlan]:
    """The run and the faults of a file.

    Raises:
        ReplayError: there is no such file, or it is none of ours.

    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ReplayError(f"{path} cannot be read: {error}") from error
    try:
        return run_from_data(read_finite_json(text))
    except ValueError as error:
        raise ReplayError(f"{path}: {error}") from error


def write_replay(path: str | Path, run: DrawnRun, faults: FaultPlan = NO_FAULTS) -> None:
    """Keep a run, with its faults if it has any, in a file of its own; :func:`read_replay` gives the same back.

    Raises:
        OSError: it cannot be written.

    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(run_to_data(run, faults), indent=1) + "\n", encoding="utf-8")


def scenario_of(run: DrawnRun, name: str) -> dict[str, Any]:
    """The run as a scenario: each step waits and fails as drawn. It has no calls, deaths and cancellations."""
    data = dump_workflow(run.workflow)
    behaviour = run.behaviour
    steps = [
        _scenario_step(step, behaviour.steps[step["step_id"]]) if step["step_id"] in behaviour.steps else step
        for step in data["steps"]
    ]
    scenario: dict[str, Any] = {
        "scenario": name,
        "description": f"found by makespan fuzz; {behaviour.workers} workers, policy {behaviour.policy}",
        "seed": behaviour.seed,
    }
    if data.get("inputs"):
        scenario["inputs"] = data["inputs"]
    if behaviour.resources:
        scenario["resources"] = {name: _words(resource) for name, resource in behaviour.resources.items()}
    scenario["steps"] = steps
    scenario["benchmark"] = {
        "executors": ["virtual"], "workers": [behaviour.workers], "policies": [behaviour.policy]
    }  # fmt: skip
    return scenario


def _scenario_step(step: Mapping[str, Any], plan: StepPlan) -> dict[str, Any]:
    fails = 0
    if step.get("for_each"):
        # One tool for all items: they do what the first was drawn to do.
        plan = plan.items[0]
    elif "for_each" in step:
        return {**step, "tool": "noop"}
    for attempt in plan.attempts:
        if attempt.outcome == "succeeded":
            break
        fails += 1
    if fails == len(plan.attempts):
        # The last plan represents all later attempts.
        fails = ALWAYS
    seconds = plan.attempts[0].duration_ns / NANOSECONDS
    found = {**step, "tool": "flaky" if fails else "sleep", "args": {"seconds": seconds}}
    if fails:
        found["args"]["fail_times"] = fails
    found["expected_seconds"] = seconds
    return found


def _words(words: Resource | Step) -> dict[str, Any]:
    found: dict[str, Any] = words.model_dump(mode="json", exclude_defaults=True)
    return found


def _ids(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else list(ids)


def _plan_to_data(plan: StepPlan) -> dict[str, Any]:
    # As deep as calls were drawn: a few levels.
    found: dict[str, Any] = {"attempts": [_attempt_to_data(attempt) for attempt in plan.attempts]}
    if plan.when is not None:
        found["when"] = plan.when
    if plan.items:
        found["items"] = [_plan_to_data(item) for item in plan.items]
    return found


def _attempt_to_data(attempt: AttemptPlan) -> dict[str, Any]:
    found: dict[str, Any] = {"duration_ns": attempt.duration_ns, "outcome": attempt.outcome}
    if attempt.tokens_used is not None:
        found["tokens_used"] = attempt.tokens_used
    if attempt.calls:
        found["calls"] = [
            {
                "offset_ns": call.offset_ns,
                "children": [
                    {"step": _words(child.step), "plan": _plan_to_data(child.plan)} for child in call.children
                ],
            }
            for call in attempt.calls
        ]
    return found


def _plan_from_data(data: Mapping[str, Any]) -> StepPlan:
    return StepPlan(
        tuple(_attempt_from_data(attempt) for attempt in data["attempts"]),
        data.get("when"),
        tuple(_plan_from_data(item) for item in data.get("items", ())),
    )


def _attempt_from_data(data: Mapping[str, Any]) -> AttemptPlan:
    calls = tuple(
        Call(
            call["offset_ns"],
            tuple(
                Child(Step.model_validate(child["step"]), _plan_from_data(child["plan"])) for child in call["children"]
            ),
        )
        for call in data.get("calls", ())
    )
    return AttemptPlan(data["duration_ns"], data["outcome"], data.get("tokens_used"), calls)


def _behaviour(data: Mapping[str, Any]) -> Behaviour:
    return Behaviour(
        steps={step_id: _plan_from_data(plan) for step_id, plan in data["steps"].items()},
        resources={name: Resource.model_validate(resource) for name, resource in data["resources"].items()},
        cancellations=_cancellations(data["cancellations"]),
        workers=data["workers"],
        policy=data["policy"],
        seed=data["seed"],
    )


def _cancellations(data: Sequence[Any]) -> tuple[tuple[int, tuple[str, ...] | None], ...]:
    return tuple((time, None if ids is None else tuple(ids)) for time, ids in data)


def _faults(data: Mapping[str, Any]) -> FaultPlan:
    return FaultPlan(
        mishaps={(step_id, attempt): Mishap(kind, after) for step_id, attempt, kind, after in data["mishaps"]},
        disorder=data["disorder"],
        clock=tuple((turn, amount) for turn, amount in data["clock"]),
        instruments=tuple((hook, number) for hook, number in data["instruments"]),
        conditions=tuple(data["conditions"]),
        cancellations=_cancellations(data["cancellations"]),
        resizes=tuple((time, tuple(sizes.items())) for time, sizes in data["resizes"]),
        stubborn=data["stubborn"],
        overtakes=data.get("overtakes"),
        crash=_crash(data["crash"]) if data.get("crash") else None,
    )


def _crash_to_data(crash: CrashPlan) -> dict[str, Any]:
    return {
        "crashes": [[one.turn, one.stage, one.lost_writes] for one in crash.crashes],
        "write_period_ns": crash.write_period_ns,
        "each": crash.each,
        "unsure": crash.unsure,
        "rerun": list(crash.rerun),
    }


def _crash(data: Mapping[str, Any]) -> CrashPlan:
    return CrashPlan(
        crashes=tuple(Crash(turn, stage, lost) for turn, stage, lost in data["crashes"]),
        write_period_ns=data["write_period_ns"],
        each=data["each"],
        unsure=data["unsure"],
        rerun=tuple(data["rerun"]),
    )


__all__ = ["ReplayError", "Workflow", "read_replay", "run_from_data", "run_to_data", "scenario_of"]
