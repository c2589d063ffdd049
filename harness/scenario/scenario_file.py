"""Scenarios: a workflow, and what to measure about it. Reads every kind of file that can be run.

There are scenario files, bare workflow files (also the seed's JSON blocks as they are), and the richer files of the
seed's system. All become the same :class:`Loaded`. Order: import the seed system's form, set inputs, write copies out,
model, rules, tools and benchmark. Each step goes on after the faults of the one before, as far as it can.

Rules of this module:
- One report holds all findings of a file: model, rules, resources, tools, benchmark. Each has its file and line.
- What the command line sets is checked like what the file says, and named as the command line's.
- Data is rewritten only in copies; the document stays what was read.
- A finding's path leads through what was rewritten back to the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from executor.backends import backend_names
from executor.dependencies import Plan, plan
from executor.garbage_collection import paused_collector
from executor.model.device_needs import resources_of
from executor.model.findings import Finding, WorkflowError, did_you_mean, raise_errors
from executor.model.findings import Path as FieldPath
from executor.model.json_values import describe
from executor.model.workflow import (
    DEVICES_LIMIT,
    Devices,
    Resource,
    ToolDeclaration,
    Workflow,
    parse_workflow,
    translate,
)
from executor.tools.registry import check_calls, check_tools, resolve_tool, tool_kind_names
from executor.tools.tool import Tool, ToolOptionsError
from executor.tools.toolbox import declarations_for
from harness.config import Config, load_config
from harness.files.packaged import shipped_scenarios
from harness.files.strict_file import Document, parse_value, read_document
from harness.scenario.defaults import with_prompts, with_tools
from harness.scenario.imported_form import ImportedForm
from harness.scenario.json_text import json_hints
from harness.scenario.projects import ProjectDocument, is_project_file, read_project
from harness.scenario.replicas import expand_copies, has_copies
from harness.scenario.scenario_model import Loaded, Scenario, ScenarioFile
from harness.scenario.seed.seed_file import import_seed, is_seed_file
from harness.scenario.wfformat import import_wfformat, is_wfformat

COMMAND_LINE: Final = "command line"
# Fields that both the workflow and the scenario have; the workflow's check counts.
_SHARED: Final = frozenset({"inputs", "description"})
_UNKNOWN_TOOL: Final = ToolDeclaration(kind="noop")
# In place of devices whose declaration is wrong: every need of them is met.
_ANY_DEVICES: Final = Devices(ids=tuple(f"fake-{place}" for place in range(DEVICES_LIMIT)), memory_gb=1e12)
_STEPS_NAMED: Final = 20


@dataclass(slots=True)
class Loading:
    """The state of one loading. ``findings`` are placed when :meth:`load` returns."""

    document: Document
    config: Config
    allow_missing_inputs: bool = False
    findings: list[Finding] = field(default_factory=list)
    _data: dict[str, Any] = field(default_factory=dict)
    _set: dict[str, Any] = field(default_factory=dict)
    _origins: dict[FieldPath, FieldPath] = field(default_factory=dict)
    _copied_from: list[int] | None = None
    _recorded_workers: int | None = None

    def load(self, settings: Mapping[str, Any]) -> Loaded | None:
        """The result, or None where errors forbid one."""
        self._data = dict(self.document.data)
        imported = is_seed_file(self._data)
        missing: dict[str, FieldPath] = {}
        if imported:
            form = import_seed(self._data)
            self._data, self._origins, missing = form.data, form.origins, form.missing_inputs
            self.findings += self.document.place(form.findings)
        elif isinstance(self.document, ProjectDocument):
            self._import(self.document.form)
        elif is_wfformat(self._data):
            self._import(import_wfformat(self._data))
            if any(finding.severity == "error" for finding in self.findings):
                return None
        self._check_fields()
        self._apply(settings, missing)
        self._write_copies()
        workflow, to_check = self._parse_workflow()
        scenario = self._parse_scenario(workflow)
        declared = {**self.config.tools, **_parsed_each(self._data.get("tools"), ToolDeclaration, _UNKNOWN_TOOL)}
        resources = self._resources()
        self._check_tools(declared)
        if workflow is not None:
            workflow, said = with_prompts(workflow, declared, self.config.default_tool)
            self.findings += [*said, *json_hints(workflow)]
            to_check = workflow
        planned = self._plan(to_check, declared, resources, complete=workflow is not None)
        self.findings = [*self.config.findings, *self._placed()]
        if workflow is None or scenario is None or planned is None or planned.graph is None:
            return None
        workflow = with_tools(workflow, self.config.default_tool)
        return Loaded(
            scenario, workflow, planned.graph, self.document, declared, resources, self.findings, self._set, imported,
            self._recorded_workers,
        )  # fmt: skip

    def _import(self, form: ImportedForm) -> None:
        """Go on with what a file in another form became."""
        self._data, self._origins, self._recorded_workers = form.data, form.origins, form.workers
        self.findings += self.document.place(form.findings)

    def _name(self) -> str:
        stem = Path(self.document.source_path).stem
        for candidate in (self._data.get("scenario"), self._data.get("workflow_id"), stem):
            if isinstance(candidate, str) and candidate:
                return candidate
        return "workflow"

    def _inputs(self) -> dict[str, Any]:
        inputs = self._data.get("inputs")
        return dict(inputs) if isinstance(inputs, Mapping) else {}

    def _check_fields(self) -> None:
        known = ScenarioFile.model_fields
        for name in self._data:
            if name not in known:
                fix = did_you_mean(name, known, f"known fields: {', '.join(known)}")
                self.findings.append(Finding("error", "unknown-field", f"`{name}` is no field here", fix, path=(name,)))

    def _apply(self, settings: Mapping[str, Any], missing: Mapping[str, FieldPath]) -> None:
        inputs = self._inputs()
        known = ["scale", *inputs, *missing]
        for name, given in settings.items():
            if name not in known:
                fix = did_you_mean(name, known, f"set one of: {', '.join(known)}")
                self._refuse(name, "unknown-input", f"there is no input {name!r}", fix)
                continue
            # Text stays what was typed where the file has text: `1.10` is a version, `007` an agent.
            default = inputs.get(name) if name != "scale" else 1.0
            try:
                value = parse_value(given) if isinstance(given, str) and not isinstance(default, str) else given
            except WorkflowError as error:
                self.findings += [replace(each, path=(name,), file=COMMAND_LINE) for each in error.findings]
                continue
            if default is not None and describe(value) != describe(default):
                message = f"{name} is {describe(value)}, where {describe(default)} belongs"
                self._refuse(name, "wrong-type", message, f"the file has {describe(default)} there")
                continue
            self._set[name] = value
            if name == "scale":
                self._data["scale"] = value
            else:
                inputs[name] = value
        self._ask_for(inputs, missing)
        if inputs:
            self._data["inputs"] = inputs

    def _refuse(self, name: str, code: str, message: str, fix: str) -> None:
        self.findings.append(Finding("error", code, message, fix, path=(name,), file=COMMAND_LINE))

    def _ask_for(self, inputs: dict[str, Any], missing: Mapping[str, FieldPath]) -> None:
        for name, path in missing.items():
            if name in inputs:
                continue
            inputs[name] = None
            severity: Any = "warning" if self.allow_missing_inputs else "error"
            message = f"the input {name!r} has no value"
            finding = Finding(severity, "missing-input", message, f"set it: --set {name}=…", path=path)
            self.findings += self.document.place([finding])

    def _write_copies(self) -> None:
        steps = self._data.get("steps")
        if has_copies(steps):
            expansion = expand_copies(self._data["steps"], self._inputs())
            self._data["steps"] = expansion.steps
            # These findings speak of the file's own steps already.
            self.findings += [self._in_file(finding) for finding in expansion.findings]
            self._copied_from = expansion.origins

    def _parse_workflow(self) -> tuple[Workflow | None, Workflow | None]:
        """The workflow, and what the rules can be checked on: without what is invalid, the rest still is."""
        data = {name: value for name, value in self._data.items() if name in Workflow.model_fields}
        name = self._name()
        workflow, findings = parse_workflow(data, default_id=name)
        self.findings += findings
        if workflow is not None:
            return workflow, workflow
        rest, _ = parse_workflow(_without_faults(data, findings), default_id=name)
        return None, rest

    def _parse_scenario(self, workflow: Workflow | None) -> Scenario | None:
        fields = Scenario.model_fields.keys() - _SHARED
        data = {name: value for name, value in self._data.items() if name in fields}
        data.setdefault("scenario", self._name())
        if data["scenario"] is None:
            data["scenario"] = self._name()
        if workflow is not None:
            data |= {"inputs": workflow.inputs, "description": workflow.description}
        try:
            scenario = Scenario.model_validate(data)
        except ValidationError as error:
            self.findings += translate(error, Scenario, (), data)
            return None
        self._check_benchmark(scenario)
        if workflow is not None:
            self._check_expected_outputs(scenario, workflow)
        return scenario

    def _check_expected_outputs(self, scenario: Scenario, workflow: Workflow) -> None:
        known = [step.step_id for step in workflow.steps]
        for name in scenario.expected_outputs:
            if name not in known:
                fix = did_you_mean(name, known, f"use one of: {', '.join(known[:_STEPS_NAMED])}")
                place = ("expected_outputs", name)
                self.findings.append(Finding("error", "unknown-step", f"there is no step {name!r}", fix, path=place))

    def _check_benchmark(self, scenario: Scenario) -> None:
        known = backend_names()
        for index, name in enumerate(scenario.benchmark.executors):
            if name not in known:
                fix = did_you_mean(name, known, f"use one of: {', '.join(known)}")
                path = ("benchmark", "executors", index)
                self.findings.append(Finding("error", "unknown-executor", f"no executor {name!r}", fix, path=path))
        settable = ["scale", *self._inputs()]
        for name in scenario.benchmark.parameters:
            if name not in settable:
                fix = did_you_mean(name, settable, f"use one of: {', '.join(settable)}")
                place = ("benchmark", "parameters", name)
                self.findings.append(Finding("error", "unknown-input", f"there is no input {name!r}", fix, path=place))

    def _resources(self) -> dict[str, Resource]:
        """Resources and devices of the configuration, with the scenario's over them."""
        given = {
            **self.config.all_resources,
            **_parsed_each(self._data.get("resources"), Resource, Resource()),
            **resources_of(_parsed_each(self._data.get("devices"), Devices, _ANY_DEVICES)),
        }
        if all(resource.devices is None for resource in given.values()):
            return given
        from executor.device_discovery import with_devices  # noqa: PLC0415  # few scenarios have devices

        resources, findings = with_devices(given)
        own = self._data.get("devices"), self._data.get("resources")
        for name in {*_names(own[0])} & {*_names(own[1])}:
            message = f"{name!r} is declared twice, as devices and as a resource"
            self.findings.append(Finding("error", "declared-twice", message, "leave one out", path=("devices", name)))
        for finding in findings:
            kind = str(finding.path[0])
            mine = [place for place, there in zip(("devices", "resources"), own, strict=True) if kind in _names(there)]
            if mine:
                self.findings.append(replace(finding, path=(mine[0], kind)))
            else:
                place = "devices" if kind in self.config.devices else "resources"
                self.findings.append(self.config.place(replace(finding, path=(place, kind))))
        return resources

    def _check_tools(self, declared: Mapping[str, ToolDeclaration]) -> None:
        own = self._data.get("tools")
        for finding in check_tools((), declared):
            mine = isinstance(own, Mapping) and len(finding.path) > 1 and finding.path[1] in own
            if not mine:
                self.findings.append(self.config.place(finding))
            elif declared[str(finding.path[1])] is not _UNKNOWN_TOOL:
                self.findings.append(finding)

    def _plan(
        self,
        workflow: Workflow | None,
        declared: Mapping[str, ToolDeclaration],
        resources: Mapping[str, Resource],
        *,
        complete: bool,
    ) -> Plan | None:
        if workflow is None:
            return None
        known = {**declared, **_undeclared(workflow, declared)}
        # The retries of a kind are in its module: those of kinds that no step uses need not be known.
        names = {step.tool for step in workflow.steps} | {self.config.default_tool}
        used = {name: declaration for name, declaration in known.items() if name in names}
        tools = {**known, **declarations_for(used, used)}
        planned = plan(workflow, tools=tools, resources=resources, default_tool=self.config.default_tool)
        # Of a workflow with parts left out, only what is surely wrong is worth saying.
        tool_by_step = {step.step_id: step.tool for step in workflow.steps}
        self.findings += [
            _why_not_found(finding, tool_by_step)
            for finding in planned.findings if complete or finding.severity == "error"
        ]  # fmt: skip
        if complete:
            steps = workflow.steps if planned.graph is None else planned.graph.steps
            self.findings += check_calls(steps, lambda name: _tool_of(name, known))
        return planned

    def _placed(self) -> list[Finding]:
        placed = (self._in_file(self._from_copy(finding)) for finding in self.findings)
        if self._copied_from is None:
            return list(placed)
        # The copies of a step have its faults as well: once is enough.
        return list({(each.code, each.path, each.message): each for each in placed}.values())

    def _from_copy(self, finding: Finding) -> Finding:
        path = finding.path
        if finding.file is not None or self._copied_from is None or path[:1] != ("steps",) or len(path) < 2:
            return finding
        index = path[1]
        if not isinstance(index, int) or not 0 <= index < len(self._copied_from):
            return finding
        original = self._copied_from[index]
        step = f"steps[{original}]" if finding.step == f"steps[{index}]" else finding.step
        return replace(finding, step=step, path=("steps", original, *path[2:]))

    def _in_file(self, finding: Finding) -> Finding:
        if finding.file is not None:
            return finding
        path = finding.path
        name = path[1] if path[:1] == ("inputs",) and len(path) > 1 else path[0] if path == ("scale",) else None
        if name in self._set:
            return finding.at(COMMAND_LINE, None)
        path = _original(path, self._origins, self.document.data)
        return replace(finding, path=path, file=self.document.source_path, line=self.document.line_of(path))


