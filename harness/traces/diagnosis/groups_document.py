"""Many traces as a document of JSON values: the other kind of ``makespan.analysis/1``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.statistics import Interval
from harness.traces.diagnosis.analysis_document import SCHEMA, Document, trace_document
from harness.traces.diagnosis.diagnosis import Diagnosis
from harness.traces.diagnosis.trace_groups import Group, Slow


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
