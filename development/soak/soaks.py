"""The soaks: many steps with faults on an executor, many small runs, days of a slow service on the virtual clock."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from development.soak.footprint import Footprint, footprint
from development.soak.watchdog import Watchdog
from executor import run
from executor.model.workflow import Resource, Step, ToolDeclaration, Workflow
from executor.record.timeline import NANOSECONDS

# A run keeps a record of all its steps, so that many steps are many runs in one process.
STEPS_A_RUN: Final = 2_000
_WORKERS: Final = 4
_TENTHS: Final = 10
_DEADLY: Final = 997
# One step of so many outlasts its timeout. On `processes` that costs a worker, which takes long to replace.
_LATE: Final = 101
_LATE_WHERE_IT_KILLS: Final = 1_009
_CALLS_A_MINUTE: Final = 4
_SERVICE_SECONDS: Final = 90


@dataclass
class Soaked:
    """What came of a soak. ``tenths``: what the process held after each tenth of it."""

    name: str
    steps: int
    seconds: float
    attempts: int
    failures: int
    tenths: list[Footprint]
    faults: list[str] = field(default_factory=list)


def die() -> None:
    """A step that takes its worker with it."""
    os.kill(os.getpid(), signal.SIGKILL)


def faulty_workflow(steps: int, number: int, *, deadly: bool) -> Workflow:
    """Layers of steps that fail, are tried again, outlast their timeout, compute, and (``deadly``) kill their worker.
    Some fail for good, and what needs them is skipped.
    """
    made: list[Step] = []
    for index in range(steps):
        after = (f"s{index - 7}",) if index % 3 == 0 and index >= 7 else ()
        tool, args, more = "noop", dict[str, Any](), dict[str, Any]()
        if index % 11 == 0:
            tool, args = "flaky", {"fail_ratio": 0.3, "seconds": 0}
            more = {"retry": {"max_attempts": 4, "backoff_seconds": 0.0005, "multiplier": 1}}
        elif index % (_LATE_WHERE_IT_KILLS if deadly else _LATE) == 1:
            tool, args, more = "sleep", {"seconds": 0.02}, {"timeout": 0.005}
        elif deadly and index % _DEADLY == _DEADLY - 1:
            tool, more = "deadly", {"retry": {"max_attempts": 2, "backoff_seconds": 0}}
        words = {"step_id": f"s{index}", "tool": tool, "args": args, "depends_on": after, **more}
        made.append(Step.model_validate(words))
    return Workflow(workflow_id=f"soak-{number}", steps=tuple(made))


def many_steps(executor: str, steps: int, watchdog: Watchdog) -> Soaked:
    """So many steps with faults on an executor, in runs one after the other."""
    return _runs(f"{executor}, steps with faults", executor, max(_TENTHS, round(steps / STEPS_A_RUN)), steps, watchdog)


def many_runs(runs: int, watchdog: Watchdog) -> Soaked:
    """So many runs of twenty steps on threads."""
    return _runs("threads, small runs", "threads", max(_TENTHS, runs), 20 * runs, watchdog)


def _runs(name: str, executor: str, runs: int, steps: int, watchdog: Watchdog) -> Soaked:
    deadly = executor == "processes"
    tools = {"deadly": ToolDeclaration.model_validate({"kind": "python", "callable": f"{__name__}:die"})}
    soaked = Soaked(name, 0, 0.0, 0, 0, [])
    began = time.monotonic()
    for number in range(runs):
        workflow = faulty_workflow(max(1, steps // runs), number, deadly=deadly)
        watchdog.about = {"soak": name, "run": number, "workflow": workflow.workflow_id, "steps": len(workflow.steps)}
        done = run(
            workflow, backend=executor, workers=_WORKERS, seed=number, tools=tools if deadly else {},
            instruments=[watchdog],
        )  # fmt: skip
        statuses = Counter(done.timeline.statuses)
        soaked.steps += len(workflow.steps)
        soaked.attempts += len(done.timeline.attempts)
        soaked.failures += statuses["failed"]
        if statuses.keys() - {"succeeded", "failed", "skipped"}:
            soaked.faults.append(f"run {number}: steps ended as {dict(statuses)}")
        if (number + 1) * _TENTHS // runs > number * _TENTHS // runs:
            del done, workflow
            soaked.tenths.append(footprint())
    soaked.seconds = time.monotonic() - began
    return soaked


def slow_service(hours: float, watchdog: Watchdog) -> Soaked:
    """So many simulated hours of a service that takes 90 s a call, fails now and then, and limits rate and calls."""
    count = max(1, round(hours * 60 * _CALLS_A_MINUTE))
    call = {
        "tool": "flaky", "args": {"fail_ratio": 0.1, "seconds": _SERVICE_SECONDS}, "needs": {"service": 1},
        "retry": {"max_attempts": 8, "backoff_seconds": 20},
    }  # fmt: skip
    steps = tuple(Step.model_validate({"step_id": f"call{number}", **call}) for number in range(count))
    capacity = round(_CALLS_A_MINUTE * _SERVICE_SECONDS / 60)
    watchdog.about = {"soak": "slow service", "steps": count}
    began = time.monotonic()
    done = run(
        Workflow(workflow_id="slow-service", steps=steps), backend="virtual", workers=2 * capacity,
        instruments=[watchdog], resources={"service": Resource(capacity=capacity, rate_per_minute=2 * _CALLS_A_MINUTE)},
    )  # fmt: skip
    simulated_hours = max(attempt.ended or 0 for attempt in done.timeline.attempts) / NANOSECONDS / 3600
    statuses = Counter(done.timeline.statuses)
    soaked = Soaked(
        f"virtual, {simulated_hours:.1f} simulated hours of a slow service", count, time.monotonic() - began,
        len(done.timeline.attempts), statuses["failed"], [footprint()],
    )  # fmt: skip
    if simulated_hours < hours or statuses.keys() - {"succeeded", "failed"}:
        soaked.faults.append(f"{simulated_hours:.1f} simulated hours, steps ended as {dict(statuses)}")
    return soaked
