"""Plays drawn runs for real, on any backend, with durations of milliseconds. What the steps do is in
:mod:`harness.testing.fuzz.real_steps`, how such runs are judged in :mod:`harness.testing.fuzz.real_run_judging`.

Rules of this module:
- A run that does not end is left. The report has the histories of its open steps and the stacks of all threads.
"""

from __future__ import annotations

import functools
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from executor import running
from executor.backends import BUILT_IN, Backend, BackendError, find_backend
from executor.dependencies import plan
from executor.engine.engine import Engine
from executor.model.findings import raise_errors
from executor.model.workflow import Retry, Step, Workflow
from executor.node_runtime import call_tool
from executor.record.timeline import NANOSECONDS, Timeline
from executor.tools.tool import RunContext, Tool
from harness.testing.backends.backend_case import CANNOT
from harness.testing.drawing.behaviour import Call, Child, StepPlan, called_by
from harness.testing.drawing.generator import DEFAULT_FEATURES, DrawnRun
from harness.testing.fuzz.faulty_backend import why_stuck
from harness.testing.fuzz.real_steps import FOLLOWING, DrawnToolbox, Seen, drawn_steps, read_notes
from harness.testing.fuzz.transition_coverage import WatchedScheduler
from harness.testing.fuzz.watchdog import all_stacks

SCALE = 0.02
"""A drawn second lasts so long."""

REAL_FEATURES = DEFAULT_FEATURES | {"deep", "mapped"}
"""What is drawn for real runs; see :func:`real_features`."""
CALLS = frozenset({"nested", "deep"})
"""What is not drawn where steps cannot call others."""

CLEAN_UP_SECONDS = 2.0
TRIAL_SECONDS = 10.0


def real_features(backend: str) -> frozenset[str]:
    """What is drawn for runs on this backend: calls where they find their way, deaths where workers are processes."""
    without = frozenset() if has_way_back(backend) else CALLS
    return (REAL_FEATURES - without) | ({"deaths"} if backend == "processes" else set())


@functools.cache
def has_way_back(backend: str) -> bool:
    """Whether steps on this backend can call others. One of another package is tried; where that does not end, it is
    for the drawn runs to find.
    """
    if backend in BUILT_IN:
        return "calls" not in CANNOT.get(backend, {})
    workflow = Workflow(steps=(Step(step_id="calls", tool="calls"),))
    made = _make(find_backend(backend), 2)
    outputs: list[Mapping[str, Any]] = []

    def try_it() -> None:
        # What else is wrong with it, the drawn runs say.
        with suppress(Exception):
            outputs.append(running.run(workflow, backend=made, tools={"calls": _calls, "answers": _answers}).outputs)

    trial = threading.Thread(target=try_it, daemon=True)
    trial.start()
    trial.join(TRIAL_SECONDS)
    return bool(outputs) and outputs[0].get("calls") == _answers()


def _calls() -> Any:
    return call_tool("answers")


def _answers() -> str:
    return "answered"


class WatchedEngine(Engine):
    """The engine with a watched scheduler."""

    scheduler_class: ClassVar[type[WatchedScheduler]] = WatchedScheduler


@dataclass
class RealRun:
    """A run that was played for real. ``hang``: it did not end, with all that is known of its state."""

    run: DrawnRun
    backend: str
    timeline: Timeline
    engine: Engine
    cancellations: list[tuple[int, None]] = field(default_factory=list)
    notes: list[Seen] = field(default_factory=list)
    error: BaseException | None = None
    hang: str | None = None

    @property
    def steady(self) -> bool:
        """Whether every attempt did all that was drawn for it."""
        return is_steady(self.run)

    @property
    def statuses(self) -> dict[str, str]:
        """The final state of each step."""
        return dict(zip(self.timeline.step_ids, self.timeline.statuses, strict=True))

    @property
    def attempts(self) -> dict[str, int]:
        """How many attempts each step had."""
        found: dict[str, int] = {}
        for attempt in self.timeline.attempts:
            found[attempt.step_id] = max(found.get(attempt.step_id, 0), attempt.attempt)
        return found


def scaled(run: DrawnRun, scale: float = SCALE, workers: int | None = None) -> DrawnRun:
    """The run with all its times scaled, for real clocks. Cancellations of single steps are left out."""
    workflow, behaviour = run
    steps = tuple(_scaled_step(step, scale) for step in workflow.steps)
    resources = {
        name: resource.model_copy(
            update={
                "rate_per_minute": None if resource.rate_per_minute is None else resource.rate_per_minute / scale,
                "tokens_per_minute": None if resource.tokens_per_minute is None else resource.tokens_per_minute / scale,
                "token_burst": resource.token_burst
                if resource.tokens_per_minute is None or resource.token_burst is not None
                else max(1, int(resource.tokens_per_minute)),
            }
        )
        for name, resource in behaviour.resources.items()
    }
    plans = {step_id: _scaled_plan(plan, scale) for step_id, plan in behaviour.steps.items()}
    cancellations = tuple((round(at * scale), None) for at, ids in behaviour.cancellations if ids is None)
    return DrawnRun(
        workflow.model_copy(update={"steps": steps}),
        replace(
            behaviour,
            steps=plans,
            resources=resources,
            cancellations=cancellations,
            workers=workers or behaviour.workers,
        ),
    )


