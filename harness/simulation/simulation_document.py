"""A simulation as a document of JSON values: ``makespan.simulation/1``.

Rules of this module:
- The field names are those of ``harness/schemas/simulation.schema.json``, where each is described.
"""

from __future__ import annotations

from typing import Any, Final

from harness.files.packaged import schema
from harness.simulation.duration_draws import Distribution
from harness.simulation.simulated_changes import Simulation

SCHEMA: Final = "makespan.simulation/1"


def simulation_document(simulation: Simulation, spreads: list[Distribution | None]) -> dict[str, Any]:
    """The document. ``spreads``: for each cell its distribution, or None where none was asked for."""
    return {
        "schema": SCHEMA,
        "subject": {"name": simulation.subject.name, "kind": simulation.subject.kind},
        "base": {
            "workers": simulation.workers,
            "policy": simulation.policy,
            "measured_makespan_seconds": simulation.measured_seconds,
            "makespan_seconds": simulation.base_seconds,
        },
        "cells": [
            {
                "workers": cell.workers,
                "policy": cell.policy,
                "makespan_seconds": cell.makespan_seconds,
                "lower_bound_seconds": cell.lower_bound_seconds,
                "gain_seconds": cell.gain_seconds,
                "distribution": None if spread is None else _spread(spread),
            }
            for cell, spread in zip(simulation.cells, spreads, strict=True)
        ],
        "gains": [
            {
                "change": one.label,
                "makespan_seconds": one.makespan_seconds,
                "gain_seconds": one.gain_seconds,
                "binds_next": one.binds_next,
                "with_workers_gain_seconds": one.with_workers_gain_seconds,
            }
            for one in simulation.gains
        ],
        "asked": simulation.asked,
        "notes": list(simulation.subject.notes),
        "failures": [
            {"step_id": step_id, "message": message} for step_id, message in simulation.subject.failures.items()
        ],
        "skipped": list(simulation.subject.skipped),
    }


def simulation_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document."""
    return schema("simulation")


def _spread(spread: Distribution) -> dict[str, Any]:
    return {
        "runs": spread.runs,
        "mean_seconds": spread.mean_seconds,
        "percentiles_seconds": {str(percent): seconds for percent, seconds in spread.percentiles.items()},
        "runs_per_second": spread.runs_per_second,
        "steps_drawn_from_their_own": spread.own,
        "steps_drawn_from_their_tool": spread.pooled,
        "steps_as_measured": spread.fixed,
    }
