"""Plays a drawn run that is kept, dies, loses what was not durable, and is resumed, on the virtual clock.

::

    run ─▶ journal writer ─▶ commits in memory ─ crash: the last are lost ─▶ reader ─▶ what is finished ─▶ run …

Rules of this module:
- Writer, reader, checks, reuse, engine and scheduler are those of every run. Only the file is in memory.
- A write that a thread waited for is durable; of the others the last may be lost.
- A call does what its arguments say: those that behave alike are given the same arguments, all others different ones.
- What was durable is noted here by looking at the attempts at each commit, not by reading what was written.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from executor.backends.virtual import Simulated
from executor.dependencies import Graph, plan
from executor.journal.earlier_run import read_earlier_run
from executor.journal.finished_steps import FinishedSteps
from executor.journal.journal_errors import JournalError
from executor.journal.journal_file import JournalFile, Session
from executor.journal.journal_writer import JournalWriter, head_of_session
from executor.journal.kept_run import Resume, head_of_resume, what_is_finished
from executor.journal.output_files import OutputFiles
from executor.journal.resume_plan import ResumePlan
from executor.model.findings import raise_errors
from executor.model.workflow import Step
from executor.record.timeline import Attempt
from executor.tools.tool import Tool
from executor.tools.toolbox import Toolbox
from harness.testing.drawing.behaviour import Behaviour, Child, StepPlan, output_of
from harness.testing.drawing.generator import DrawnRun
from harness.testing.fuzz.faults import Crash, CrashPlan, FaultPlan
from harness.testing.fuzz.faulty_backend import FaultyBackend
from harness.testing.fuzz.faulty_simulation import FaultySimulation, FuzzedEngine, Played, reserving_after

_PLACE = Path("simulated.journal")


class CrashError(Exception):
    """The run was drawn to die here."""


class MemoryJournal(JournalFile):
    """What is appended stays in memory, commit by commit. ``durable``: so many commits cannot be lost."""

    def __init__(self) -> None:
        self.path = _PLACE
        self.commits: list[Sequence[str]] = []
        self.durable = 0
        # No thread waits for what is written now.
        self.in_background = False
        # By commit, how many attempts had ended.
        self.ended_before: list[int] = []
        self.watch: Watch | None = None

    def append(self, bodies: Sequence[str]) -> None:
        """One commit."""
        self.commits.append(tuple(bodies))
        if self.watch is not None:
            self.watch.look()
            self.ended_before.append(len(self.watch.ended))
        if not self.in_background:
            self.durable = len(self.commits)

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Watch:
    """What happened to the attempts of one part, in order: granted, calls that ``began``, and the ends."""

    granted: list[Attempt] = field(default_factory=list)
    began: list[Attempt] = field(default_factory=list)
    ended: list[Attempt] = field(default_factory=list)
    _live: list[Attempt] = field(default_factory=list)

    def start(self, starts: Sequence[Attempt]) -> None:
        """These were granted, or go on after their calls."""
        known = set(self._live)
        new = [attempt for attempt in starts if attempt not in known]
        self.granted += new
        self._live += new
        self.look()

    def look(self) -> None:
        """Note which attempts have ended."""
        live: list[Attempt] = []
        for attempt in self._live:
            (self.ended if attempt.outcome is not None else live).append(attempt)
        self._live = live


class CrashingBackend(FaultyBackend):
    """The backend with all its faults, in a process that dies."""

    simulation: CrashingSimulation

    def _happening(self) -> Any:
        self.simulation.die_if_drawn("before")
        return super()._happening()

    def _start(self, starts: Sequence[Attempt]) -> None:
        simulation = self.simulation
        simulation.watch.start(starts)
        simulation.write_if_due()
        if simulation.dies("granted"):
            super()._start(starts[: len(starts) // 2])
            raise CrashError
        super()._start(starts)
        simulation.die_if_drawn("begun")
        simulation.write_if_due()


class CrashingEngine(FuzzedEngine):
    """The engine; what a false condition skips is null to templates, as where conditions are evaluated."""

    def _condition(self, index: int) -> bool:
        holds = super()._condition(index)
        if not holds:
            self.record.null_outputs[self.scheduler.step_ids[index]] = None
        return holds


class CrashingSimulation(FaultySimulation):
    """One part of a run: up to a crash (None: to its end)."""

    engine_class = CrashingEngine
    backend_class: ClassVar[type[FaultyBackend]] = CrashingBackend
    backend: CrashingBackend

    def __init__(
        self, run: DrawnRun, faults: FaultPlan, crash: Crash | None, earlier: FinishedSteps | None, **options: Any
    ) -> None:
        assert faults.crash is not None
        self.tools = known_tools(run)
        super().__init__(run, faults, earlier=earlier, **options)
        self.crash = crash
        self.watch = Watch()
        self.file = MemoryJournal()
        self.file.watch = self.watch
        self.crashed = False
        self._period_ns = faults.crash.write_period_ns
        self._written_at = -self._period_ns
        self.backend.simulation = self
        durable = "each" if faults.crash.each else "within_100_ms"
        self.writer = JournalWriter(self.file, self.engine, self.engine.toolbox.tools, durable)  # type: ignore[arg-type]  # one of the two words
        self.engine.keep_with(self.writer)

    def dies(self, stage: str) -> bool:
        """Whether the process dies now."""
        crash = self.crash
        self.crashed = crash is not None and crash.stage == stage and self.backend.turns >= crash.turn
        return self.crashed

    def die_if_drawn(self, stage: str) -> None:
        """Die, if that is drawn."""
        if self.dies(stage):
            raise CrashError

    def write_if_due(self) -> None:
        """What the writing thread does from time to time."""
        now = self.backend.now()
        if now < self._written_at + self._period_ns:
            return
        self._written_at = now
        self.file.in_background = True
        try:
            self.writer.write()
        finally:
            self.file.in_background = False

    def attempt(self, attempt: Attempt) -> Simulated:
        """The call of an attempt begins. The output of a call, or of an item, is what its arguments say."""
        engine = self.engine
        step = engine.scheduler.steps[attempt.index]
        if step.idempotent is False or "{" in (step.prompt or "") or attempt.parent is not None:
            # Others are not made ready one by one (:meth:`executor.engine.rendering.Renderer.direct_calls`).
            engine.renderer.work(step, attempt.index)
        if step.idempotent is False:
            # It waited for the write that goes on, too.
            self.file.durable = len(self.file.commits)
        self.watch.began.append(attempt)
        simulated = super().attempt(attempt)
        if simulated.outcome != "succeeded" or attempt.parent is None:
            return simulated
        return simulated._replace(value=output_of(attempt.parent, [self.arguments(attempt.index)]))

    def arguments(self, index: int) -> Any:
        """The arguments of a call or an item, rendered."""
        _, _, args = self.engine.renderer.rendered(self.engine.scheduler.steps[index], index)
        return sorted(args.items())


@dataclass
class Part:
    """A run, or a resume of it, up to its crash (``crashed``) or its end. ``kept_ends``: so many of ``watch.ended`` are
    durable. ``unsure``: the steps that the resume asked about; ``refused``: whether it would not begin without an
    answer. ``shown``: what it said that it would do. ``digests``: what identifies calls and items, by id.
    """

    played: Played
    watch: Watch
    crashed: bool
    kept_ends: int
    digests: Mapping[str, tuple[str, Any]]
    unsure: Sequence[str] = ()
    refused: bool = False
    shown: ResumePlan | None = None


@dataclass
class CrashedPlay:
    """All parts of a run. ``refusal``: a resume was refused for another reason than steps that are unsure."""

    run: DrawnRun
    faults: FaultPlan
    parts: list[Part] = field(default_factory=list)
    refusal: str | None = None

    @property
    def last(self) -> Part:
        """The part that came to the end."""
        return self.parts[-1]


def play_with_crashes(run: DrawnRun, faults: FaultPlan, *, check_every_turn: bool = False) -> CrashedPlay:
    """Play a run that dies as its faults say, each resume of it, and the last one to its end."""
    crash = faults.crash
    assert crash is not None
    run = told_apart(run)
    played = CrashedPlay(run, faults)
    planned = plan(run.workflow, resources=run.behaviour.resources, hints=False)
    raise_errors(planned.findings)
    assert planned.graph is not None
    sessions: list[Session] = []
    with reserving_after(faults.overtakes):
        for number, dies in enumerate((*crash.crashes, None)):
            resume = _Resume(planned.graph, run, crash, number)
            try:
                earlier = resume.earlier(sessions) if number else None
            except JournalError as error:
                played.refusal = str(error)
                break
            simulation = CrashingSimulation(
                run, faults, dies, earlier, check_every_turn=check_every_turn, graph=planned.graph
            )
            part = _play_part(simulation, resume)
            played.parts.append(part)
            sessions.append(Session(resume.head(simulation), _kept(simulation)))
            if part.played.error is not None:
                break
    return played


class _Resume:
    """What comes before one part: reading, asking, deciding. The first part has nothing of it."""

    def __init__(self, graph: Graph, run: DrawnRun, crash: CrashPlan, number: int) -> None:
        rerun = crash.rerun if number == 1 else ()
        self.options = Resume(_PLACE, rerun=rerun, unsure=crash.unsure, show=self._show, run_id=f"part-{number}")
        self.graph = graph
        self.run = run
        self.refused = False
        self.shown: ResumePlan | None = None
        self._finished: FinishedSteps | None = None

    def earlier(self, sessions: Sequence[Session]) -> FinishedSteps:
        """What the parts before left. Raises JournalError where that is refused, but for unsure steps."""
        found = read_earlier_run(sessions, OutputFiles(_PLACE))
        context = CrashingSimulation.context_of(self.run)
        arguments = self.graph, known_tools(self.run), context
        undecided = replace(self.options, unsure=None, show=None)
        try:
            self._finished = what_is_finished(found, undecided, *arguments)
        except JournalError as error:
            if "must not be done twice" not in str(error):
                raise
            self.refused = True
        self._finished = what_is_finished(found, self.options, *arguments)
        return self._finished

    def head(self, simulation: CrashingSimulation) -> Mapping[str, Any]:
        """What the part says of itself in the journal."""
        context = simulation.engine.context
        if self._finished is None:
            return head_of_session(self.options.run_id, context.workflow_id, {})
        return head_of_resume(self._finished.earlier, self.options, self.graph, context)

    def _show(self, shown: ResumePlan) -> None:
        self.shown = shown


def _play_part(simulation: CrashingSimulation, resume: _Resume) -> Part:
    part = simulation.play()
    simulation.watch.look()
    if isinstance(part.error, CrashError):
        part.error = None
    elif part.error is None:
        simulation.crashed = False
        simulation.writer.end("finished")
    kept = _commits_kept(simulation)
    return Part(
        part,
        simulation.watch,
        simulation.crashed,
        _ends_kept(simulation, kept),
        _digests(simulation),
        refused=resume.refused,
        shown=resume.shown,
    )


def _commits_kept(simulation: CrashingSimulation) -> int:
    file, crash = simulation.file, simulation.crash
    lost = crash.lost_writes if simulation.crashed and crash is not None else 0
    return max(file.durable, len(file.commits) - lost)


def _ends_kept(simulation: CrashingSimulation, commits: int) -> int:
    assert simulation.faults.crash is not None
    if simulation.faults.crash.each or not simulation.crashed:
        # The run went on only once they were on the disk.
        return len(simulation.watch.ended)
    return simulation.file.ended_before[commits - 1] if commits else 0


def _kept(simulation: CrashingSimulation) -> list[Mapping[str, Any]]:
    commits = simulation.file.commits[: _commits_kept(simulation)]
    return [json.loads(body) for bodies in commits for body in bodies]


def _digests(simulation: CrashingSimulation) -> dict[str, tuple[str, Any]]:
    """What identifies each call and item that came up: its caller, and what it is given."""
    scheduler = simulation.engine.scheduler
    words = {step.step_id: step for step in simulation.workflow.steps}
    found: dict[str, tuple[str, Any]] = {}
    for index, step_id in enumerate(scheduler.step_ids):
        caller = scheduler.caller(index)
        if caller < 0:
            continue
        parent = scheduler.step_ids[caller]
        items = words[parent].for_each if parent in words else None
        args: Any = scheduler.steps[index].args
        if isinstance(items, list):
            args = {"item": items[int(step_id.rpartition("/")[2]) - 1]}
        found[step_id] = parent, repr(args)
    return found


def play_undisturbed(played: CrashedPlay, without: Sequence[str]) -> Played:
    """The same run when nothing dies, and these steps are left out."""
    workflow, behaviour = played.run
    steps = dict(behaviour.steps)
    for step_id in without:
        steps[step_id] = steps[step_id]._replace(when=False)
    words = tuple(
        step.model_copy(update={"when": f"inputs.go_{step.step_id}"}) if step.step_id in without else step
        for step in workflow.steps
    )
    inputs = {**workflow.inputs, **{f"go_{step_id}": False for step_id in without}}
    run = DrawnRun(workflow.model_copy(update={"steps": words, "inputs": inputs}), replace(behaviour, steps=steps))
    with reserving_after(played.faults.overtakes):
        return CrashingSimulation(run, played.faults, None, None).play()


# ------------------------------------------------------------------ calls and what identifies them


@cache
def _tools_of(names: frozenset[str]) -> Mapping[str, Tool]:
    box = Toolbox({})
    raise_errors(box.resolve(sorted(names)))
    return box.tools


def known_tools(run: DrawnRun) -> Mapping[str, Tool]:
    """The tools that the steps name. None is ever called."""
    return _tools_of(frozenset(step.tool for step in run.workflow.steps if step.tool is not None))


def told_apart(run: DrawnRun) -> DrawnRun:
    """The run with arguments for calls and items: those that behave alike have the same."""
    workflow, behaviour = run
    steps = [_step_told_apart(step, behaviour.steps[step.step_id]) for step in workflow.steps]
    plans = {step_id: _plan_told_apart(plan) for step_id, plan in behaviour.steps.items()}
    changed: Behaviour = replace(behaviour, steps=plans)
    return DrawnRun(workflow.model_copy(update={"steps": tuple(steps)}), changed)


def _step_told_apart(step: Step, plan: StepPlan) -> Step:
    if not plan.items or step.for_each is None:
        return step
    words = {"for_each": [_digest(item) for item in plan.items], "args": {"item": "{{ item }}"}}
    return step.model_copy(update=words)


def _plan_told_apart(plan: StepPlan) -> StepPlan:
    if not plan.items and not any(attempt.calls for attempt in plan.attempts):
        return plan
    attempts = tuple(
        attempt._replace(
            calls=tuple(call._replace(children=tuple(map(_child_told_apart, call.children))) for call in attempt.calls)
        )
        for attempt in plan.attempts
    )
    return plan._replace(attempts=attempts, items=tuple(map(_plan_told_apart, plan.items)))


def _child_told_apart(child: Child) -> Child:
    alike = child.step.model_copy(update={"step_id": "", "depends_on": ()})
    digest = _digest((alike, child.plan))
    words: dict[str, Any] = {"args": {"does": digest}}
    if digest % _ONE_OF_SO_MANY_ONCE == 0:
        words["idempotent"] = False
    step: Step = child.step.model_copy(update=words)
    return Child(step, _plan_told_apart(child.plan))


_ONE_OF_SO_MANY_ONCE = 5


def _digest(what: object) -> int:
    return zlib.crc32(repr(what).encode())
