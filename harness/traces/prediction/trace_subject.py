"""A trace as what `makespan simulate` simulates.

Rules of this module:
- The base is the trace as observed; assumed edges hold, and a note says so.
- Late starts are not held back here, and a note says so.
- Services that its spans call (``llm``, ``http:HOST``) can be limited, although nothing limits them yet.
- A name that recurs draws from all its run times.
"""

from __future__ import annotations

from harness.simulation.changes import SimulationError
from harness.simulation.subject import Subject
from harness.traces.prediction.trace_what_if import WhatIf
from harness.traces.trace_model import ASSUMED, ForeignRun


def subject_of_trace(run: ForeignRun) -> Subject:
    """The subject.

    Raises:
        SimulationError: the trace holds no span that works.

    """
    if not run.timeline.attempts:
        raise SimulationError("no span of the trace took part in any work: there is nothing to simulate")
    rerun = WhatIf(run).rerun
    observed: dict[str, list[int]] = {}
    for attempt in rerun.index.ended:
        observed.setdefault(attempt.step_id, []).append(rerun.index.run_nanoseconds(attempt))
    subject = Subject(
        name=run.workflow or "trace",
        kind="trace",
        rerun=rerun,
        steps={step_id: step_id for step_id in rerun.timeline.step_ids},
        observed=observed,
        tools=dict(zip(run.timeline.step_ids, run.names, strict=True)),
    )
    assumed = sum(edge.label == ASSUMED for edge in run.edges)
    if assumed:
        subject.notes.append(
            f"{assumed} of {len(run.edges)} edges are assumed, from the observed order alone, and hold here; "
            "--edges FILE says which are real"
        )
    late = len(run.delays) + len(run.begun_in)
    if late:
        subject.notes.append(
            f"{late} steps began late, or in a step beside them; here nothing holds them back: a gain through them is "
            "possible and not sure"
        )
    return subject
