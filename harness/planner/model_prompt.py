"""The prompt of a model that plans a task: the words, the JSON Schema, and how faults are sent back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from executor.model.findings import Finding
from executor.model.workflow import ToolDeclaration

SCHEMA_NAME: Final = "makespan_plan"
_SYSTEM: Final = """You plan work. Break the task into steps for a workflow engine and answer with JSON alone:
{{"steps": [{{"step_id": "step1", "description": "...", "tool": "...", "prompt": "...", "depends_on": []}}]}}

Rules:
- One step for each single piece of work. Steps that do not need each other's output run at the same time: give a step
  a dependency only if it uses the output of another one.
- A step that uses an output names that step in depends_on, and its prompt holds {{{{ steps.THAT_ID.output }}}}.
- Every prompt is a complete request that can be understood without the task.
- List steps so that each comes after those that it depends on. No step may wait for itself through others.
- step_id is short and unique: step1, step2, and so on. At most {limit} steps.

Tools:
{tools}

Example. Task: write a joke and translate to french and spanish
{{"steps": [{{"step_id": "step1", "description": "Write a joke", "tool": "{writer}", "prompt": "Write a joke", \
"depends_on": []}}, {{"step_id": "step2", "description": "Translate to French", "tool": "{writer}", \
"prompt": "Translate to French: {{{{ steps.step1.output }}}}", "depends_on": ["step1"]}}, {{"step_id": "step3", \
"description": "Translate to Spanish", "tool": "{writer}", "prompt": "Translate to Spanish: \
{{{{ steps.step1.output }}}}", "depends_on": ["step1"]}}]}}"""
_FAULTS_SHOWN: Final = 20
_ANSWER_SHOWN_CHARACTERS: Final = 20_000


def first_messages(task: str, tools: Mapping[str, ToolDeclaration], *, limit: int, writer: str) -> list[dict[str, Any]]:
    """The messages that ask for a plan."""
    listed = "\n".join(f"- {name}: {tool.description or tool.kind}" for name, tool in tools.items())
    system = _SYSTEM.format(tools=listed, limit=limit, writer=writer)
    return [{"role": "system", "content": system}, {"role": "user", "content": f"Task: {task}"}]


def repair_messages(answer: str, findings: Sequence[Finding], kept: Sequence[str]) -> list[dict[str, Any]]:
    """What is added to ask for a better plan. ``kept``: steps that run already and must not be written again."""
    faults = "\n".join(f"- {_finding_line(each)}" for each in findings[:_FAULTS_SHOWN])
    if len(findings) > _FAULTS_SHOWN:
        faults += f"\n- and {len(findings) - _FAULTS_SHOWN} more"
    if kept:
        ask = (
            f"The steps {', '.join(kept)} are accepted and run already. Write the steps that are still missing, and "
            "only those, as the same JSON; they may depend on the accepted ones."
        )
    else:
        ask = "Write the whole plan again as the same JSON, without these faults."
    return [
        {"role": "assistant", "content": answer[:_ANSWER_SHOWN_CHARACTERS] or "{}"},
        {"role": "user", "content": f"The plan has faults:\n{faults}\n\n{ask}"},
    ]


def _finding_line(finding: Finding) -> str:
    place = f"step {finding.step}: " if finding.step is not None else ""
    return f"{place}{finding.message}. {finding.fix}".rstrip(". ")


def response_format(tools: Sequence[str]) -> dict[str, Any]:
    """The JSON Schema that the answer is held to, where the endpoint can."""
    text = {"type": "string"}
    step = {
        "step_id": text,
        "description": text,
        "tool": {"type": "string", "enum": list(tools)},
        "prompt": text,
        "depends_on": {"type": "array", "items": text},
    }
    steps = {"type": "array", "items": _object(step)}
    schema = _object({"steps": steps})
    return {"type": "json_schema", "json_schema": {"name": SCHEMA_NAME, "strict": True, "schema": schema}}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