def _parsed_each(raw: Any, model: type[BaseModel], otherwise: Any) -> dict[str, Any]:
    """Every entry of a mapping as a model, or ``otherwise`` where it is invalid (which is reported elsewhere)."""
    parsed: dict[str, Any] = {}
    for name, value in raw.items() if isinstance(raw, Mapping) else ():
        try:
            parsed[name] = model.model_validate(value)
        except ValidationError:
            parsed[name] = otherwise
    return parsed


def _names(section: Any) -> Iterable[str]:
    return section if isinstance(section, Mapping) else ()


def _tool_of(name: str, declared: Mapping[str, ToolDeclaration]) -> Tool | None:
    """The tool of a name, where there is one: what is wrong with its declaration is said elsewhere."""
    try:
        return resolve_tool(name, declared)
    except ToolOptionsError:
        return None


def _why_not_found(finding: Finding, tool_by_step: Mapping[str, str | None]) -> Finding:
    """What hinders a ``module:function``, in place of the names of other tools."""
    name = tool_by_step.get(finding.step or "") or ""
    if finding.code != "unknown-tool" or ":" not in name:
        return finding
    try:
        resolve_tool(name, {})
    except ToolOptionsError as error:
        return replace(finding, message=str(error), fix=error.fix or finding.fix)
    return finding


