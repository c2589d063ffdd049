"""What is simulated: a measured or stated run that can run again, with the names that a person knows its parts by.

Rules of this module:
- A scenario's durations are the stated ones; it runs once on the virtual clock to have them.
- Of a document with several cells one is taken: the one that is named, else the best that really ran.
- ``observed`` holds every measured run time of a step, in nanoseconds of one attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from executor.dependencies import Graph
from executor.model.findings import did_you_mean
from executor.record.outcomes import StepError
from executor.record.timeline import NANOSECONDS, Timeline
from executor.scheduler import POLICIES, Policy
from harness.execution import execute
from harness.result import results_of, timeline_from_document
from harness.result.cell_key import cell_of
from harness.scenario.scenario_model import Loaded
from harness.simulation.changes import Change, SimulationError
from harness.simulation.what_if import Rerun

DEFAULT_WORKERS: Final = 8


@dataclass(slots=True)
class Subject:
    """``kind``: ``scenario``, ``run`` or ``trace``. ``steps``: ids by name. ``tools``: the tool of each step, by id;
    steps of one tool lend each other their durations. ``sampled``: the run times of steps in all repetitions, empty
    where there was one. ``notes`` say what a reader must know of the base. ``failures``:
    by step, why it failed on the virtual clock (of a run: as recorded); ``skipped``: the steps that did not run since
    others had failed. Neither takes the time that it would take. ``assumed``: the steps whose duration nobody knows.
    ``sure_gain_nanoseconds``: what a change gains at least, whatever it is that the subject leaves open; None: nothing
    is left open, and each gain is sure.
    """

    name: str
    kind: str
    rerun: Rerun
    steps: Mapping[str, str]
    sampled: Mapping[str, Sequence[int]] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: Mapping[str, str] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    assumed: Collection[str] = ()
    sure_gain_nanoseconds: Callable[[Change], int] | None = None

    def sure_gain(self, change: Change, gain_nanoseconds: int) -> int:
        """How much of a gain is sure; all of what a change costs."""
        if self.sure_gain_nanoseconds is None or gain_nanoseconds <= 0:
            return gain_nanoseconds
        return max(0, min(gain_nanoseconds, self.sure_gain_nanoseconds(change)))

    @property
    def observed(self) -> Mapping[str, Sequence[int]]:
        """By step, every measured run time; nothing of a scenario, whose durations are stated."""
        return {} if self.kind == "scenario" else self.sampled or _observed_once(self.rerun)

    @property
    def is_simulated_failure(self) -> bool:
        """Whether steps failed in the simulation only: the makespan is that of a run that was cut short."""
        return self.kind == "scenario" and bool(self.failures)

    @property
    def timeline(self) -> Timeline:
        """The run as it was."""
        return self.rerun.timeline

    @property
    def policy(self) -> Policy:
        """The policy that it ran under."""
        return next((one for one in POLICIES if one == self.timeline.policy), "dataflow")

    def name_of(self, step_id: str) -> str:
        """The name that a person knows a step by."""
        return next((name for name, known in self.steps.items() if known == step_id), step_id)

    def run(self, change: Change, durations: Mapping[str, int] | None = None) -> Timeline:
        """It again, with something changed. ``durations``: by step id, what each of its attempts runs."""
        return self.rerun.run(
            workers=change.workers,
            policy=change.policy,
            resources=change.resources(self.timeline.resources) if change.limits else None,
            speed_ups=change.speed_ups,
            without_retries=change.without_retries,
            durations=durations,
            ranks=change.ranks,
        )


def subject_of_scenario(loaded: Loaded, *, workers: int | None = None, policy: Policy = "dataflow") -> Subject:
    """A scenario with its stated durations.

    Raises:
        WorkflowError: a tool cannot be made.

    """
    execution = execute(loaded, executor="virtual", workers=workers or DEFAULT_WORKERS, policy=policy)
    timeline = execution.run.timeline
    return Subject(
        name=loaded.scenario.scenario,
        kind="scenario",
        rerun=Rerun(timeline, loaded.graph, ranks_follow=True),
        steps={step_id: step_id for step_id in timeline.step_ids},
        tools={step.step_id: step.tool for step in loaded.graph.steps if step.tool is not None},
        notes=list(execution.run.warnings),
        failures=_failures(timeline, execution.run.errors),
        skipped=_skipped(timeline),
        assumed=execution.assumed,
    )


def _failures(timeline: Timeline, errors: Mapping[str, StepError]) -> dict[str, str]:
    """The top-level steps that failed, and why."""
    found = {}
    for step_id, status in zip(timeline.step_ids, timeline.statuses, strict=True):
        if status == "failed":
            error = errors.get(step_id)
            found[step_id] = "no error was recorded" if error is None else f"{error.error_type}: {error.message}"
    return found


def _skipped(timeline: Timeline) -> list[str]:
    """The steps that did not run because one that they depend on had failed, directly or through others."""
    behind = [status == "failed" for status in timeline.statuses]
    found = []
    changed = True
    while changed:  # steps that were added late may come before what they depend on
        changed = False
        for step, status in enumerate(timeline.statuses):
            if status == "skipped" and not behind[step] and any(behind[one] for one in timeline.data_parents[step]):
                behind[step] = changed = True
                found.append(step)
    return [timeline.step_ids[step] for step in sorted(found)]


def subject_of_document(document: Mapping[str, Any], cell: str | None = None) -> Subject:
    """A measured run: a ``makespan.run/1`` document. ``cell``: which of several, as ``threads@4/dataflow``.

    Raises:
        DocumentError: it is no such document.
        SimulationError: there is no such cell, or nothing in it to run again.

    """
    results = results_of(document)
    if not results:
        raise SimulationError("the run has no results: nothing was finished in it", "name another run")
    result, label = _chosen(results, str(document["scenario"]), cell)
    timeline = timeline_from_document(result)
    subject = subject_of_timeline(
        timeline, name=str(result.get("scenario", document["scenario"])), stated=_stated(result)
    )  # fmt: skip
    subject.sampled = _sampled(result, subject.rerun)
    subject.tools = {step["step_id"]: step["tool"] for step in result["steps"] if step.get("tool")}
    errors = {step["step_id"]: step["error"] for step in result["steps"] if step.get("error")}
    subject.failures = {step_id: errors.get(step_id, message) for step_id, message in subject.failures.items()}
    if len(results) > 1:
        subject.notes.append(f"of {len(results)} cells {label} is simulated (--cell NAME for another)")
    return subject


def _stated(result: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]] | None:
    """What the order of starts knew of each step; None where the document does not say."""
    known = {step["step_id"]: step["stated"] for step in result["steps"] if isinstance(step.get("stated"), dict)}
    return known or None


def subject_of_timeline(
    timeline: Timeline,
    *,
    name: str,
    graph: Graph | None = None,
    kind: str = "run",
    stated: Mapping[str, Mapping[str, Any]] | None = None,
) -> Subject:
    """Any run that was recorded. ``stated``: as :class:`.Rerun` takes it.

    Raises:
        SimulationError: nothing in it ran.

    """
    if not timeline.attempts or timeline.workers < 1:
        raise SimulationError(f"nothing ran in {name!r}: there is nothing to simulate", "name another run")
    rerun = Rerun(timeline, graph, stated=stated)
    subject = Subject(name, kind, rerun, {one: one for one in timeline.step_ids})
    subject.failures, subject.skipped = _failures(timeline, {}), _skipped(timeline)
    cut = sum(1 for status in timeline.statuses if status == "cancelled")
    if cut:
        subject.notes.append(f"the run was cut short: {cut} of its steps never ran, and take no time here")
    return subject


def _chosen(results: Sequence[Mapping[str, Any]], scenario: str, wanted: str | None) -> tuple[Mapping[str, Any], str]:
    labels = [cell_of(result, scenario).label for result in results]
    if wanted is None:

        def rank(place: int) -> tuple[bool, bool, float]:
            result = results[place]
            executor = result["executor"]
            return executor == "virtual", executor == "serial", float(result["makespan_seconds"]["median"])

        best = min(range(len(results)), key=rank)
        return results[best], labels[best]
    fitting = [place for place, label in enumerate(labels) if label == wanted]
    fitting = fitting or [place for place, label in enumerate(labels) if label.startswith(wanted)]
    if len(fitting) == 1:
        return results[fitting[0]], labels[fitting[0]]
    if fitting:
        raise SimulationError(
            f"--cell {wanted!r} fits several cells", f"use one of: {', '.join(labels[place] for place in fitting)}"
        )
    raise SimulationError(
        f"--cell: there is no cell {wanted!r}", did_you_mean(wanted, labels, f"use one of: {', '.join(labels)}")
    )


def _observed_once(rerun: Rerun) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for attempt in rerun.index.ended:
        found.setdefault(attempt.step_id, []).append(rerun.index.run_nanoseconds(attempt))
    return found


def _sampled(result: Mapping[str, Any], rerun: Rerun) -> dict[str, list[int]]:
    """The run times of each step's attempts over all repetitions. A repetition has the sum of a step's attempts:
    they are taken to have been as many, and as long as each other.
    """
    found: dict[str, list[int]] = {}
    for sample in result["samples"]:
        for step_id, seconds in (sample.get("step_seconds") or {}).items():
            attempts = rerun.last_attempt.get(step_id)
            if attempts:
                found.setdefault(step_id, []).append(round(seconds * NANOSECONDS / attempts))
    return found
