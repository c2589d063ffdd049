"""One step of the seed system's files becomes a native step.

Rules of this module:
- What would change the meaning if it were left out is an error that says so (``not-supported``); what is merely unknown
  is a warning that names it. Native fields pass as they are: the model judges them.
- ``input_mapping`` and ``input`` become ``args`` for tools, and text for steps that talk to a model: there a template
  takes what it names, and without a template every value follows the task.
- A ``prompt`` with ``{{ steps… }}`` or ``{{ inputs… }}`` is native and stays as it is; any other is read as a
  template of that system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, Path
from executor.model.workflow import Step
from harness.scenario.seed.seed_templates import References, as_text, escape

NATIVE_FIELDS: Final = frozenset(Step.model_fields) | {"tool_name", "copies"}
IMPORTER_FIELDS: Final = frozenset({
    "type", "task_for_node", "prompt_template", "input_mapping", "input_from_step", "input", "output_name",
    "output_key", "retry_on_failure", "max_retries", "conditional", "repeat", "generate_tool", "operation_type",
    "tool_path", "workflow_path", "workflow_spec", "inputs", "outputs",
})  # fmt: skip
# What a step of that system says beside, and has no meaning for a run.
_LABELS: Final = frozenset({"name", "title", "version", "tags"})

_STEP_TYPES: Final = frozenset({"llm_call", "python_tool", "existing_tool"})
_NOT_SUPPORTED_TYPES: Final = {
    "sub_workflow": "sub-workflows", "conditional": "conditional steps", "repeat": "repeated steps",
}  # fmt: skip
_NOT_SUPPORTED_FIELDS: Final = {
    "conditional": ("conditional steps", "write the condition as a template expression in `when`"),
    "repeat": ("repeated steps", "write the steps out, or use `copies`"),
    "workflow_path": ("sub-workflows", "copy the steps of the other workflow into this file"),
    "workflow_spec": ("sub-workflows", "move its steps up into this file"),
}
_NATIVE_TEMPLATE = re.compile(r"\{\{-?\s*(?:steps|inputs)\b")
# How often the seed system tries again where a file says retry_on_failure alone.
_DEFAULT_RETRIES: Final = 3


@dataclass(slots=True)
class ConvertedStep:
    """A native step as data, where its fields came from, and the steps whose outputs it uses."""

    data: dict[str, Any]
    origins: dict[Path, Path]
    used: set[str]


@dataclass(slots=True)
class _Conversion:
    raw: Mapping[str, Any]
    index: int
    references: References
    findings: list[Finding]
    # Tools of the file that ask a model, and `llm`.
    model_tools: frozenset[str]
    native: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Path] = field(default_factory=dict)
    # The values of input_mapping, input and input_from_step, and the steps that each refers to.
    mapping: dict[str, Any] = field(default_factory=dict)
    behind: dict[str, set[str]] = field(default_factory=dict)

    @property
    def step_id(self) -> str:
        return self.references.step_ids[self.index]

    def path(self, *parts: str | int) -> Path:
        return ("steps", self.index, *parts)

    def report(self, severity: Any, code: str, message: str, name: str, fix: str = "") -> None:
        self.findings.append(Finding(severity, code, message, fix=fix, step=self.step_id, path=self.path(name)))

    def text(self, name: str) -> str | None:
        """A field that must be text; anything else is reported and left out."""
        value = self.raw.get(name)
        if value is None or isinstance(value, str):
            return value
        self.report("error", "wrong-type", f"{name} must be text", name)
        return None

    def map(self, name: str, value: Any, source: Path) -> None:
        """Note a converted value of the mapping, and where it is in the file."""
        self.mapping[name] = value
        self.behind[name] = set(self.references.used)
        self.references.used.clear()
        self.origins[self.path("args", name)] = source


def convert_step(
    raw: Mapping[str, Any],
    index: int,
    references: References,
    findings: list[Finding],
    model_tools: frozenset[str] = frozenset(),
) -> ConvertedStep:
    """Convert ``raw``, the file's step number ``index``; what is wrong is added to ``findings``. ``model_tools``: the
    tools of the file that ask a model.
    """
    step = _Conversion(raw, index, references, findings, model_tools | {"llm"})
    references.used.clear()
    references.inlined.clear()
    step.native.update({name: value for name, value in raw.items() if name in NATIVE_FIELDS})
    _check_support(step)
    _read_mapping(step)
    used = _write_prompt_and_args(step)
    _write_retry(step)
    if not step.native.get("description") and isinstance(raw.get("task_for_node"), str):
        step.native["description"] = raw["task_for_node"]
    return ConvertedStep(step.native, step.origins, used - {step.step_id})


def _check_support(step: _Conversion) -> None:
    raw = step.raw
    for name, (what, fix) in _NOT_SUPPORTED_FIELDS.items():
        if raw.get(name):
            step.report("error", "not-supported", f"{name}: {what} are not supported", name, fix)
    has_tool = bool(raw.get("tool") or raw.get("tool_name"))
    if raw.get("generate_tool") and not has_tool:
        message = "generate_tool without a tool is not supported: no code is generated here"
        step.report("error", "not-supported", message, "generate_tool", "name an existing tool in `tool`")
    elif raw.get("tool_path") and not has_tool:
        message = "tool_path without a tool is not supported"
        step.report("error", "not-supported", message, "tool_path", "declare a `python` or `command` tool and name it")
    kind = raw.get("type")
    if isinstance(kind, str) and kind in _NOT_SUPPORTED_TYPES:
        if not raw.get(kind):
            message = f"type {kind}: {_NOT_SUPPORTED_TYPES[kind]} are not supported"
            step.report("error", "not-supported", message, "type", "write the steps out in this file")
    elif kind is not None and not (isinstance(kind, str) and kind in _STEP_TYPES):
        step.report("warning", "unknown-type", f"type {kind!r} is not known and is ignored", "type")
    for name in raw:
        if name not in NATIVE_FIELDS | IMPORTER_FIELDS | _LABELS:
            step.report("warning", "unknown-field", f"the field {name!r} is unknown and is ignored", name)


def _talks_to_a_model(step: _Conversion) -> bool:
    kind = step.raw.get("type")
    tool = step.raw.get("tool") or step.raw.get("tool_name")
    if isinstance(tool, str) and tool in step.model_tools:
        return True
    if kind is None:
        return any(step.raw.get(name) for name in ("prompt_template", "task_for_node", "input_from_step"))
    return isinstance(kind, str) and kind == "llm_call"


def _read_mapping(step: _Conversion) -> None:
    for source in ("input_mapping", "inputs", "input"):
        value = step.raw.get(source)
        if isinstance(value, dict):
            for name, item in value.items():
                path = step.path(source, name)
                step.map(name, step.references.value(item, step.index, path), path)
        elif isinstance(value, str) and source == "input":
            path = step.path(source)
            step.map("input", step.references.value(value, step.index, path), path)
        elif value is not None:
            step.report("error", "wrong-type", f"{source} must be a mapping from names to values", source)
    _read_earlier_outputs(step)


def _read_earlier_outputs(step: _Conversion) -> None:
    value = step.raw.get("input_from_step")
    names = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(name, str) for name in names):
        step.report("error", "wrong-type", "input_from_step must be a step's id, or a list of ids", "input_from_step")
        return
    if names:
        text = "\n\n".join(step.references.output_of(name) for name in names)
        step.map("input", text, step.path("input_from_step"))


def _write_prompt_and_args(step: _Conversion) -> set[str]:
    """Returns the steps that the native step refers to."""
    prompt, source = _prompt(step)
    in_prompt = set(step.references.used)
    model = _talks_to_a_model(step)
    args: dict[str, Any] = {}
    if not model:
        args = step.mapping
    elif source in {"task_for_node", "description", "input"}:
        # Without a task, what is mapped is the whole question.
        prompt = "\n\n".join([part for part in (prompt, *_paragraphs(step.mapping)) if part]) or None
    else:
        _keep_dependencies(step, in_prompt)
    if prompt is not None:
        step.native["prompt"] = prompt
        step.origins[step.path("prompt")] = step.path(source)
    if args:
        own = step.native.get("args")
        step.native["args"] = {**args, **own} if isinstance(own, dict) else args
    return in_prompt.union(*step.behind.values())


def _prompt(step: _Conversion) -> tuple[str | None, str]:
    """The prompt as Jinja2 source, and the field that it comes from."""
    references, index = step.references, step.index
    # The names of `input` belong to the tool alone; a template sees what is mapped for it.
    own = [step.raw.get(name) for name in ("input_mapping", "inputs")]
    visible = {"input"}.union(*(each for each in own if isinstance(each, dict)))
    names = {name: as_text(value) for name, value in step.mapping.items() if name in visible}
    prompt = step.native.get("prompt")
    if prompt is not None and (not isinstance(prompt, str) or _NATIVE_TEMPLATE.search(prompt)):
        return None, "prompt"
    for source in ("prompt", "prompt_template"):
        text = step.text(source)
        if text is not None:
            source_text = references.template(text, index, step.path(source), names)
            for name in references.inlined:
                references.used |= step.behind[name]
            return source_text, source
    task = step.text("task_for_node")
    if task is not None:
        return references.template(task, index, step.path("task_for_node")), "task_for_node"
    if isinstance(step.mapping.get("prompt"), str):
        references.used |= step.behind["prompt"]
        return step.mapping.pop("prompt"), "input"
    description = step.raw.get("description")
    if _talks_to_a_model(step) and isinstance(description, str):
        return escape(description), "description"
    return None, "description"


def _paragraphs(mapping: Mapping[str, Any]) -> list[str]:
    return [as_text(value) if name == "input" else f"{name}: {as_text(value)}" for name, value in mapping.items()]


def _keep_dependencies(step: _Conversion, in_prompt: set[str]) -> None:
    """A template need not mention everything that is mapped; the order that the mapping states is kept all the same."""
    mapped = set[str]().union(*step.behind.values()) - in_prompt - {step.step_id}
    declared = step.native.get("depends_on")
    if mapped and (declared is None or isinstance(declared, list)):
        step.native["depends_on"] = [*(declared or ()), *sorted(mapped.difference(declared or ()))]
        if declared is None:
            step.origins[step.path("depends_on")] = step.path("input_mapping")


def _write_retry(step: _Conversion) -> None:
    again, times = step.raw.get("retry_on_failure"), step.raw.get("max_retries")
    for name, value, kind in (("retry_on_failure", again, bool), ("max_retries", times, int)):
        if value is not None and type(value) is not kind:
            wanted = "true or false" if kind is bool else "a whole number"
            step.report("error", "wrong-type", f"{name} must be {wanted}", name)
            return
    if again is None or "retry" in step.native:
        return
    retries = _DEFAULT_RETRIES if times is None else times
    if again and retries < 0:
        step.report("error", "out-of-range", "max_retries must not be negative", "max_retries")
        return
    # A retry comes after the first attempt, so the attempts are one more.
    step.native["retry"] = {"max_attempts": retries + 1 if again else 1}
    step.origins[step.path("retry")] = step.path("max_retries" if times is not None else "retry_on_failure")
