"""Whether a step that would start has its result already: what the scheduler asks, answered from an earlier run.

Used under the engine's lock.

Rules of this module:
- A result is used only for the very call that would be made: what is in the step's templates counts as rendered.
- A step that builds upon another without reading its output (``depends_on`` alone, a state that the other writes) is
  done again where the other ran since: what that left elsewhere may have changed. So are its calls and items.
"""

from __future__ import annotations

from typing import Any

from executor.dependencies.step_references import templates_of
from executor.engine.keeping import Asked, EarlierResults
from executor.engine.rendering import Renderer
from executor.engine.run_record import RunRecord
from executor.model.workflow import Step
from executor.scheduler.reuse import Reuse as Answer


class Reuse:
    """Answers for one run; outputs go to its record."""

    def __init__(self, earlier: EarlierResults, record: RunRecord, renderer: Renderer) -> None:
        self._earlier = earlier
        self._record = record
        self._renderer = renderer

    def __call__(self, index: int) -> Answer:
        """See :mod:`executor.scheduler.reuse`."""
        scheduler = self._record.scheduler
        step, step_id, caller = scheduler.steps[index], scheduler.step_ids[index], scheduler.caller(index)
        parent = None if caller < 0 else scheduler.step_ids[caller]
        if not self._earlier.may_know(step, step_id, parent):
            return None
        try:
            tool, prompt, args = self._renderer.rendered(step, index)
        except Exception:  # noqa: BLE001  # it runs, and fails as it would in any run
            return None
        builds_upon = self._builds_upon(index)
        ids = scheduler.step_ids
        found = self._earlier.find(
            Asked(
                step, step_id, parent, tool, prompt, args,
                tuple(ids[other] for other in builds_upon),
                tuple(ids[other] for other in builds_upon if scheduler.has_run(other)),
            )
        )  # fmt: skip
        if found is None:
            return None
        if found.answer == "left_out":
            self._record.null_outputs[step_id] = None
        else:
            self._record.outputs[step_id] = found.output
        return found.answer

    def _builds_upon(self, index: int) -> list[int]:
        """The steps that this one, or one that calls it, comes after without reading their outputs."""
        scheduler = self._record.scheduler
        found: dict[int, None] = {}
        while index >= 0:
            step = scheduler.steps[index]
            parents = scheduler.data_parents(index)
            if parents:
                read = references_of(step)
                found |= dict.fromkeys(parent for parent in parents if scheduler.step_ids[parent] not in read)
            used = {*step.reads, *step.writes}
            if used:
                order = scheduler.order_parents(index)
                found |= dict.fromkeys(parent for parent in order if used.intersection(scheduler.steps[parent].writes))
            index = scheduler.caller(index)
        return list(found)


def references_of(step: Step) -> set[str]:
    """The ids of the steps whose outputs the step reads."""
    names: set[Any] = set()
    for _, template in templates_of(step):
        names |= template.references
    return names


__all__ = ["Reuse", "references_of"]
