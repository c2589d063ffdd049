"""A trace as what `makespan simulate` simulates.

Rules of this module:
- The base is the trace as observed; assumed edges hold, and a note says so.
- Late starts are not held back here, and a note says so.
- Of a trace that is not ours each gain says how much of it is sure: of a faster step what
  :mod:`harness.traces.prediction.sure_gains` finds, of a number of workers what `analyze` calls sure, of any other
  change nothing.
- Services that its spans call (``llm``, ``http:HOST``) can be limited, although nothing limits them yet.
- A name that recurs draws from all its run times.
"""

from __future__ import annotations

from harness.plain_text import counted
from harness.simulation.changes import Change, SimulationError
from harness.simulation.subject import Subject
from harness.traces.prediction.sure_gains import SureGains
from harness.traces.prediction.trace_what_if import WhatIf
from harness.traces.trace_model import ASSUMED, ForeignRun


def subject_of_trace(run: ForeignRun) -> Subject:
    """The subject.

    Raises:
        SimulationError: the trace holds no span that works.

    """
    if not run.timeline.attempts:
        raise SimulationError("no span of the trace took part in any work: there is nothing to simulate")
    what_if = WhatIf(run)
    rerun = what_if.rerun
    subject = Subject(
        name=run.workflow or "trace",
        kind="trace",
        rerun=rerun,
        steps={step_id: step_id for step_id in rerun.timeline.step_ids},
        tools=dict(zip(run.timeline.step_ids, run.names, strict=True)),
        sure_gain_nanoseconds=None if run.from_makespan else _Sure(what_if),
    )
    assumed = sum(edge.label == ASSUMED for edge in run.edges)
    if assumed:
        subject.notes.append(
            f"{assumed} of {len(run.edges)} edges are assumed, from the observed order alone, and hold here; "
            "--edges FILE says which are real; a gain beyond what is sure is possible if the observed order holds"
        )
    late = len(run.delays) + len(run.begun_in)
    if late:
        subject.notes.append(
            f"{counted(late, 'step')} began late, or in a step beside it; here nothing holds them back: a gain through "
            "them is possible and not sure"
        )
    return subject


class _Sure:
    """What a change gains at least, whatever the trace leaves open. Nanoseconds."""

    def __init__(self, what_if: WhatIf) -> None:
        self._what_if = what_if
        self._gains = SureGains(what_if.run, what_if.index)

    def __call__(self, change: Change) -> int:
        is_schedule = change.workers is not None or change.policy not in (None, "dataflow")
        if change.limits or change.without_retries or change.ranks is not None or (is_schedule and change.speed_ups):
            return 0
        if not is_schedule:
            return self._gains.gain_nanoseconds(change.speed_ups)
        run = self._what_if.run
        if change.policy not in (None, "dataflow"):
            return 0
        whole = self._what_if.index.makespan + run.tail_nanoseconds
        return whole - self._what_if.makespan_nanoseconds(change.workers)
