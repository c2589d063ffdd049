"""The configuration: defaults, a file, the environment, the command line, each over the one before.

Rules of this module:
- One file: the one that is named, else ``config.yaml`` in the current folder. Below it lies the one that travels with
  the package: sections are laid over it field by field, tools and resources name by name.
- The file is as strict as a scenario. In a ``config.yaml`` that merely lies in the current folder, and may belong to
  another program, an unknown section is a warning.
- Environment variables begin with ``MAKESPAN_`` and name nested fields with two underscores: ``MAKESPAN_LLM__MODEL``.
  Their text is read as the command line's is: JSON, numbers, true, false, null, else text.
- The key is a secret: it is in no message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError

from executor.model.device_needs import resources_of
from executor.model.findings import Finding, WorkflowError, did_you_mean
from executor.model.findings import Path as FieldPath
from executor.model.workflow import Devices, Name, Names, Resource, SparseModel, StrictModel, ToolDeclaration, translate
from harness.configured import FILE_NAME, PREFIX, has_variables
from harness.files.packaged import default_config_path
from harness.files.strict_file import Document, parse_value, read_document
from harness.telemetry.telemetry_settings import Telemetry

# `best` is `dataflow` with the best of several orders of starts.
BEST: Final = "best"
# As `llm.base_url`: a model on this machine, started for the run.
LOCAL: Final = "local"
_COMMAND_LINE: Final = "command line"

Policy = Literal["dataflow", "best", "levels", "barrier", "serial"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


def _mapping(value: Any) -> Any:
    return {} if value is None else value


def _endpoint(value: str) -> str:
    if value != LOCAL and not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://, or be `local`")
    return value


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class WorkflowMode(SparseModel):
    """Whether a task text is planned as a workflow, and the words that ask for it."""

    enabled: bool = True
    detect_keywords: Names = ("and", "then", "translate", "convert")


class Chat(SparseModel):
    """How task texts are understood. ``planner``: `rules` (a grammar, no model), `llm` (the model of ``llm``), or
    `auto`: the model where ``llm.base_url`` names one, the rules where none is or it gives no plan.
    """

    planner: Literal["auto", "rules", "llm"] = "auto"
    workflow_mode: WorkflowMode = Field(default_factory=WorkflowMode)


class LocalModel(SparseModel):
    """The model on this machine. ``model``: a GGUF file (null: the installed one); ``program``: llama.cpp's server
    (null: the installed one); ``slots``: requests that it answers at once, each with ``context_tokens`` and at most
    ``max_tokens`` of an answer; ``threads`` null: one fewer than there are cores; ``gpu_layers`` null: as it decides.
    """

    model: Name | None = None
    program: Name | None = None
    slots: int = Field(4, ge=1, le=256)
    context_tokens: int = Field(2048, ge=64)
    max_tokens: int = Field(256, ge=1)
    threads: int | None = Field(None, ge=1)
    gpu_layers: int | None = Field(None, ge=0)
    start_timeout_seconds: float = Field(60.0, gt=0)


class LanguageModel(SparseModel):
    """The endpoint of ``llm`` tools. ``base_url`` null: the stand-in service answers; `local`: a model that is started
    for the run. ``slots``: requests that it answers at once, if it does not say so itself.
    """

    base_url: Endpoint | None = None
    api_key: SecretStr | None = None
    model: str | None = None
    timeout_seconds: float = Field(120.0, gt=0)
    slots: int | None = Field(None, ge=1)
    local: Annotated[LocalModel, BeforeValidator(_mapping)] = Field(default_factory=LocalModel)


class Store(SparseModel):
    """Where runs are kept: an SQLite file. ``path`` null: one in the user's data folder."""

    path: Name | None = None


