"""Repetitions on disk: what is kept of each while a benchmark goes on, and how it comes back in another session.

Rules of this module:
- What happened is kept, and no figure of it: figures are computed again, beside the same serial run.
- A repetition comes back as the run that it was: times to the nanosecond, outputs as JSON has them, errors as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from executor.record.outcomes import StepError
from executor.record.timeline import Attempt, Timeline
from executor.running import Run
from harness.benchmark.matrix import Matrix
from harness.benchmark.meter import Usage
from harness.benchmark.runner import Measured
from harness.benchmark.session import Sample
from harness.execution import scheduled
from harness.result import Document, Repetition, record_document, timeline_from_document


def kept_words(sample: Sample, matrix: Matrix) -> Document:
    """What has to be kept beside the figures of a repetition, so that :func:`measured_again` gives it back."""
    steps = {step.step_id: step for step in sample.cell.graph.steps}
    repetition = Repetition(sample.timeline, sample.outputs, sample.step_errors, steps=steps, facts=sample.facts)
    errors = {step_id: error for step_id, error in sample.step_errors.items() if isinstance(error, StepError)}
    return {
        "cell": matrix.cells.index(sample.cell),
        "record": record_document(repetition),
        "errors": {
            step_id: [error.attempt, error.outcome, error.error_type, error.message]
            for step_id, error in errors.items()
        },
        "warnings": list(sample.warnings),
        "cold_startup_seconds": sample.cold_startup_seconds,
        "wall_seconds": sample.wall_seconds,
        "calls": sample.calls,
        "tokens": sample.tokens,
    }


def measured_again(words: Mapping[str, Any], sample: Mapping[str, Any], matrix: Matrix) -> Measured:
    """The repetition as a run of the matrix. ``sample`` is its entry of ``samples``.

    Raises:
        DocumentError: its record is damaged.
        KeyError, TypeError, IndexError: something else of it is.
    """
    cell = matrix.cells[words["cell"]]
    record = words["record"]
    timeline = timeline_from_document(record)
    run = Run(
        workflow=cell.case.loaded.workflow,
        outputs={step["step_id"]: step["output"] for step in record["steps"] if step["status"] == "succeeded"},
        errors={step_id: StepError(step_id, *error) for step_id, error in words["errors"].items()},
        timeline=timeline,
        statuses=dict(zip(timeline.step_ids, timeline.statuses, strict=True)),
        backend=timeline.backend,
        workers=timeline.workers,
        policy=scheduled(cell.policy),
        startup_seconds=timeline.startup_seconds,
        warnings=list(words["warnings"]),
        facts=_facts(record["steps"], timeline),
    )
    usage = Usage(
        sample["cpu_seconds"],
        sample["voluntary_context_switches"],
        sample["involuntary_context_switches"],
        sample["peak_memory_bytes"],
        sample["children_peak_memory_bytes"],
    )
    return Measured(
        cell=cell,
        repetition=sample["repetition"],
        seed=sample["seed"],
        run=run,
        usage=usage,
        wall_seconds=words["wall_seconds"],
        calls=words["calls"],
        tokens=words["tokens"],
        started_at=sample.get("started_at"),
        cold_startup_seconds=words["cold_startup_seconds"],
    )


def _facts(steps: Sequence[Mapping[str, Any]], timeline: Timeline) -> dict[Attempt, Mapping[str, Any]]:
    facts = {
        (attempt["step_id"], attempt["attempt"]): attempt["facts"]
        for step in steps for attempt in step["attempts"] if "facts" in attempt
    }  # fmt: skip
    keys = {attempt: (attempt.step_id, attempt.attempt) for attempt in timeline.attempts}
    return {attempt: facts[key] for attempt, key in keys.items() if key in facts}
