"""The machine-readable result: the ``makespan.run/1`` document, from timelines and back.

Rules of this package:
- Pure: the caller writes the file.
- Names are imported when they are first used: who asks for the key of a cell alone does not load the analysis.
- Times are seconds from the run's t = 0. Every integer nanosecond of a run of up to 20 days survives the way to
  seconds and back: the timeline that is made from the document is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.result.result_reading import (
        DocumentError,
        attempts_before,
        results_of,
        run_schema,
        timeline_from_document,
    )
    from harness.result.result_writing import (
        SCHEMA,
        Document,
        Estimate,
        Repetition,
        Verdict,
        record_document,
        result_document,
        run_document,
        step_seconds,
    )

_NAMES = {
    "harness.result.result_reading": (
        "DocumentError", "attempts_before", "results_of", "run_schema", "timeline_from_document",
    ),
    "harness.result.result_writing": (
        "SCHEMA", "Document", "Estimate", "Repetition", "Verdict", "record_document", "result_document", "run_document",
        "step_seconds",
    ),
}  # fmt: skip

__all__ = [
    "SCHEMA",
    "Document",
    "DocumentError",
    "Estimate",
    "Repetition",
    "Verdict",
    "attempts_before",
    "record_document",
    "result_document",
    "results_of",
    "run_document",
    "run_schema",
    "step_seconds",
    "timeline_from_document",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
