"""What a resumed run will do, before it does anything: which steps are reused, which run, and why.

Rules of this module:
- What cannot be is an error that names it, before anything runs.
- It says what can be known beforehand. What comes after a step that runs again may be reused after all, if that step
  gives what it gave before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from executor.dependencies import Graph
from executor.dependencies.graph import topological_order
from executor.engine.keeping import Asked, Found
from executor.engine.rendering import Renderer
from executor.engine.reuse import references_of
from executor.journal.earlier_run import EarlierRun
from executor.journal.finished_steps import FinishedSteps
from executor.journal.journal_errors import JournalError
from executor.journal.rows import Start
from executor.model.workflow import Step
from executor.tools.tool import RunContext, Tool

_NAMED = 5


class StepPlan(NamedTuple):
    """What becomes of a step: ``reused``, ``runs``, ``depends`` (on what another gives), ``skipped`` (its ``when`` is
    false), or ``left_out``. ``reason``: why it runs.
    """

    step_id: str
    fate: str
    reason: str = ""


@dataclass(slots=True)
class ResumePlan:
    """What a resumed run will do. ``earlier`` is what it goes on from."""

    earlier: EarlierRun
    steps: list[StepPlan] = field(default_factory=list)
    reused_calls: int = 0

    def count(self, fate: str) -> int:
        """How many steps have that fate."""
        return sum(step.fate == fate for step in self.steps)


def check_resume(
    earlier: EarlierRun, graph: Graph, workflow_id: str, rerun: Collection[str], forget: Collection[str]
) -> None:
    """See that the journal fits the workflow.

    Raises:
        JournalError: it is of another workflow, has steps that are not there, or lacks an output; or a step to be done
            again is in neither.
    """
    run = f"run {earlier.run_id[:12]}"
    if earlier.workflow_id != workflow_id:
        raise JournalError(
            f"{run} is of the workflow {earlier.workflow_id!r}, and this one is {workflow_id!r}",
            "resume it with the file that it was begun with",
        )
    unknown = [step_id for step_id in rerun if step_id not in graph.index and step_id not in earlier.last]
    if unknown:
        raise JournalError(f"there is no step {_names(unknown)} to run again", "name steps of this workflow")
    gone = [
        step_id
        for step_id, row in earlier.last.items()
        if "parent" not in row.more and step_id not in graph.index and step_id not in forget
    ]
    if gone:
        raise JournalError(
            f"{run} has {'a step' if len(gone) == 1 else 'steps'} that this workflow has no more: {_names(gone)}",
            f"put {'it' if len(gone) == 1 else 'them'} back, or say that it is meant: --forget {gone[0]}",
        )
    again = tuple(f"{step_id}/" for step_id in rerun)
    for finished in earlier.finished():
        end = finished.end
        if "file" not in end.more or end.step_id in rerun or end.step_id.startswith(again):
            continue
        try:
            earlier.outputs.check(dict(end.more))
        except JournalError as error:
            raise JournalError(
                f"step {end.step_id!r} of {run} cannot be reused: {error}", f"do it again: --rerun {end.step_id}"
            ) from None


def unsure_steps(
    earlier: EarlierRun, steps: Mapping[str, Step], rerun: Collection[str], forget: Collection[str]
) -> list[str]:
    """The steps that must not be done twice and of which it is unknown whether they were done."""
    again = tuple(f"{step_id}/" for step_id in rerun)
    declared = [
        row
        for step_id, row in earlier.last.items()
        if isinstance(row, Start) and step_id in steps and steps[step_id].idempotent is False
    ]
    ids = [row.step_id for row in (*earlier.unsure(), *declared)]
    return [
        step_id
        for step_id in dict.fromkeys(ids)
        if step_id not in rerun and step_id not in forget and not step_id.startswith(again)
    ]


def unsure_error(run_id: str, step_ids: Sequence[str]) -> JournalError:
    """It is not said what is to be done about these steps."""
    were = "was" if len(step_ids) == 1 else "were"
    return JournalError(
        f"run {run_id[:12]} ended while {_names(step_ids)} {were} running, which must not be done twice "
        "(idempotent: false): it is unknown whether it was done",
        "look, then say --rerun-unsure to do it, or --skip-unsure to go on without it (its output is null then)",
    )


def plan_resume(
    graph: Graph,
    tools: Mapping[str, Tool],
    context: RunContext,
    earlier: EarlierRun,
    *,
    rerun: Collection[str] = (),
    skipped: Collection[str] = (),
) -> ResumePlan:
    """What will be reused, and what will run."""
    return _Planner(graph, tools, context, FinishedSteps(earlier, rerun, skipped), set(rerun)).plan()


class _Planner:
    def __init__(
        self,
        graph: Graph,
        tools: Mapping[str, Tool],
        context: RunContext,
        finished: FinishedSteps,
        rerun: set[str],
    ) -> None:
        self._graph = graph
        self._finished = finished
        self._rerun = rerun
        self._outputs: dict[str, Any] = {}
        self._renderer = Renderer(tools, context, self._outputs)
        self._fates: dict[int, str] = {}
        self._calls: dict[str, int] = {}
        for key, calls in finished.earlier.calls.items():
            self._calls[key.parent] = self._calls.get(key.parent, 0) + len(calls)

    def plan(self) -> ResumePlan:
        plan = ResumePlan(self._finished.earlier)
        planned = {index: self._step(index) for index in topological_order(self._graph.data_parents)}
        plan.steps = [planned[index] for index in range(len(self._graph.steps))]
        plan.reused_calls = sum("parent" in finished.end.more for finished in self._finished.reused.values())
        return plan

    def _step(self, index: int) -> StepPlan:
        step = self._graph.steps[index]
        fate, reason = self._fate(index, step)
        if fate in ("runs", "depends") and step.cache is not None and step.step_id not in self._rerun:
            reason += ", unless the cache has its output"
        self._fates[index] = fate
        return StepPlan(step.step_id, fate, reason)

    def _fate(self, index: int, step: Step) -> tuple[str, str]:
        step_id = step.step_id
        open_parents = [
            parent for parent in self._graph.data_parents[index] if self._fates[parent] in ("runs", "depends")
        ]
        if step_id in self._rerun:
            return "runs", "you asked for it"
        if not open_parents and step.when is not None and not self._holds(step):
            self._outputs[step_id] = None
            return "skipped", ""
        known = self._finished.earlier.steps.get(step_id)
        if step.for_each is not None:
            return ("depends", self._after(open_parents)) if open_parents else self._mapped(index, step)
        if known is None and not self._finished.may_know(step, step_id, None):
            return "runs", self._unfinished(step_id) + self._finished_calls(step_id)
        if open_parents:
            return "depends", self._after(open_parents)
        try:
            tool, prompt, args = self._renderer.rendered(step, index)
        except Exception:  # noqa: BLE001  # it will run, and fail as in any run
            return "runs", "its templates cannot be rendered"
        asked = Asked(step, step_id, None, tool, prompt, args, *self._before(index, step))
        found = self._finished.find(asked)
        if found is None:
            assert known is not None
            return "runs", next(self._finished.differences(known, asked))
        self._outputs[step_id] = found.output
        return found.answer, ""

    def _mapped(self, index: int, step: Step) -> tuple[str, str]:
        try:
            items = self._renderer.items(step)
        except Exception:  # noqa: BLE001  # as above
            return "runs", "its list cannot be had"
        if not isinstance(items, list):
            return "runs", "it has no list"
        outputs = list(self._items(index, step, items))
        reused = sum(found is not None for found in outputs)
        if reused == len(items):
            self._outputs[step.step_id] = [found.output for found in outputs if found is not None]
            return "reused", ""
        return "runs", f"{reused:,} of its {len(items):,} items are reused"

    def _items(self, index: int, step: Step, items: list[Any]) -> Iterator[Found | None]:
        before = self._before(index, step)
        above = before
        runs = False
        for place, item in enumerate(items):
            self._renderer.variables[index] = {"item": item, "index": place}
            step_id = f"{step.step_id}/{place + 1}"
            if step.writes and place:
                # Items that write a state come one after the other.
                last = f"{step.step_id}/{place}"
                before = (*above[0], last), ((*above[1], last) if runs else above[1])
            found = self._item(index, step, step_id, before)
            runs = found is None
            yield found

    def _item(
        self, index: int, step: Step, step_id: str, before: tuple[tuple[str, ...], tuple[str, ...]]
    ) -> Found | None:
        if not self._finished.may_know(step, step_id, step.step_id):
            return None
        try:
            tool, prompt, args = self._renderer.rendered(step, index)
        except Exception:  # noqa: BLE001  # it will run, and fail as in any run
            return None
        return self._finished.find(Asked(step, step_id, step.step_id, tool, prompt, args, *before))

    def _holds(self, step: Step) -> bool:
        try:
            return self._renderer.condition(step)
        except Exception:  # noqa: BLE001  # as above
            return True

    def _before(self, index: int, step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What it builds upon, and what of that will run, as far as it is known: see
        :class:`executor.engine.reuse.Reuse`.
        """
        used = {*step.reads, *step.writes}
        steps = self._graph.steps
        order = (
            predecessor
            for predecessor, _ in self._graph.order_edges[index]
            if used.intersection(steps[predecessor].writes)
        )
        read = references_of(step)
        data = (parent for parent in self._graph.data_parents[index] if steps[parent].step_id not in read)
        builds_upon = dict.fromkeys((*data, *order))
        ran = [parent for parent in builds_upon if self._fates.get(parent) in ("runs", "depends")]
        return tuple(steps[parent].step_id for parent in builds_upon), tuple(steps[parent].step_id for parent in ran)

    def _after(self, parents: Sequence[int]) -> str:
        return f"after {_names([self._graph.steps[parent].step_id for parent in parents])}"

    def _finished_calls(self, step_id: str) -> str:
        number = self._calls.get(step_id, 0)
        return f"; {number:,} of its calls {'is' if number == 1 else 'are'} finished" if number else ""

    def _unfinished(self, step_id: str) -> str:
        row = self._finished.earlier.last.get(step_id)
        if row is None:
            return "it had not begun"
        if isinstance(row, Start):
            return "it was running when the run ended"
        return {
            "failed": "it had failed", "timed_out": "it had timed out", "worker_died": "its worker had died",
            "cancelled": "it was cancelled",
        }.get(row.outcome, "it had not ended")  # fmt: skip


def _names(step_ids: Collection[str]) -> str:
    shown = ", ".join(map(repr, list(step_ids)[:_NAMED]))
    return shown if len(step_ids) <= _NAMED else f"{shown} and {len(step_ids) - _NAMED:,} more"


__all__ = ["ResumePlan", "StepPlan", "check_resume", "plan_resume", "unsure_error", "unsure_steps"]
