"""METG of an executor as a document of JSON values: ``makespan.granularity/1``.

Rules of this module:
- The field names are those of ``harness/schemas/granularity.schema.json``, where each is described.
"""

from __future__ import annotations

from typing import Any, Final

from harness.files.packaged import schema
from harness.workloads.granularity import Granularity

SCHEMA: Final = "makespan.granularity/1"


def granularity_document(
    found: Granularity, *, pattern: str, width: int, timesteps: int, kernel: str, executor: str, efficiency: float
) -> dict[str, Any]:
    """The document. ``efficiency``: what was asked for, a ratio."""
    return {
        "schema": SCHEMA,
        "pattern": pattern,
        "width": width,
        "timesteps": timesteps,
        "kernel": kernel,
        "executor": executor,
        "workers": found.workers,
        "efficiency_ratio": efficiency,
        "metg_seconds": found.metg_seconds,
        "measured": [
            {
                "step_seconds": one.step_seconds,
                "makespan_seconds": one.makespan_seconds,
                "lower_bound_seconds": one.bound_seconds,
                "efficiency_ratio": one.efficiency_ratio,
            }
            for one in found.measured
        ],
    }


def granularity_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return schema("granularity")
