"""Imports the richer workflow files of the system that the seed comes from.

Its files carry step types, prompt templates with ``{placeholders}``, input mappings, named outputs and embedded tools.
The model knows none of that: :func:`import_seed` turns such a file into native data, which is then judged like any
other.

Rules of this module:
- Nothing that was meant is lost without a word: it is converted, named as not supported (error), or named as ignored
  (warning). Only labels (version, tags, authorship) go silently.
- A file is imported if it uses any field of that system, or has its kind of ``tools`` or ``outputs`` at the top.
- In an imported file without any dependency, group or reference the steps run in file order, as its authors meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, Path
from harness.scenario.seed.seed_steps import IMPORTER_FIELDS, convert_step
from harness.scenario.seed.seed_templates import References

_NATIVE_TOP: Final = frozenset({
    "workflow_id", "description", "steps", "scenario", "task", "scale", "resources", "benchmark", "expect", "seed",
})  # fmt: skip
_LABELS: Final = frozenset({"name", "version", "created_by", "created_at", "tags", "portable"})
_READ_HERE: Final = frozenset({"inputs", "input_parameters", "outputs", "tools", "tasks"})
_INPUT_FIELDS: Final = frozenset({"type", "required", "default", "description", "name", "enum", "pattern"})
_INPUT_TYPES: Final = frozenset({
    "string", "str", "text", "integer", "int", "number", "float", "boolean", "bool", "array", "list", "object", "dict",
    "any",
})  # fmt: skip
_TOOL_LABELS: Final = frozenset({"tool_id", "name", "type", "description"})


@dataclass(slots=True)
class Imported:
    """Native data and what was noticed on the way.

    ``origins``: from a path in ``data`` to the path in the file that it came from (longest prefix counts).
    ``missing_inputs``: inputs without a value, and where the file asks for them.
    """

    data: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    origins: dict[Path, Path] = field(default_factory=dict)
    missing_inputs: dict[str, Path] = field(default_factory=dict)


def is_seed_file(data: Mapping[str, Any]) -> bool:
    """Whether a file is in the seed system's richer form."""
    steps = data.get("steps")
    if isinstance(steps, list) and any(
        isinstance(step, dict) and not IMPORTER_FIELDS.isdisjoint(step) for step in steps
    ):
        return True
    if isinstance(data.get("tasks"), list) or isinstance(data.get("input_parameters"), dict):
        return True
    if _has_seed_inputs(data.get("inputs")):
        return True
    return _has_seed_outputs(data.get("outputs")) or _has_seed_tools(data.get("tools"))


def import_seed(data: Mapping[str, Any]) -> Imported:
    """Turn the data of such a file into native data. Raises nothing: faults are among the findings."""
    result = Imported({name: value for name, value in data.items() if name in _NATIVE_TOP})
    _check_top(data, result)
    inputs = _read_inputs(data, result)
    _read_tools(data.get("tools"), result)
    references = _import_steps(data.get("steps"), frozenset(inputs) | frozenset(result.missing_inputs), result)
    for name, path in references.asked.items():
        result.missing_inputs.setdefault(name, path)
    _check_outputs(data.get("outputs"), references, result)
    result.findings.extend(references.findings)
    result.data["inputs"] = inputs
    return result


def _has_seed_inputs(inputs: Any) -> bool:
    """Whether all of them are declared, with a type, in place of a value."""
    return isinstance(inputs, dict) and bool(inputs) and all(
        _is_declaration(value) and value["type"] in _INPUT_TYPES for value in inputs.values()
    )  # fmt: skip


def _has_seed_outputs(outputs: Any) -> bool:
    return isinstance(outputs, dict) and all(
        isinstance(value, dict) and not {"source_reference", "type"}.isdisjoint(value) for value in outputs.values()
    )


def _has_seed_tools(tools: Any) -> bool:
    """A native declaration has a ``kind``; that system's has a ``type``, and mostly a ``tool_id``."""
    return isinstance(tools, dict) and any(
        isinstance(value, dict) and "kind" not in value and ("tool_id" in value or "type" in value)
        for value in tools.values()
    )


def _check_top(data: Mapping[str, Any], result: Imported) -> None:
    tasks = data.get("tasks")
    if isinstance(tasks, list):
        for index, task in enumerate(tasks):
            if isinstance(task, dict) and task.get("candidates"):
                message = "tasks[].candidates, a choice between tools, is not supported"
                fix = "write one step with the tool that you want"
                path = ("tasks", index, "candidates")
                result.findings.append(Finding("error", "not-supported", message, fix=fix, path=path))
        if not data.get("steps") and not result.findings:
            message = "tasks instead of steps are not supported"
            result.findings.append(Finding("error", "not-supported", message, fix="write `steps`", path=("tasks",)))
    for name in data:
        if name not in _NATIVE_TOP | _LABELS | _READ_HERE or (name == "tasks" and not isinstance(tasks, list)):
            message = f"the field {name!r} is unknown and is ignored"
            result.findings.append(Finding("warning", "unknown-field", message, path=(name,)))


def _read_inputs(data: Mapping[str, Any], result: Imported) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for source in ("input_parameters", "inputs"):
        declared = data.get(source)
        if declared is None:
            continue
        if not isinstance(declared, dict):
            message = f"{source} must be a mapping from names to values"
            result.findings.append(Finding("error", "wrong-type", message, path=(source,)))
            continue
        for name, value in declared.items():
            result.origins["inputs", name] = (source, name)
            if not _is_declaration(value):
                inputs[name] = value
            elif "default" in value or value.get("required") is False:
                inputs[name] = value.get("default")
            else:
                result.missing_inputs[name] = (source, name)
    return inputs


