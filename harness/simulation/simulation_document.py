"""A simulation as a document of JSON values: ``makespan.simulation/1``.

Rules of this module:
- The field names are those of ``harness/schemas/simulation.schema.json``, where each is described.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from harness.files.packaged import schema
from harness.simulation.duration_draws import Distribution
from harness.simulation.optimum import Optimum
from harness.simulation.order_search import BestOrder
from harness.simulation.priority_search import BestPriorities
from harness.simulation.simulated_changes import Simulation

SCHEMA: Final = "makespan.simulation/1"


def simulation_document(
    simulation: Simulation, spreads: list[Distribution | None], optima: Sequence[Optimum | None] = ()
) -> dict[str, Any]:
    """The document. ``spreads`` and ``optima``: for each cell its distribution and the best schedule that is known, or
    None where it was not asked for.
    """
    best = optima or [None] * len(spreads)
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
                "sure_gain_seconds": cell.sure_gain_seconds,
                "distribution": None if spread is None else _spread(spread),
                "best": None if cell.best is None else _best(cell.best),
                "optimum": None if optimum is None else _optimum(optimum, cell.makespan_seconds),
            }
            for cell, spread, optimum in zip(simulation.cells, spreads, best, strict=True)
        ],
        "gains": [
            {
                "change": one.label,
                "makespan_seconds": one.makespan_seconds,
                "gain_seconds": one.gain_seconds,
                "sure_gain_seconds": one.sure_gain_seconds,
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


def order_document(order: BestOrder | None) -> dict[str, Any] | None:
    """How the order of starts of a run was found, for its result; its ``priorities`` are stated by its steps there."""
    if order is None:
        return None
    found = order.found
    return {
        "rule": order.rule,
        "makespans_seconds": {} if found is None else dict(found.makespans_seconds),
        "not_tried": [] if found is None else list(found.left_out),
        "durations": {how: order.known.get(how, 0) for how in ("stated", "tool", "learned", "assumed")},
    }


def _best(best: BestPriorities) -> dict[str, Any]:
    return {
        "rule": best.rule,
        "makespans_seconds": dict(best.makespans_seconds),
        "not_tried": list(best.left_out),
        "priorities": dict(best.priorities),
    }


def _optimum(optimum: Optimum, makespan_seconds: float) -> dict[str, Any]:
    return {
        "best_known_seconds": optimum.best_seconds,
        "bound_seconds": optimum.bound_seconds,
        "is_proven": optimum.is_proven,
        "above_best_known_ratio": optimum.above_best_ratio(makespan_seconds),
        "above_bound_ratio": optimum.above_bound_ratio(makespan_seconds),
        "search_seconds": optimum.took_seconds,
    }


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
