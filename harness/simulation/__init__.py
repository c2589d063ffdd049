"""What if: a scenario, a measured run or a trace again on the virtual clock, with something changed.

Rules of this package:
- The scheduler and the engine that run in production are what runs here (:class:`harness.simulation.what_if.Rerun`);
  nothing is computed beside them.
- A change that names what is not there is a :class:`SimulationError` that points at close names.
- Same subject, same changes, same seed: same answer.
"""

from __future__ import annotations

from harness.simulation.best_order import BestOrder, Learned, best_order
from harness.simulation.best_priorities import BestPriorities, best_priorities
from harness.simulation.best_schedule import Optimum, best_schedule
from harness.simulation.changes import Change, SimulationError, combined
from harness.simulation.duration_draws import Distribution, distribution
from harness.simulation.simulated_changes import Cell, Gain, Simulation, simulate
from harness.simulation.subject import Subject, subject_of_document, subject_of_scenario, subject_of_timeline

__all__ = [
    "BestOrder",
    "BestPriorities",
    "Cell",
    "Change",
    "Distribution",
    "Gain",
    "Learned",
    "Optimum",
    "Simulation",
    "SimulationError",
    "Subject",
    "best_order",
    "best_priorities",
    "best_schedule",
    "combined",
    "distribution",
    "simulate",
    "subject_of_document",
    "subject_of_scenario",
    "subject_of_timeline",
]