class Config(StrictModel):
    """All settings, checked. Make it with :func:`load_config`; the constructor reads neither file nor environment."""

    chat: Annotated[Chat, BeforeValidator(_mapping)] = Field(default_factory=Chat)
    default_tool: Name | None = None
    executor: Name = "threads"
    workers: int | None = Field(None, ge=1)
    backend_options: Annotated[dict[Name, dict[Name, str]], BeforeValidator(_mapping)] = Field(default_factory=dict)
    policy: Policy = "dataflow"
    resources: Annotated[dict[Name, Resource], BeforeValidator(_mapping)] = Field(default_factory=dict)
    devices: Annotated[dict[Name, Devices], BeforeValidator(_mapping)] = Field(default_factory=dict)
    tools: Annotated[dict[Name, ToolDeclaration], BeforeValidator(_mapping)] = Field(default_factory=dict)
    llm: Annotated[LanguageModel, BeforeValidator(_mapping)] = Field(default_factory=LanguageModel)
    telemetry: Annotated[Telemetry, BeforeValidator(_mapping)] = Field(default_factory=Telemetry)
    store: Annotated[Store, BeforeValidator(_mapping)] = Field(default_factory=Store)

    _source: _Source | None = PrivateAttr(None)
    _findings: tuple[Finding, ...] = PrivateAttr(())

    @property
    def all_resources(self) -> dict[str, Resource]:
        """The resources, devices among them."""
        return {**self.resources, **resources_of(self.devices)}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Warnings about the configuration."""
        return self._findings

    def options_of(self, executor: str, given: Mapping[str, str]) -> dict[str, str]:
        """The options of an executor: those of the command line over those of the file."""
        return {**self.backend_options.get(executor, {}), **given}

    def place(self, finding: Finding) -> Finding:
        """A finding about this configuration, with the file and line, variable or option that it is about."""
        return self._source.place(finding) if self._source is not None else finding


@dataclass(frozen=True, slots=True)
class _Source:
    """What each layer said."""

    defaults: Document
    document: Document
    environment: Mapping[str, Any]
    overrides: Mapping[str, Any]

    def place(self, finding: Finding) -> Finding:
        if _reaches(self.overrides, finding.path):
            return finding.at(_COMMAND_LINE, None)
        if _reaches(self.environment, finding.path):
            return finding.at(_variable(finding.path), None)
        inside = _reaches(self.document.data, finding.path) or not _reaches(self.defaults.data, finding.path)
        document = self.document if inside else self.defaults
        return finding.at(document.source_path, document.line_of(finding.path))


def load_config(path: str | Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read the configuration. ``overrides`` are the command line's settings, nested as in the file; None is not given.

    Raises:
        WorkflowError: with every fault, each naming its file and line, variable, or the command line.

    """
    defaults = read_document(default_config_path())
    local = Path(FILE_NAME)
    chosen = Path(path) if path is not None else local if local.is_file() else None
    document = read_document(chosen) if chosen is not None else defaults
    data, warnings = document.data, list[Finding]()
    if path is None:
        data, warnings = _without_foreign_sections(document)
    source = _Source(defaults, document, _environment(), _given(overrides or {}))
    try:
        config = _validate(_over_defaults(defaults.data, data), source)
    except _InvalidError as error:
        raise WorkflowError([*warnings, *(source.place(finding) for finding in error.findings)]) from None
    config._source = source  # noqa: SLF001 - the class and its one maker share this
    config._findings = tuple(warnings)  # noqa: SLF001 - the same
    return config


class _InvalidError(ValueError):
    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("invalid configuration")
        self.findings = findings


def _variable(path: FieldPath) -> str:
    return f"environment variable {PREFIX}{'__'.join(part.upper() for part in path if isinstance(part, str))}"


def _over_defaults(defaults: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """One level deep, so that a tool or resource that is declared anew inherits nothing."""
    merged = dict(defaults)
    for name, value in data.items():
        below = defaults.get(name)
        merged[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _without_foreign_sections(document: Document) -> tuple[dict[str, Any], list[Finding]]:
    known = Config.model_fields
    warnings = [
        Finding(
            "warning", "unknown-field", f"`{name}` is no setting of makespan, and is ignored",
            did_you_mean(name, known, "remove it if it was meant for makespan"), path=(name,),
        ).at(document.source_path, document.line_of((name,)))
        for name in document.data if name not in known
    ]  # fmt: skip
    return {name: value for name, value in document.data.items() if name in known}, warnings


def _validate(data: Mapping[str, Any], source: _Source) -> Config:
    """First with every variable's text read as a value; where text belongs after all, with the text itself."""
    environment = source.environment
    faults: list[Finding] = []
    read = _read_leaves(environment, (), faults)
    if faults:
        raise _InvalidError(faults)
    merged = _merge(_merge(data, read), source.overrides)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        findings = translate(error, Config, (), merged)
    for finding in findings:
        if finding.code == "wrong-type" and _reaches(environment, finding.path):
            _set(read, finding.path, _get(environment, finding.path))
    merged = _merge(_merge(data, read), source.overrides)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise _InvalidError(translate(error, Config, (), merged)) from None


def _environment() -> dict[str, Any]:
    """The variables that name a setting, nested as in the file; leaves are text."""
    if not has_variables():
        return {}
    # Few set any, and it takes as long to import as pydantic itself.
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict  # noqa: PLC0415

    class FromEnvironment(Config, BaseSettings):
        """The settings as pydantic-settings looks for them. Never made: only its fields are asked for, since the layers
        are laid by :func:`load_config`, which has to know which of them said what.
        """

        model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", enable_decoding=False)

    return EnvSettingsSource(FromEnvironment)()


def _given(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _given(value) if isinstance(value, Mapping) else value
        for name, value in overrides.items()
        if value is not None
    }


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        here = merged.get(name)
        merged[name] = _merge(here, value) if isinstance(here, Mapping) and isinstance(value, Mapping) else value
    return merged


def _read_leaves(data: Mapping[str, Any], path: FieldPath, faults: list[Finding]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in data.items():
        here = (*path, name)
        if isinstance(value, Mapping):
            read[name] = _read_leaves(value, here, faults)
            continue
        try:
            read[name] = parse_value(value) if isinstance(value, str) else value
        except WorkflowError as error:
            faults += [replace(finding, path=here) for finding in error.findings]
    return read


def _get(data: Any, path: FieldPath) -> Any:
    for part in path:
        if not isinstance(data, Mapping) or part not in data:
            return None
        data = data[part]
    return data


def _set(data: dict[str, Any], path: FieldPath, value: Any) -> None:
    parent = _get(data, path[:-1])
    if isinstance(parent, dict) and value is not None:
        parent[path[-1]] = value


def _reaches(data: Any, path: FieldPath) -> bool:
    """Whether a layer said something about the place: its path leads through the layer to a leaf, or to its end."""
    if not path:
        return False
    for part in path:
        if not isinstance(data, Mapping):
            return True
        if part not in data:
            return False
        data = data[part]
    return True
