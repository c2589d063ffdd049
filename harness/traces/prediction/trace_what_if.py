"""A trace that can run again: the same spans, each as long as it was, under another schedule.

Rules of this module:
- What depends on what is said by the edges alone; the order in which a caller's code happened to make its calls is no
  edge. Its own time before the first call stays before it, and what it spent between and after its calls comes after
  the last. The same goes for the time between the outermost spans.
- With ``assumed`` the edges of the observed order count too: what such a run gains is certain. Without, it is what
  there is to gain if none of them is real.
- A span that failed delays those that come after it, and stops none of them: the trace shows that they ran.
- Below :data:`DEEPEST` levels of nesting a subtree counts as one span.
- Our own traces say exactly what happened: they run again as recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from executor.record.timeline import Attempt, Timeline
from harness.analysis import AttemptIndex
from harness.traces.edges.kept_edges import edges_that_hold
from harness.traces.prediction.flat_graph import (
    WORKER,
    Flat,
    Layout,
    flat_graph,
    flat_timeline,
    layout_of,
    longest_chain,
)
from harness.traces.prediction.list_scheduling import enough_workers, list_schedule
from harness.traces.spans.called_services import service_of
from harness.traces.trace_model import ForeignRun

if TYPE_CHECKING:
    from executor.model.workflow import Resource
    from harness.simulation.what_if import Rerun

DEEPEST: Final = 24
# Larger traces are scheduled by :func:`harness.traces.prediction.list_scheduling.list_schedule`.
LARGE: Final = 1_500


class WhatIf:
    """A run that can run again. ``assumed``: whether assumed edges hold."""

    def __init__(self, run: ForeignRun, *, assumed: bool = True, index: AttemptIndex | None = None) -> None:
        """``index``: saves building it again."""
        self.run = run
        self.assumed = assumed
        self.index = index or AttemptIndex(run.timeline)

    def without_assumed(self) -> WhatIf:
        """The same as if no assumed edge held; both share what does not depend on that."""
        other = WhatIf(self.run, assumed=False, index=self.index)
        if not self.run.from_makespan:
            other._layout = self._layout
        return other

    @cached_property
    def rerun(self) -> Rerun:
        """The run, ready to run again."""
        timeline = self.run.timeline
        if self.run.from_makespan:
            return _rerun(timeline)
        return _rerun(self._relaxed(timeline), calls_together=True)

    @cached_property
    def services(self) -> Mapping[str, int]:
        """How many spans call each service that could be limited (``llm``, ``http:HOST``, ``db:SYSTEM``)."""
        counts: dict[str, int] = {}
        for name in self._service_of_step:
            if name is not None:
                counts[name] = counts.get(name, 0) + 1
        return counts

    @cached_property
    def _service_of_step(self) -> Sequence[str | None]:
        nested = self.run.timeline.nested_in
        callers = {parent for parent in nested if parent >= 0}
        return [
            None if step in callers else service_of(spans[0]) if spans else None
            for step, spans in enumerate(self.run.spans)
        ]

    def makespan_nanoseconds(self, workers: int | None, resources: Mapping[str, Resource] | None = None) -> int:
        """Under ``dataflow``, the time between the outermost spans included: their maker spent it, and would
        again. ``workers`` None: as many as there are spans. ``resources``: limits by service, for a trace that is not
        ours.
        """
        if self.run.from_makespan:
            slots = workers or len(self.run.timeline.step_ids) + 1
            return self.rerun.run(workers=slots, policy="dataflow", resources=resources).makespan_nanoseconds
        if workers is None and resources is None:
            return self.idle_nanoseconds + longest_chain(self._flat)
        slots = workers or len(self._flat.lengths) + 1
        if resources is None or self.is_large:
            if slots >= self._enough_workers:
                return self.idle_nanoseconds + longest_chain(self._flat)
            return self.idle_nanoseconds + list_schedule(self._flat, slots)
        if self._flat.delays:
            from executor.model.workflow import Resource  # noqa: PLC0415 - heavy: only a limit needs it

            resources, slots = {**resources, WORKER: Resource(capacity=slots)}, 2 * len(self._flat.lengths) + 1
        again = self._plain.run(workers=slots, policy="dataflow", resources=resources).makespan_nanoseconds
        return self.idle_nanoseconds + again

    @property
    def is_large(self) -> bool:
        """Whether the production scheduler would take too long, and limits are left out."""
        return len(self.run.timeline.step_ids) > LARGE

    @cached_property
    def _flat(self) -> Flat:
        return flat_graph(self.run, self._layout, self.index, assumed=self.assumed)

    @cached_property
    def _layout(self) -> Layout:
        return layout_of(self.run, self._service_of_step, self.index)

    @cached_property
    def _enough_workers(self) -> int:
        return enough_workers(self._flat)

    @cached_property
    def _plain(self) -> Rerun:
        return _rerun(flat_timeline(self._flat))

    @cached_property
    def idle_nanoseconds(self) -> int:
        """How long none of the outermost steps was open while the run went on, of a trace that is not ours."""
        timeline = self.run.timeline
        if self.run.from_makespan:
            return 0
        stretches: dict[int, tuple[int, int]] = {}
        for attempt in timeline.attempts:
            if attempt.ended is not None and (not timeline.nested_in or timeline.nested_in[attempt.index] < 0):
                start, end = stretches.get(attempt.index, (attempt.granted, attempt.ended))
                stretches[attempt.index] = min(start, attempt.granted), max(end, attempt.ended)
        idle, reached = self.run.tail_nanoseconds, 0
        for start, end in sorted(stretches.values()):
            idle += max(0, start - reached)
            reached = max(reached, end)
        return idle

    def _relaxed(self, timeline: Timeline) -> Timeline:
        count = len(timeline.step_ids)
        from executor.model.workflow import Resource  # noqa: PLC0415 - heavy: only a rerun needs it

        parents: list[list[int]] = [[] for _ in range(count)]
        for edge in self.run.edges if self.assumed else edges_that_hold(self.run):
            parents[edge.after].append(edge.before)
        services = self._service_of_step
        relaxed = replace(
            timeline,
            data_parents=parents,
            attempts=[_forgiven(timeline, attempt) for attempt in timeline.attempts],
            statuses=["succeeded"] * count,
            needs=[None if name is None else {name: 1} for name in services],
            resources={name: Resource() for name in self.services},
        )
        return _folded(relaxed)


def _rerun(timeline: Timeline, *, calls_together: bool = False) -> Rerun:
    from harness.simulation.what_if import Rerun  # noqa: PLC0415 - the engine: no large trace needs it

    return Rerun(timeline, calls_together=calls_together)


def _forgiven(timeline: Timeline, attempt: Attempt) -> Attempt:
    """An attempt of a step that failed in the end, as one that did not."""
    if attempt.outcome == "succeeded" or timeline.statuses[attempt.index] == "succeeded":
        return attempt
    copy = Attempt(
        attempt.index, attempt.step_id, attempt.attempt, attempt.ready, attempt.granted, attempt.released_by,
        attempt.parent, attempt.waits,
    )  # fmt: skip
    copy.started, copy.ended, copy.known = attempt.started, attempt.ended, attempt.known
    copy.blocked, copy.worker, copy.outcome = attempt.blocked, attempt.worker, "succeeded"
    return copy


def _folded(timeline: Timeline) -> Timeline:
    """The same with what is nested too deep left to the span that holds it."""
    depth: list[int] = []
    for parent in timeline.nested_in:  # a caller is listed before its calls
        depth.append(0 if parent < 0 else depth[parent] + 1)
    if max(depth, default=0) <= DEEPEST:
        return timeline
    kept = [step for step, level in enumerate(depth) if level <= DEEPEST]
    number = {step: place for place, step in enumerate(kept)}
    attempts = []
    for attempt in timeline.attempts:
        if attempt.index in number:
            copy = _moved(attempt, number[attempt.index])
            if depth[attempt.index] < DEEPEST:
                copy.blocked = attempt.blocked
            attempts.append(copy)
    return replace(
        timeline,
        step_ids=[timeline.step_ids[step] for step in kept],
        data_parents=[[number[one] for one in timeline.data_parents[step] if one in number] for step in kept],
        order_parents=[()] * len(kept),
        statuses=[timeline.statuses[step] for step in kept],
        attempts=attempts,
        nested_in=[number.get(timeline.nested_in[step], -1) for step in kept],
        needs=[timeline.needs[step] for step in kept],
    )


def _moved(attempt: Attempt, index: int) -> Attempt:
    copy = Attempt(
        index, attempt.step_id, attempt.attempt, attempt.ready, attempt.granted, attempt.released_by, attempt.parent,
        attempt.waits,
    )  # fmt: skip
    copy.started, copy.ended, copy.known = attempt.started, attempt.ended, attempt.known
    copy.worker, copy.outcome = attempt.worker, attempt.outcome
    return copy
