"""The one way from a task text to a checked plan, whichever planner makes it.

Rules of this module:
- Remarks of the planner are among the findings of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.config import Config
from harness.planner.planned_task import Planned, check_task
from harness.scenario.scenario_file import load_document
from harness.scenario.scenario_model import Loaded

PLANNERS: Final = ("rules", "llm")


def plan_task(task: str, *, config: Config, planner: str | None = None) -> Planned:
    """Plan a task. ``planner``: one of :data:`PLANNERS`; None is the configuration's ``chat.planner``.

    Raises:
        WorkflowError: the task is empty or too long, asks for too much, or the model gave no plan that may run.

    """
    check_task(task)
    if (planner or config.chat.planner) == "llm":
        from harness.planner.model_planner import plan_with_model  # noqa: PLC0415 - the rules need no HTTP client

        return plan_with_model(task, config=config)
    from harness.planner.rules_planner import plan_by_rules  # noqa: PLC0415 - the other planner needs no grammar

    return plan_by_rules(task, config=config)


def load_plan(
    planned: Planned, *, config: Config, settings: Mapping[str, Any] | None = None, allow_missing_inputs: bool = False
) -> Loaded:
    """The plan, checked by every rule, ready to run.

    Raises:
        WorkflowError: it must not run; with all findings.

    """
    loaded = load_document(
        planned.document(), settings=settings, config=config, allow_missing_inputs=allow_missing_inputs
    )
    set_before = set(loaded.parameters)
    remarks = [one for one in planned.findings if not (one.code == "no-document" and "document" in set_before)]
    loaded.findings[:0] = remarks
    return loaded
