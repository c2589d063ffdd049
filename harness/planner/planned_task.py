"""A task and the plan that a planner made of it.

Rules of this module:
- A plan is data in the shape of a file: it is loaded, checked and run like a file, and can be saved as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, WorkflowError
from executor.model.workflow import Step, Workflow, dump_workflow
from harness.files.strict_file import Document, parse_document

# What findings name in place of a file.
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
