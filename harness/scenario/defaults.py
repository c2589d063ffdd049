"""What a step gets that says little: a tool, and for a language model something to say.

The seed's own plans hold a description and dependencies, no prompt, and sometimes no tool. They run as they are: the
configuration's ``default_tool`` does the work, and the model is asked what the description says, with the outputs of
the steps in ``depends_on`` below it.

Rules of this module:
- Only what is absent is filled in, and the findings say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from executor.model.findings import Finding
from executor.model.workflow import Step, ToolDeclaration, Workflow
from harness.plain_text import some_of
from harness.scenario.seed.seed_templates import access, escape

_NAMES_SHOWN: Final = 3


def with_prompts(
    workflow: Workflow, declared: Mapping[str, ToolDeclaration], default_tool: str | None
) -> tuple[Workflow, list[Finding]]:
    """The workflow with absent prompts of language models written, and a hint that says so."""
    changed: list[int] = []
    steps: list[Step] = []
    for index, step in enumerate(workflow.steps):
        if _has_nothing_to_say(step, declared, default_tool):
            steps.append(step.model_copy(update={"prompt": _prompt_of(step)}))
            changed.append(index)
        else:
            steps.append(step)
    if not changed:
        return workflow, []
    names = _named(workflow.steps, changed)
    message = f"there is no prompt in {names}: the description is sent, with the outputs of depends_on below it"
    hint = Finding("hint", "default-prompt", message, "write a prompt", path=("steps", changed[0]))
    return workflow.model_copy(update={"steps": tuple(steps)}), [hint]


def with_tools(workflow: Workflow, default_tool: str | None) -> Workflow:
    """The workflow with the default tool in steps that name none. (The rules warn of them.)"""
    if default_tool is None or all(step.tool is not None for step in workflow.steps):
        return workflow
    steps = (
        step if step.tool is not None else step.model_copy(update={"tool": default_tool}) for step in workflow.steps
    )
    return workflow.model_copy(update={"steps": tuple(steps)})


def _has_nothing_to_say(step: Step, declared: Mapping[str, ToolDeclaration], default_tool: str | None) -> bool:
    if step.prompt is not None or not step.description or (step.args is not None and "messages" in step.args):
        return False
    tool = step.tool or default_tool or ""
    return declared[tool].kind == "llm" if tool in declared else tool == "llm"


def _prompt_of(step: Step) -> str:
    outputs = ["{{ " + access("steps", name) + ".output }}" for name in step.depends_on]
    return "\n\n".join([escape(step.description), *outputs])


def _named(steps: Sequence[Step], indices: Sequence[int]) -> str:
    if len(indices) == 1:
        return f"step {steps[indices[0]].step_id!r}"
    return f"{len(indices):,} steps ({some_of([repr(steps[index].step_id) for index in indices], _NAMES_SHOWN)})"
