"""The one way from a task text to a checked plan, whichever planner makes it.

Rules of this module:
- ``auto`` falls back to the rules where the model gives no plan, and says so; ``llm`` never does.
- Remarks of the planner are among the findings of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from executor.model.findings import Finding, WorkflowError
from harness.config import Config
from harness.model_endpoint import ModelEndpointError
from harness.plain_text import one_line
from harness.planner.planned_task import Planned, check_task
from harness.scenario.scenario_file import load_document
from harness.scenario.scenario_model import Loaded

PLANNERS: Final = ("auto", "rules", "llm")


def planner_for(planner: str | None, config: Config) -> str:
    """Which one is meant: the named one, else the configuration's. ``auto`` stays where a model is configured."""
    named = planner or config.chat.planner
    return "rules" if named == "auto" and config.llm.base_url is None else named


def plan_task(task: str, *, config: Config, planner: str | None = None) -> Planned:
    """Plan a task. ``planner``: one of :data:`PLANNERS`; None is the configuration's ``chat.planner``.

    Raises:
        WorkflowError: the task is empty or too long, asks for too much, or the model gave no plan that may run.

    """
    check_task(task)
    chosen = planner_for(planner, config)
    failed: tuple[Finding, ...] = ()
    if chosen != "rules":
        from harness.planner.model_planner import plan_with_model  # noqa: PLC0415 - the rules need no HTTP client

        try:
            return plan_with_model(task, config=config)
        except (WorkflowError, ModelEndpointError) as error:
            if chosen == "llm":
                raise
            failed = (_fallen_back(error),)
    from harness.planner.rules_planner import plan_by_rules  # noqa: PLC0415 - the other planner needs no grammar

    planned = plan_by_rules(task, config=config)
    return replace(planned, findings=(*failed, *planned.findings))


def _fallen_back(error: WorkflowError | ModelEndpointError) -> Finding:
    why = error.findings[0].message if isinstance(error, WorkflowError) else str(error)
    message = f"the model gave no plan ({one_line(why, 200)}): the rules planned"
    return Finding("warning", "planned-by-rules", message, "see `makespan doctor`, or say --planner rules")


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
