"""From a sentence to a workflow: two planners behind one interface.

``rules`` needs no model; ``llm`` asks one. What either makes is a plan in the shape of a file, checked like any other.

Rules of this module:
- It names what is public; each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.planner.live_plan import LivePlan
    from harness.planner.planned_task import Planned
    from harness.planner.task_planning import PLANNERS, load_plan, plan_task, planner_for

_NAMES = {
    "harness.planner.live_plan": ("LivePlan",),
    "harness.planner.planned_task": ("Planned",),
    "harness.planner.task_planning": ("PLANNERS", "load_plan", "plan_task", "planner_for"),
}

__all__ = ["PLANNERS", "LivePlan", "Planned", "load_plan", "plan_task", "planner_for"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
