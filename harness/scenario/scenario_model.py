"""The words of a scenario: what a file says beside its workflow, and the result of loading one.

Frozen pydantic models, as strict as :mod:`executor.model.workflow`. Here ``expect`` is text:
:mod:`harness.expectations` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints

from executor.dependencies import Graph
from executor.model.durations import LONGEST_SECONDS
from executor.model.findings import Finding
from executor.model.json_values import JsonAny, JsonMapping
from executor.model.workflow import Devices, Name, Names, Resource, SparseModel, ToolDeclaration, Workflow
from harness.config import Policy
from harness.files.strict_file import Document

DEFAULT_REPETITIONS: Final = 10


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _mapping(value: Any) -> Any:
    return {} if value is None else value


Workers = Annotated[int, Field(ge=1)]
Expectation = Annotated[str, StringConstraints(min_length=1)]


class Benchmark(SparseModel):
    """The matrix of a benchmark: every executor × workers × policy × parameter values, ``repetitions`` times each after
    ``warmup`` runs that do not count. ``parameters``: values of inputs (or of ``scale``) to run with. Empty lists leave
    the choice to the person who runs it.
    """

    executors: Names = ()
    workers: Annotated[tuple[Workers, ...], BeforeValidator(_listed)] = ()
    policies: Annotated[tuple[Policy, ...], BeforeValidator(_listed)] = ()
    repetitions: int = Field(DEFAULT_REPETITIONS, ge=1, le=100_000)
    warmup: int = Field(1, ge=0, le=100_000)
    parameters: dict[Name, Annotated[tuple[JsonAny, ...], BeforeValidator(_listed), Field(min_length=1)]] = Field(
        default_factory=dict
    )


class Scenario(SparseModel):
    """What a scenario file says beside its steps. ``scale`` multiplies durations of synthetic and stand-in steps;
    ``seed`` feeds everything that is drawn at random. ``expected_outputs``: by step, the output that it is taken to
    have where no tool runs (each item's of a mapped step), for conditions and lists that depend on it.
    """

    scenario: Name
    task: str = ""
    description: str = ""
    scale: float = Field(1.0, gt=0, le=LONGEST_SECONDS)
    seed: int = Field(0, ge=0)
    inputs: JsonMapping = Field(default_factory=dict)
    resources: Annotated[dict[Name, Resource], BeforeValidator(_mapping)] = Field(default_factory=dict)
    devices: Annotated[dict[Name, Devices], BeforeValidator(_mapping)] = Field(default_factory=dict)
    tools: Annotated[dict[Name, ToolDeclaration], BeforeValidator(_mapping)] = Field(default_factory=dict)
    expected_outputs: Annotated[JsonMapping, BeforeValidator(_mapping)] = Field(default_factory=dict)
    benchmark: Benchmark = Field(default_factory=Benchmark)
    expect: Annotated[tuple[Expectation, ...], BeforeValidator(_listed)] = ()


class ScenarioFile(Scenario, Workflow):
    """All fields that are allowed at the top of a file: for messages, never made."""


@dataclass(slots=True)
class Loaded:
    """A file that may run. ``findings`` are its warnings and hints, placed; a file with errors never gets here.

    ``tools`` and ``resources`` are those of the configuration with the scenario's over them; devices are resources,
    too, those that were to be found included. ``parameters`` are the
    values set from outside. ``imported``: the file was in the seed system's richer form. ``recorded_workers``: how many
    steps the machines run at once that the file speaks of.
    """

    scenario: Scenario
    workflow: Workflow
    graph: Graph
    document: Document
    tools: dict[str, ToolDeclaration]
    resources: dict[str, Resource]
    findings: list[Finding] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    imported: bool = False
    recorded_workers: int | None = None