def _undeclared(workflow: Workflow, declared: Mapping[str, ToolDeclaration]) -> dict[str, ToolDeclaration]:
    """Declarations of the tools that need none: kinds by their own name, and ``module:function`` where it is used."""
    found = {kind: ToolDeclaration(kind=kind) for kind in tool_kind_names() if kind not in declared}
    for name in {step.tool for step in workflow.steps if step.tool is not None and ":" in step.tool}:
        if name not in declared:
            try:
                resolve_tool(name, {})
            except ToolOptionsError:
                continue
            found[name] = ToolDeclaration.model_validate({"kind": "python", "callable": name})
    return found


def _without_faults(data: Mapping[str, Any], findings: Iterable[Finding]) -> dict[str, Any]:
    """The data less the fields that findings are about. What cannot be left out is made up: an id by its place,
    a tool that does nothing.
    """
    rest = dict(data)
    steps = rest.get("steps")
    steps = list(steps) if isinstance(steps, list) else steps
    for finding in findings:
        match finding.path:
            case ("steps", int(index), *inside) if isinstance(steps, list) and index < len(steps):
                step = dict(steps[index]) if isinstance(steps[index], Mapping) else {}
                name = inside[0] if inside else "step_id"
                step.pop(name, None)
                if name == "step_id" or "step_id" not in step:
                    step["step_id"] = f"steps[{index}]"
                if name == "tool" or not inside:
                    step["tool"] = "noop"
                steps[index] = step
            case (str(name), *_):
                rest.pop(name, None)
                steps = None if name == "steps" else steps
    if isinstance(steps, list):
        rest["steps"] = steps
    return rest


