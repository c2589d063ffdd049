"""Plays drawn runs for real, on any backend, with durations of milliseconds, and judges them as real runs.

Rules of this module:
- A run that does not end is reported with the stories of its open steps and the stacks of all threads, and left behind.
- What depends on the machine (whether a timeout of a millisecond comes before the end) is left open.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from executor.backends import Backend, BackendError, find_backend
from executor.dependencies import plan
from executor.engine import Engine
from executor.findings import raise_errors
from executor.timeline import NANOSECONDS, AttemptOutcome, Timeline
from executor.tools.base import RunContext, Tool, ToolContext
from executor.workflow import Retry, Step
from harness.testing.behaviour import AttemptPlan, Behaviour, StepPlan, graph_of_run
from harness.testing.fuzz_backend import stuck_story
from harness.testing.fuzz_coverage import WatchedScheduler
from harness.testing.fuzz_watchdog import all_stacks
from harness.testing.generator import DEFAULT_FEATURES, DrawnRun
from harness.testing.oracle import OPT_IN, PROPERTIES, Violation, check_timeline

SCALE = 0.02
"""A drawn second lasts so long."""

REAL_FEATURES = DEFAULT_FEATURES - {"nested"}
"""What is drawn for real runs; with ``deaths`` where workers are processes."""

CLEAN_UP_SECONDS = 2.0
# How late a thread may be woken on a busy machine.
TOLERANCE_NS = 50_000_000
DEATH_STATUS = 13


class FollowTool(Tool):
    """Does what was drawn: waits, and fails or not. Its output tells which prompt it saw."""

    kind = "drawn"
    summary = "waits and fails as drawn"

    def __init__(self, name: str, plans: Mapping[str, Sequence[tuple[float, AttemptOutcome, int | None]]]) -> None:
        super().__init__(name)
        self._plans = plans

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait in this thread."""
        seconds, outcome, tokens = self._attempt(context)
        if seconds:
            time.sleep(seconds)
        return self._end(context, outcome, tokens, prompt)

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait without a thread."""
        seconds, outcome, tokens = self._attempt(context)
        if seconds:
            await asyncio.sleep(seconds)
        return self._end(context, outcome, tokens, prompt)

    def _attempt(self, context: ToolContext) -> tuple[float, AttemptOutcome, int | None]:
        attempts = self._plans[context.step_id]
        return attempts[min(context.attempt, len(attempts)) - 1]

    def _end(self, context: ToolContext, outcome: AttemptOutcome, tokens: int | None, prompt: str | None) -> Any:
        if tokens is not None:
            context.record_tokens(tokens)
        if outcome == "worker_died":
            os._exit(DEATH_STATUS)
        if outcome != "succeeded":
            raise RuntimeError("this attempt was drawn to fail")
        return zlib.crc32(repr((context.step_id, prompt)).encode())


class WatchedEngine(Engine):
    """The engine with a watched scheduler."""

    scheduler_class: ClassVar[type[WatchedScheduler]] = WatchedScheduler


@dataclass
class RealRun:
    """A run that was played for real. ``hang``: it did not end, with all that is known of where it stands."""

    run: DrawnRun
    backend: str
    timeline: Timeline
    engine: Engine
    cancellations: list[tuple[int, None]] = field(default_factory=list)
    error: BaseException | None = None
    hang: str | None = None

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
    attempts = tuple(
        AttemptPlan(round(attempt.duration_ns * scale), attempt.outcome, attempt.tokens_used)
        for attempt in plan.attempts
    )
    return StepPlan(attempts, plan.when)


def play_for_real(run: DrawnRun, backend: str | Backend, *, patience_seconds: float = 20.0) -> RealRun:
    """Play a run (see :func:`scaled`) on a backend, and wait at most so long for its end.

    Raises:
        WorkflowError: the workflow must not run.
        BackendError: the backend cannot be had.

    """
    workflow, behaviour = run
    made = backend if isinstance(backend, Backend) else _make(find_backend(backend), behaviour.workers)
    planned = plan(workflow, resources=behaviour.resources, hints=False)
    raise_errors(planned.findings)
    assert planned.graph is not None
    plans = {
        step_id: [(one.duration_ns / NANOSECONDS, one.outcome, one.tokens_used) for one in steps.attempts]
        for step_id, steps in behaviour.steps.items()
    }
    names = {step.tool for step in workflow.steps if step.tool is not None}
    engine = WatchedEngine(
        planned.graph,
        {name: FollowTool(name, plans) for name in names},
        made,
        slots=made.capacity,
        policy=behaviour.policy,  # type: ignore[arg-type]  # drawn from the policies
        resources=behaviour.resources,
        context=RunContext(workflow.workflow_id, workflow.inputs, 1.0, behaviour.seed),
    )
    played = RealRun(
        DrawnRun(workflow, replace(behaviour, workers=made.capacity)),
        made.name,
        engine.scheduler.timeline(backend=made.name),
        engine,
    )
    _drive(played, made, patience_seconds)
    played.timeline = engine.scheduler.timeline(backend=made.name)
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
    played.hang = f"{stuck_story(engine, why)}\n{all_stacks()}"
    for leave in (engine.cancel, backend.close):
        helper = threading.Thread(target=_quietly, args=(leave,), daemon=True)
        helper.start()
        helper.join(CLEAN_UP_SECONDS)


def _quietly(leave: Any) -> None:
    with suppress(Exception):
        leave()


def judge_real(played: RealRun) -> list[Violation]:
    """All that is wrong with a real run."""
    if played.hang is not None:
        return [Violation("ends", played.hang)]
    if played.error is not None:
        return [Violation("ends", f"{type(played.error).__name__}: {played.error}")]
    workflow, behaviour = played.run
    wanted = set(PROPERTIES) - OPT_IN
    if any(step.timeout is not None for step in workflow.steps) or played.cancellations:
        # Which step a batch must take next depends on locks that a call past its end holds; the record has none.
        wanted.discard("barriers")
    found = check_timeline(
        graph_of_run(workflow, behaviour, played.timeline),
        played.timeline,
        exact=False,
        properties=wanted,
        outcomes=lambda step_id, number: behaviour.steps[step_id].attempt(number).outcome,
        handed_out_ahead=played.backend == "processes",
        unlisted_cancellations=bool(played.cancellations),
        tolerance_ns=TOLERANCE_NS,
    )
    scheduler = played.engine.scheduler
    if isinstance(scheduler, WatchedScheduler):
        scheduler.reached()
        found += [Violation("transitions", message) for message in scheduler.illegal]
    return found


__all__ = ["REAL_FEATURES", "Behaviour", "FollowTool", "RealRun", "judge_real", "play_for_real", "scaled"]