def _is_declaration(value: Any) -> bool:
    return isinstance(value, dict) and "type" in value and _INPUT_FIELDS.issuperset(value)


def _read_tools(tools: Any, result: Imported) -> None:
    if tools is None:
        return
    if not isinstance(tools, dict):
        message = "tools is not a mapping from names to declarations, and is ignored"
        result.findings.append(Finding("warning", "unknown-field", message, path=("tools",)))
        return
    result.data["tools"] = {
        name: _convert_tool(name, value, result) if isinstance(value, dict) and "kind" not in value else value
        for name, value in tools.items()
    }


def _convert_tool(name: str, tool: Mapping[str, Any], result: Imported) -> dict[str, Any]:
    path: Path = ("tools", name)
    if tool.get("type") != "llm":
        message = f"tool {name!r}: an embedded tool of type {tool.get('type')!r} is not supported"
        fix = "declare it as a tool of kind `python`, `http` or `command`"
        result.findings.append(Finding("error", "not-supported", message, fix=fix, path=(*path, "type")))
        return {"kind": "noop"}
    native: dict[str, Any] = {"kind": "llm"}
    for source, target in (("description", "description"), ("system_prompt", "system"), ("model", "model")):
        if tool.get(source):
            native[target] = tool[source]
            result.origins[*path, target] = (*path, source)
    for source in ("temperature", "timeout"):
        if tool.get(source) is not None:
            native[source] = tool[source]
    if tool.get("retry_on_failure") is True:
        native["retry"] = {}
    read = _TOOL_LABELS | {"system_prompt", "model", "temperature", "timeout", "retry_on_failure"}
    for source in tool:
        if source == "endpoint":
            message = f"tool {name!r}: its endpoint is ignored"
            fix = "set `llm.base_url` in config.yaml, or MAKESPAN_LLM__BASE_URL"
            result.findings.append(Finding("warning", "endpoint-ignored", message, fix=fix, path=(*path, source)))
        elif source not in read:
            message = f"tool {name!r}: the field {source!r} is unknown and is ignored"
            result.findings.append(Finding("warning", "unknown-field", message, path=(*path, source)))
    return native


def _import_steps(steps: Any, inputs: frozenset[str], result: Imported) -> References:
    if not isinstance(steps, list):
        return References((), (), inputs)
    ids = [_step_name(step, index) for index, step in enumerate(steps)]
    references = References(ids, [_output_names(step) for step in steps], inputs)
    converted: list[Any] = []
    ordered = False
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            converted.append(step)
            continue
        native = convert_step(step, index, references, result.findings, _model_tools(result.data.get("tools")))
        result.origins.update(native.origins)
        converted.append(native.data)
        ordered = ordered or bool(native.used or native.data.get("depends_on"))
        ordered = ordered or native.data.get("parallel_group") is not None
    named = all(isinstance(step, dict) and step.get("step_id") == ids[index] for index, step in enumerate(steps))
    if not ordered and named and len(converted) > 1:
        _chain(converted, ids, result)
    result.data["steps"] = converted
    return references


def _model_tools(tools: Any) -> frozenset[str]:
    """The converted tools that ask a model."""
    declared = tools.items() if isinstance(tools, dict) else ()
    return frozenset(name for name, value in declared if isinstance(value, dict) and value.get("kind") == "llm")


def _step_name(step: Any, index: int) -> str:
    step_id = step.get("step_id") if isinstance(step, dict) else None
    return step_id if isinstance(step_id, str) and step_id else f"steps[{index}]"


def _output_names(step: Any) -> frozenset[str]:
    if not isinstance(step, dict):
        return frozenset()
    several = step.get("outputs")
    listed = list(several) if isinstance(several, list | dict) else []
    names = (step.get("output_name"), step.get("output_key"), *(listed if len(listed) == 1 else ()))
    return frozenset(name for name in names if isinstance(name, str) and name and name != "output")


def _chain(steps: list[dict[str, Any]], ids: list[str], result: Imported) -> None:
    for index in range(1, len(steps)):
        steps[index]["depends_on"] = [ids[index - 1]]
    message = "no step has a dependency, a group or a reference, so the steps run one after another, in file order"
    fix = "add `depends_on` or `parallel_group` to let steps run side by side"
    result.findings.append(Finding("warning", "file-order", message, fix=fix, path=("steps",)))


def _check_outputs(outputs: Any, references: References, result: Imported) -> None:
    if not isinstance(outputs, dict):
        if outputs is not None:
            message = "outputs is not a mapping from names to references, and is ignored"
            result.findings.append(Finding("warning", "unknown-field", message, path=("outputs",)))
        return
    known = set(references.step_ids)
    for name, output in outputs.items():
        source = output.get("source_reference") if isinstance(output, dict) else None
        if not isinstance(source, str) or not source:
            continue
        references.used.clear()
        references.value(source, len(references.step_ids) - 1 if known else 0, ("outputs", name, "source_reference"))
        for step_id in sorted(references.used - known):
            message = f"output {name!r} refers to step {step_id!r}, which does not exist"
            path = ("outputs", name, "source_reference")
            result.findings.append(Finding("warning", "unknown-step", message, path=path))