def _original(path: FieldPath, origins: Mapping[FieldPath, FieldPath], data: Any) -> FieldPath:
    """The path in the file that ``path`` in the rewritten data came from."""
    for length in range(len(path), 0, -1):
        origin = origins.get(path[:length])
        if origin is not None:
            rest = path[length:]
            while rest and not _exists(data, (*origin, *rest)):
                rest = rest[:-1]
            return (*origin, *rest)
    return path


def _exists(data: Any, path: FieldPath) -> bool:
    for part in path:
        in_list = isinstance(data, list) and isinstance(part, int) and 0 <= part < len(data)
        if not in_list and not (isinstance(data, Mapping) and part in data):
            return False
        data = data[part]
    return True


@paused_collector()
def load(
    path: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Config | None = None,
    allow_missing_inputs: bool = False,
) -> Loaded:
    """Read and check a scenario or workflow; ``path`` is a file, or the name of a shipped scenario.

    ``settings`` set ``scale`` or inputs: text is read as the command line's is, other values are taken as they are.
    ``config``: default is :func:`harness.config.load_config`. ``allow_missing_inputs``: an input without a value is
    null, with a warning, for commands that only look at the plan.

    Raises:
        WorkflowError: with all findings, at least one of them an error.

    """
    return load_document(
        read_scenario(path), settings=settings, config=config, allow_missing_inputs=allow_missing_inputs
    )


