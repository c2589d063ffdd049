"""The machine-readable result: the ``makespan.run/1`` document, from timelines and back.

Rules of this room:
- Pure: the caller writes the file.
- Times are seconds from the run's t = 0. Every integer nanosecond of a run of up to 20 days survives the way to
  seconds and back, so the timeline can be made from the document again, exactly.
"""

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
