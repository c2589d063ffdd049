"""Random runs: Hypothesis strategies (extra ``testing``), a seeded generator, and a player on the virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.testing.drawing.behaviour import Behaviour
    from harness.testing.drawing.generator import FEATURES, DrawnRun, random_workflow
    from harness.testing.drawing.simulated_run import judge, simulate
    from harness.testing.drawing.strategies import EventSchedule, event_schedules, workflows

_NAMES = {
    "harness.testing.drawing.behaviour": ("Behaviour",),
    "harness.testing.drawing.generator": ("FEATURES", "DrawnRun", "random_workflow"),
    "harness.testing.drawing.simulated_run": ("judge", "simulate"),
    "harness.testing.drawing.strategies": ("EventSchedule", "event_schedules", "workflows"),
}

__all__ = [
    "FEATURES", "Behaviour", "DrawnRun", "EventSchedule", "event_schedules", "judge", "random_workflow", "simulate",
    "workflows",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