def look_beside(path: str | Path) -> None:
    """Let the tools of a file name modules that lie in its folder. It is looked in last, so that it hides nothing."""
    given = Path(path)
    with suppress(OSError, ValueError):
        folder = str(given.resolve().parent)
        if given.is_file() and folder not in sys.path:
            sys.path.append(folder)


def read_scenario(path: str | Path) -> Document:
    """Read what :func:`load` would check. From then on the modules beside the file are found.

    Raises:
        WorkflowError: it cannot be read.

    """
    look_beside(path)
    found = resolve(path)
    return read_project(found) if is_project_file(found) else read_document(found)


def resolve(path: str | Path) -> Path:
    """The file that is meant: an existing one, else the shipped scenario of that name, else the path as it is."""
    given = Path(path)
    try:
        exists = given.exists()
    except (OSError, ValueError):
        return given
    return given if exists else shipped_scenarios().get(str(path), given)


def load_document(
    document: Document,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Config | None = None,
    allow_missing_inputs: bool = False,
) -> Loaded:
    """The same for a file that was read already. Raises as :func:`load` does."""
    loading = Loading(document, config or load_config(), allow_missing_inputs=allow_missing_inputs)
    loaded = loading.load(settings or {})
    raise_errors(loading.findings)
    assert loaded is not None, "no error and no result"
    return loaded
