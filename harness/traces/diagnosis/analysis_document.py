"""An analysis as a document of JSON values, ``makespan.analysis/1``, and a trace as a run document for the HTML report.

Rules of this module:
- The field names are those of ``harness/schemas/analysis.schema.json``, where each is described.
- Steps are named by their ids, which are unique; ids come from the trace, made printable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from executor.record.timeline import NANOSECONDS
from harness.files.packaged import schema
from harness.plain_text import counted
from harness.result import Repetition, result_document, run_document
from harness.statistics import Interval
from harness.traces.diagnosis.advice import Together
from harness.traces.diagnosis.diagnosis import Diagnosis
from harness.traces.diagnosis.trace_groups import Group, Slow
from harness.traces.prediction.predicted_makespans import DATAFLOW, Predicted
from harness.traces.trace_model import ForeignRun

SCHEMA: Final = "makespan.analysis/1"
Document = dict[str, Any]
# So many findings of a trace stand on its page.
_CAUTIONS: Final = 12


def analysis_document(diagnosis: Diagnosis) -> Document:
    """The document of one trace."""
    return {"schema": SCHEMA, "kind": "trace", **trace_document(diagnosis)}


def trace_document(diagnosis: Diagnosis) -> Document:
    """What is said of one trace."""
    run, figures = diagnosis.run, diagnosis.figures
    number = {step_id: step for step, step_id in enumerate(run.timeline.step_ids)}
    return {
        "trace_id": run.trace_id,
        "source": run.source,
        "workflow": run.workflow,
        "from_makespan": run.from_makespan,
        "steps": len(run.timeline.step_ids),
        "makespan_seconds": figures.makespan_seconds,
        "work_seconds": figures.work_seconds,
        "concurrency": {"mean": figures.concurrency_mean, "max": figures.concurrency_max},
        "headline": {
            "sure_gain_seconds": diagnosis.headline.sure_gain_seconds,
            "possible_gain_seconds": diagnosis.headline.possible_gain_seconds,
            "settle": list(diagnosis.headline.settle),
        },
        "critical_path_seconds": figures.critical_path_seconds,
        "critical_path": [
            {
                "step_id": part.step_id,
                "inside": diagnosis.caller(number[part.step_id]),
                "seconds": part.seconds,
                "share_ratio": part.share_ratio,
            }
            for part in figures.critical_path
        ],
        "lower_bound_seconds": figures.lower_bound_seconds,
        "binding_bound": figures.binding_bound,
        "lost_seconds": dict(diagnosis.lost_seconds),
        "gap_seconds": diagnosis.gap_seconds,
        "gaps": [
            {
                "step_id": None if gap.step < 0 else diagnosis.name(gap.step),
                "start_seconds": gap.start_seconds,
                "seconds": gap.seconds,
                "on_the_way": gap.on_the_way,
            }
            for gap in diagnosis.gaps
        ],
        "barriers": [
            {
                "slowest": None if one.slowest < 0 else diagnosis.name(one.slowest),
                "waiting": [diagnosis.name(step) for step in one.waiting],
                "end_seconds": one.end_seconds,
                "waited_seconds": one.waited_seconds,
                "lost_seconds": one.lost_seconds,
                "certain": one.certain,
            }
            for one in diagnosis.barriers
        ],
        "retries": [
            {
                "step_id": diagnosis.name(one.step),
                "attempts": one.attempts,
                "failed_seconds": one.failed_seconds,
                "backoff_seconds": one.backoff_seconds,
            }
            for one in diagnosis.retries
        ],
        "queues": [
            {
                "name": one.name,
                "steps": one.steps,
                "at_once": one.at_once,
                "waited_seconds": one.waited_seconds,
                "raised": [
                    {
                        "at_once": raised.at_once,
                        "makespan_seconds": raised.makespan_seconds,
                        "gain_seconds": raised.gain_seconds,
                    }
                    for raised in diagnosis.raised
                    if raised.queue is one
                ],
            }
            for one in diagnosis.queues
        ],
        "together": [_together(diagnosis, one) for one in diagnosis.together],
        "pairs": [_together(diagnosis, one) for one in diagnosis.pairs],
        "left_out": dict(diagnosis.left_out),
        "edge_counts": dict(diagnosis.edges),
        "edges": _edges(run),
        "findings": [
            {"code": one.code, "message": one.message, "effect": one.effect, "count": one.count} for one in run.findings
        ],
        "predictions": {
            DATAFLOW: {
                workers: _predicted(predicted, figures.makespan_seconds)
                for workers, predicted in diagnosis.predictions.by_workers.items()
            }
        },
        "limited_predictions": [
            {
                "service": limit.service,
                "rate_per_minute": limit.rate_per_minute,
                "capacity": limit.capacity,
                **_predicted(predicted, figures.makespan_seconds),
            }
            for limit, predicted in diagnosis.predictions.limited
        ],
        "services": dict(diagnosis.predictions.services),
        "predictions_left_out": diagnosis.predictions.left_out,
    }


def _together(diagnosis: Diagnosis, one: Together) -> Document:
    return {
        "steps": [diagnosis.name(step) for step in one.steps],
        "gain_seconds": one.gain_seconds,
        "rests_on": "assumption" if one.assumed else "edges",
        "evidence": list(one.evidence),
    }


def _predicted(predicted: Predicted, observed_seconds: float) -> Document:
    return {
        "makespan_seconds": predicted.makespan_seconds,
        "gain_seconds": observed_seconds - predicted.makespan_seconds,
        "without_assumed_makespan_seconds": predicted.without_assumed_seconds,
    }


def _edges(run: ForeignRun) -> list[Document]:
    ids = run.timeline.step_ids
    return [
        {"before": ids[edge.before], "after": ids[edge.after], "label": edge.label, "source": edge.source}
        for edge in run.edges
    ]


def analysis_schema() -> Document:
    """The JSON Schema (2020-12) of the document."""
    return schema("analysis")


def run_documents(diagnoses: Sequence[Diagnosis], environment: Mapping[str, Any] | None = None) -> list[Document]:
    """Traces as ``makespan.run/1`` documents, as the report takes them."""
    return [_run_document(one, environment or {}) for one in diagnoses]


def _cautions(diagnosis: Diagnosis) -> list[str]:
    """What the conclusions about a trace rest on, and what it lacks."""
    edges, assumed = sum(diagnosis.edges.values()), diagnosis.assumed_edges
    cautions = [f"{one.count:,} × {one.message}: {one.effect}" for one in diagnosis.run.findings[:_CAUTIONS]]
    if len(diagnosis.run.findings) > _CAUTIONS:
        left = len(diagnosis.run.findings) - _CAUTIONS
        cautions.append(f"{counted(left, 'more note')} on the trace: makespan analyze --json FILE has all of them")
    if assumed:
        cautions.insert(
            0,
            f"{assumed} of {edges} edges are assumed, from the observed order alone: critical path and lower bound "
            "hold as far as they are real (makespan analyze --edges FILE settles it)",
        )
    return cautions


def _run_document(diagnosis: Diagnosis, environment: Mapping[str, Any]) -> Document:
    run = diagnosis.run
    result = result_document([Repetition(run.timeline, foreign=not run.from_makespan)], executor=run.timeline.backend)
    result["lost_seconds"] = dict(diagnosis.lost_seconds)
    result["cautions"] = [*result["cautions"], *_cautions(diagnosis)]
    started = datetime.fromtimestamp(run.origin / NANOSECONDS, UTC) if 0 <= run.origin < 1 << 62 else datetime.now(UTC)
    return run_document(
        run_id=run.trace_id or "trace",
        scenario=run.workflow or "trace",
        started_at=started.isoformat(timespec="milliseconds"),
        environment=environment,
        results=[result],
    )


def many_document(groups: Sequence[Group], typical: Mapping[str, Diagnosis], unread: Sequence[str] = ()) -> Document:
    """The document. ``typical``: by shape, the diagnosis of the group's typical trace; ``unread``: files that could
    not be read, and why.
    """
    return {
        "schema": SCHEMA,
        "kind": "traces",
        "traces": sum(len(group.digests) for group in groups),
        "groups": [_group(group, typical.get(group.shape)) for group in groups],
        "unread": list(unread),
    }


def _group(group: Group, typical: Diagnosis | None) -> Document:
    return {
        "workflow": group.workflow,
        "shape": group.shape,
        "traces": [
            {"trace_id": one.trace_id, "source": one.source, "makespan_seconds": one.makespan_seconds}
            for one in group.digests
        ],
        "makespan_seconds": _interval(group.makespan),
        "work_seconds": _interval(group.work),
        "lost_seconds": {cause: _interval(found) for cause, found in group.lost.items()},
        "critical_path_share_ratio": dict(group.on_path),
        "slowest": [_slow(one) for one in group.slowest],
        "typical": None if typical is None else trace_document(typical),
    }


def _slow(one: Slow) -> dict[str, Any]:
    return {
        "trace_id": one.digest.trace_id,
        "source": one.digest.source,
        "makespan_seconds": one.digest.makespan_seconds,
        "differences": [
            {
                "name": difference.name,
                "seconds": difference.seconds,
                "usual_seconds": difference.usual_seconds,
                "count": difference.count,
                "usual_count": difference.usual_count,
            }
            for difference in one.differences
        ],
    }


def _interval(found: Interval) -> dict[str, Any]:
    return {"median": found.median, "ci95": None if found.ci95 is None else list(found.ci95)}
