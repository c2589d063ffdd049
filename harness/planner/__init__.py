"""From a sentence to a workflow: two planners behind one interface.

``rules`` needs no model; ``llm`` asks one. What either makes is a plan in the shape of a file, checked like any other.

Rules of this module:
- It names what is public; each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.planner.live_plan import LivePlan
    from harness.planner.planned_task import Planned
    from harness.planner.task_planning import PLANNERS, load_plan, plan_task

_HOMES = {
    "harness.planner.live_plan": ("LivePlan",),
    "harness.planner.planned_task": ("Planned",),
    "harness.planner.task_planning": ("PLANNERS", "load_plan", "plan_task"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["PLANNERS", "LivePlan", "Planned", "load_plan", "plan_task"]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'harness.planner' has no attribute {name!r}")
    return getattr(import_module(home), name)
