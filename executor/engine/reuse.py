"""Whether a step that would start has its result already: what the scheduler asks, answered from an earlier run.

Used under the engine's lock.

Rules of this module:
- A result is used only for the very call that would be made: what is in the step's templates counts as rendered.
- A step that builds upon another without reading its output (``depends_on`` alone, a state that the other writes) is
  done again where the other ran: what that left elsewhere may have changed.
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
        found = self._earlier.find(Asked(step, step_id, parent, tool, prompt, args, self._ran_before(index, step)))
        if found is None:
            return None
        if found.answer == "left_out":
            self._record.null_outputs[step_id] = None
        else:
            self._record.outputs[step_id] = found.output
        return found.answer

    def _ran_before(self, index: int, step: Step) -> tuple[str, ...]:
        scheduler = self._record.scheduler
        ran = [parent for parent in scheduler.data_parents(index) if scheduler.has_run(parent)]
        if ran:
            read = references_of(step)
            ran = [parent for parent in ran if scheduler.step_ids[parent] not in read]
        used = {*step.reads, *step.writes}
        ran += [
            parent
            for parent in scheduler.order_parents(index)
            if used.intersection(scheduler.steps[parent].writes) and scheduler.has_run(parent)
        ]
        return tuple(scheduler.step_ids[parent] for parent in ran)


def references_of(step: Step) -> set[str]:
    """The ids of the steps whose outputs the step reads."""
    names: set[Any] = set()
    for _, template in templates_of(step):
        names |= template.references
    return names


__all__ = ["Reuse", "references_of"]
