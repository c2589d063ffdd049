"""The one way from a task text to a checked plan, whichever planner makes it.

Rules of this module:
- A plan is data in the shape of a file: it is loaded, checked and run like a file, and can be saved as one.
- Remarks of the planner stand among the findings of the plan.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, WorkflowError
from executor.model.workflow import Step, Workflow, dump_workflow
from harness.config import Config
from harness.files.strict_file import Document, parse_document
from harness.scenario.scenario_file import load_document
from harness.scenario.scenario_model import Loaded

PLANNERS: Final = ("rules", "llm")
# What stands in findings where a file's name stands else.
PLAN_SOURCE: Final = "the plan"
# Longer texts are no tasks.
TASK_LIMIT_CHARACTERS: Final = 20_000
_NAME_CHARACTERS: Final = 48


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan: its steps, and what they need beside themselves."""

    task: str
    steps: tuple[Step, ...]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def data(self) -> dict[str, Any]:
        """The plan in the shape of a scenario file."""
        name = name_of(self.task)
        dumped = dump_workflow(Workflow(workflow_id=name, inputs=dict(self.inputs), steps=self.steps))
        head: dict[str, Any] = {"scenario": name, "task": self.task}
        if self.tools:
            head["tools"] = {tool: dict(declaration) for tool, declaration in self.tools.items()}
        return head | dumped

    def document(self) -> Document:
        """The plan as a file that was read."""
        text = json.dumps(self.data(), indent=2, ensure_ascii=False)
        return parse_document(text, source=PLAN_SOURCE, format="json")


def plan_task(task: str, *, config: Config, planner: str | None = None) -> Planned:
    """Plan a task. ``planner``: one of :data:`PLANNERS`; None is the configuration's ``chat.planner``.

    Raises:
        WorkflowError: the task is empty or too long, asks for too much, or the model gave no plan that may run.

    """
    check_task(task)
    if (planner or config.chat.planner) == "llm":
        from harness.planner.model_planner import plan_with_model  # noqa: PLC0415 - the rules need no HTTP client

        return plan_with_model(task, config=config)
    from harness.planner.rules_planner import draft_of  # noqa: PLC0415 - the other planner needs no grammar

    draft = draft_of(task, mode=config.chat.workflow_mode, default_tool=config.default_tool)
    return Planned(task, draft.finished(), draft.inputs, draft.tools, tuple(draft.findings))


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


def check_task(task: str) -> None:
    """Refuse what is no task.

    Raises:
        WorkflowError: it is empty or too long.

    """
    if not task.strip():
        fix = "say what is to be done: 'write a joke and translate to French'"
        raise WorkflowError([Finding("error", "empty-task", "the task is empty", fix)])
    if len(task) > TASK_LIMIT_CHARACTERS:
        message = f"the task has {len(task):,} characters, more than {TASK_LIMIT_CHARACTERS:,}"
        raise WorkflowError([Finding("error", "task-too-long", message, "say it shorter, or write a scenario file")])


def name_of(task: str) -> str:
    """A short name for a plan, made of the task's first words."""
    words = re.findall(r"[^\W_]+", task.lower())
    name = ""
    for word in words:
        longer = f"{name}_{word}" if name else word[:_NAME_CHARACTERS]
        if len(longer) > _NAME_CHARACTERS:
            break
        name = longer
    return name or "task"