def _scaled_step(step: Step, scale: float) -> Step:
    fields: dict[str, Any] = {}
    if step.timeout is not None:
        fields["timeout"] = step.timeout * scale
    retry: Retry | None = step.retry
    if retry is not None:
        fields["retry"] = retry.model_copy(
            update={
                "backoff_seconds": retry.backoff_seconds * scale,
                "max_backoff_seconds": retry.max_backoff_seconds * scale,
            }
        )
    return step.model_copy(update=fields)


def _scaled_plan(plan: StepPlan, scale: float) -> StepPlan:
    """As deep as calls were drawn: a few levels."""
    attempts = tuple(
        one._replace(
            duration_ns=round(one.duration_ns * scale), calls=tuple(_scaled_call(call, scale) for call in one.calls)
        )
        for one in plan.attempts
    )
    return plan._replace(attempts=attempts, items=tuple(_scaled_plan(item, scale) for item in plan.items))


def _scaled_call(call: Call, scale: float) -> Call:
    children = (Child(_scaled_step(child.step, scale), _scaled_plan(child.plan, scale)) for child in call.children)
    return Call(round(call.offset_ns * scale), tuple(children))


def is_steady(run: DrawnRun) -> bool:
    """Whether no attempt can be ended from outside: there are no cancellations and no timeouts."""
    calls = (child.step for plan in run.behaviour.steps.values() for child in called_by(plan))
    return not run.behaviour.cancellations and all(step.timeout is None for step in (*run.workflow.steps, *calls))


def play_for_real(run: DrawnRun, backend: str | Backend, *, patience_seconds: float = 20.0) -> RealRun:
    """Play a run (see :func:`scaled`) on a backend, and wait at most so long for its end.

    Raises:
        WorkflowError: the workflow must not run.
        BackendError: the backend cannot be had.

    """
    workflow, behaviour = run
    made = backend if isinstance(backend, Backend) else _make(find_backend(backend), behaviour.workers)
    drawn = drawn_steps(behaviour, steady=is_steady(run))
    steps = tuple(step.model_copy(update={"tool": drawn.tools[step.step_id]}) for step in workflow.steps)
    planned = plan(workflow.model_copy(update={"steps": steps}), resources=behaviour.resources, hints=False)
    raise_errors(planned.findings)
    assert planned.graph is not None
    with tempfile.TemporaryDirectory(prefix="makespan-fuzz-") as folder:
        notes = str(Path(folder) / "notes")
        Path(notes).touch()

        tools: dict[str, Tool] = {name: make(name, drawn.doings, notes) for name, make in FOLLOWING.items()}
        engine = WatchedEngine(
            planned.graph,
            {},
            made,
            slots=made.capacity,
            policy=behaviour.policy,  # type: ignore[arg-type]  # drawn from the policies
            resources=behaviour.resources,
            context=RunContext(workflow.workflow_id, workflow.inputs, 1.0, behaviour.seed),
            toolbox=DrawnToolbox(drawn, tools, {str(step.tool): tools[str(step.tool)] for step in steps}),
        )
        played = RealRun(
            DrawnRun(workflow, replace(behaviour, workers=made.capacity)),
            made.name,
            engine.scheduler.timeline(backend=made.name),
            engine,
        )
        _drive(played, made, patience_seconds)
        played.timeline = engine.scheduler.timeline(backend=made.name)
        played.notes = read_notes(notes)
    return played


def _make(backend: type[Backend], workers: int) -> Backend:
    try:
        return backend(workers)
    except BackendError:
        # One that has its own number of workers.
        return backend()


def _drive(played: RealRun, backend: Backend, patience_seconds: float) -> None:
    engine = played.engine
    opened = threading.Event()

    def work() -> None:
        try:
            backend.open(engine)
            opened.set()
            backend.drive(engine)
        except BaseException as error:  # noqa: BLE001 - whatever breaks is what is looked for
            played.error = error
        finally:
            opened.set()
            try:
                backend.close()
            except BaseException as error:  # noqa: BLE001 - the same
                played.error = played.error or error

    thread = threading.Thread(target=work, name="makespan-fuzz-run", daemon=True)
    thread.start()
    until = time.monotonic() + patience_seconds
    opened.wait(patience_seconds)
    for at, _ in played.run.behaviour.cancellations[:1]:
        thread.join(min(at / NANOSECONDS, patience_seconds))
        if thread.is_alive() and not engine.done:
            played.cancellations.append((engine.now(), None))
            engine.cancel()
    thread.join(max(0.0, until - time.monotonic()))
    if not thread.is_alive():
        return
    why = f"no end after {patience_seconds:g} s on {backend.name}"
    played.hang = f"{why_stuck(engine, why)}\n{all_stacks()}"
    for leave in (engine.cancel, backend.close):
        helper = threading.Thread(target=_quietly, args=(leave,), daemon=True)
        helper.start()
        helper.join(CLEAN_UP_SECONDS)


def _quietly(leave: Any) -> None:
    with suppress(Exception):
        leave()
