"""What if: a scenario, a measured run or a trace again on the virtual clock, with something changed.

Rules of this package:
- The scheduler and the engine that run in production are what runs here (:class:`harness.simulation.what_if.Rerun`);
  nothing is computed beside them.
- A change that names what is not there is a :class:`SimulationError` that points at close names.
- Same subject, same changes, same seed: same answer.
- It names what is public; each name is imported when it is first used, since the words of a change need no engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.simulation.changes import Change, SimulationError, combined
    from harness.simulation.duration_draws import Distribution, distribution
    from harness.simulation.optimum import Optimum, best_schedule
    from harness.simulation.order_search import BestOrder, Learned, best_order
    from harness.simulation.priority_search import BestPriorities, best_priorities
    from harness.simulation.simulated_changes import Cell, Gain, Simulation, simulate
    from harness.simulation.subject import Subject, subject_of_document, subject_of_scenario, subject_of_timeline

_NAMES = {
    "harness.simulation.order_search": ("BestOrder", "Learned", "best_order"),
    "harness.simulation.priority_search": ("BestPriorities", "best_priorities"),
    "harness.simulation.optimum": ("Optimum", "best_schedule"),
    "harness.simulation.changes": ("Change", "SimulationError", "combined"),
    "harness.simulation.duration_draws": ("Distribution", "distribution"),
    "harness.simulation.simulated_changes": ("Cell", "Gain", "Simulation", "simulate"),
    "harness.simulation.subject": ("Subject", "subject_of_document", "subject_of_scenario", "subject_of_timeline"),
}

__all__ = [
    "BestOrder", "BestPriorities", "Cell", "Change", "Distribution", "Gain", "Learned", "Optimum", "Simulation",
    "SimulationError", "Subject", "best_order", "best_priorities", "best_schedule", "combined", "distribution",
    "simulate", "subject_of_document", "subject_of_scenario", "subject_of_timeline",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
