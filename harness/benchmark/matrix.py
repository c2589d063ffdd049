"""The matrix: scenarios × parameters × executors × workers × policies, from the files and what is asked for over them.

Rules of this module:
- Everything that is wrong is said at once, before anything runs.
- Each case (a scenario with its parameters) has one baseline: `serial`, asked for or not. Simulated cells are compared
  with a simulated one: one worker on the virtual clock.
- `serial` has one cell a case, since neither workers nor policies change what it does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from executor.backends import backend_names, find_backend, make_backend
from executor.backends.base import BackendError
from executor.dependencies import Graph
from executor.model.findings import Finding, WorkflowError, did_you_mean
from executor.tools.registry import resolve_tool
from harness.config import BEST, POLICIES, Config, Policy
from harness.execution import workers_for
from harness.expectations import Expectation, parse_expectations
from harness.files.strict_file import Document
from harness.result.cell_key import Cell, cell_of
from harness.scenario.scenario_file import COMMAND_LINE, load_document, read_scenario
from harness.scenario.scenario_model import Benchmark, Loaded
from harness.simulation import BestOrder, Learned, best_order

SERIAL: Final = "serial"
_DATAFLOW: Final = "dataflow"
# What a file that says nothing is measured on; `processes` where steps compute.
_DEFAULT_EXECUTORS: Final = ("serial", "threads", "asyncio")
_COMPUTING_EXECUTORS: Final = ("serial", "threads", "processes")


@dataclass(frozen=True, slots=True)
class MatrixRequest:
    """What is asked for over the files' own ``benchmark:`` blocks; empty and None leave the choice to them.

    ``settings`` hold for all cells, ``parameters`` are axes of the matrix; text in either is read as the command
    line's is.
    """

    executors: tuple[str, ...] = ()
    workers: tuple[int, ...] = ()
    policies: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    repetitions: int | None = None
    warmup: int | None = None
    seed: int | None = None
    # For those executors that have such an option.
    backend_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def change_the_cells(self) -> bool:
        """Whether cells that a file asks for may be missing."""
        return bool(self.executors or self.workers or self.policies or self.settings or self.parameters)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scenario with one set of parameters: what is the same in all its cells."""

    loaded: Loaded
    benchmark: Benchmark
    seed: int
    repetitions: int
    warmup: int
    expectations: tuple[Expectation, ...] = ()

    @property
    def scenario(self) -> str:
        """The scenario's name."""
        return self.loaded.scenario.scenario


@dataclass(frozen=True, slots=True, eq=False)
class MatrixCell:
    """One place in the matrix. ``baseline`` is the cell that it is compared with; None: it is one itself. ``order``:
    the order of starts, under the policy ``best``.
    """

    case: Case
    executor: str
    workers: int
    policy: Policy
    simulated: bool
    baseline: MatrixCell | None = None
    backend_options: Mapping[str, str] = field(default_factory=dict)
    order: BestOrder | None = None

    @property
    def graph(self) -> Graph:
        """What runs."""
        graph = self.case.loaded.graph
        return graph if self.order is None else self.order.applied(graph)

    @property
    def key(self) -> Cell:
        """As it is stored and selected."""
        words = {"executor": self.executor, "workers": self.workers, "policy": self.policy}
        return cell_of({**words, "parameters": self.case.loaded.parameters}, self.case.scenario)

    @property
    def label(self) -> str:
        """``threads@4/dataflow{n=4}``."""
        return self.key.label


@dataclass(frozen=True, slots=True)
class Matrix:
    """All cells, in the order in which they are shown; the baselines among them."""

    cases: tuple[Case, ...]
    cells: tuple[MatrixCell, ...]

    @property
    def scenarios(self) -> list[str]:
        """The names, each once."""
        return list(dict.fromkeys(case.scenario for case in self.cases))

    def cells_of(self, case: Case) -> list[MatrixCell]:
        """The cells of one case."""
        return [cell for cell in self.cells if cell.case is case]


def build_matrix(
    paths: Sequence[str | Path], request: MatrixRequest, config: Config, learned: Learned | None = None
) -> Matrix:
    """Read the files and lay out the matrix. ``learned``: what the policy ``best`` knows of earlier runs.

    Raises:
        WorkflowError: with everything that is wrong about the files and what is asked for.

    """
    findings = _check_request(request)
    cases: list[Case] = []
    for path in dict.fromkeys(map(str, paths)):
        try:
            cases += _cases_of(path, request, config)
        except WorkflowError as error:
            findings += [one for one in error.findings if one not in findings]
    findings += _same_names(cases)
    if any(finding.severity == "error" for finding in findings):
        raise WorkflowError(findings)
    cells: list[MatrixCell] = []
    for case in cases:
        try:
            cells += _cells_of(case, request, config, learned)
        except BackendError as error:
            findings.append(_refused("executor", str(error), "see `makespan executors`"))
    if findings:
        raise WorkflowError(findings)
    return Matrix(tuple(cases), tuple(cells))


def _refused(code: str, message: str, fix: str) -> Finding:
    return Finding("error", code, message, fix, file=COMMAND_LINE)


def _check_request(request: MatrixRequest) -> list[Finding]:
    findings = []
    known = backend_names()
    for name in request.executors:
        if name not in known:
            fix = did_you_mean(name, known, f"use one of: {', '.join(known)}")
            findings.append(_refused("unknown-executor", f"there is no executor {name!r}", fix))
    for name in request.policies:
        if name not in POLICIES:
            fix = did_you_mean(name, POLICIES, f"use one of: {', '.join(POLICIES)}")
            findings.append(_refused("unknown-policy", f"there is no policy {name!r}", fix))
    findings += _check_backend_options(request, known)
    for name in request.parameters.keys() & request.settings.keys():
        message = f"{name!r} is set to one value and is a parameter with several"
        findings.append(_refused("set-twice", message, "leave out --set or --parameter for it"))
    return findings


def _check_backend_options(request: MatrixRequest, known: Sequence[str]) -> list[Finding]:
    """Each option must be one of an executor that is asked for."""
    asked = [name for name in request.executors if name in known]
    there = sorted({option for name in asked for option in find_backend(name).options})
    return [
        _refused(
            "unknown-option",
            f"no executor that is asked for has an option {option!r}",
            did_you_mean(option, there, "name the executor with --executor; `makespan executors` lists the options"),
        )
        for option in request.backend_options if option not in there
    ]  # fmt: skip


def _same_names(cases: Sequence[Case]) -> list[Finding]:
    """Cells are distinguished by their scenario's name."""
    files: dict[str, str] = {}
    findings = []
    for case in cases:
        place = case.loaded.document.source_path
        first = files.setdefault(case.scenario, place)
        if first != place:
            message = f"two files are named {case.scenario!r}: {first} and {place}"
            findings.append(Finding("error", "same-scenario", message, "give one another `scenario:` name", file=place))
            files[case.scenario] = place
    return findings


def _cases_of(path: str, request: MatrixRequest, config: Config) -> list[Case]:
    document = read_scenario(path)
    base = load_document(document, settings=request.settings, config=config, allow_missing_inputs=True)
    benchmark = base.scenario.benchmark
    axes = {name: values for name, values in benchmark.parameters.items() if name not in request.settings}
    axes.update(request.parameters)
    cases, findings = [], list[Finding]()
    for combination in itertools.product(*axes.values()):
        settings = {**request.settings, **dict(zip(axes, combination, strict=True))}
        try:
            cases.append(_case(document, settings, request, config))
        except WorkflowError as error:
            findings += [one for one in error.findings if one not in findings]
    if findings:
        raise WorkflowError(findings)
    # `n=1,1.0` and `n=2,2` are one value each.
    return list({str(cell_of(_nowhere(case.loaded.parameters), "")): case for case in cases}.values())


def _nowhere(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"executor": "", "workers": 0, "policy": "", "parameters": parameters}


def _case(document: Document, settings: Mapping[str, Any], request: MatrixRequest, config: Config) -> Case:
    loaded = load_document(document, settings=settings, config=config)
    benchmark = loaded.scenario.benchmark
    try:
        expectations = parse_expectations(loaded.scenario.expect)
    except WorkflowError as error:
        raise WorkflowError(document.place(error.findings)) from None
    return Case(
        loaded=loaded,
        benchmark=benchmark,
        seed=loaded.scenario.seed if request.seed is None else request.seed,
        repetitions=benchmark.repetitions if request.repetitions is None else request.repetitions,
        warmup=benchmark.warmup if request.warmup is None else request.warmup,
        expectations=tuple(expectations),
    )


def _cells_of(case: Case, request: MatrixRequest, config: Config, learned: Learned | None) -> list[MatrixCell]:
    found: dict[str, MatrixCell] = {}
    baselines: dict[bool, MatrixCell] = {}
    orders: dict[int, BestOrder] = {}
    executors = request.executors or case.benchmark.executors or _executors_for(case.loaded)
    for executor in dict.fromkeys(executors):
        backend = find_backend(executor)
        simulated = backend.simulates
        if simulated not in baselines:
            name = executor if simulated else SERIAL
            baselines[simulated] = MatrixCell(case, name, 1, _DATAFLOW, simulated)
            found.setdefault(baselines[simulated].label, baselines[simulated])
        if executor == SERIAL:
            continue
        for workers, policy in _places(case, executor, request, config):
            given = {name: text for name, text in request.backend_options.items() if name in backend.options}
            options = config.options_of(executor, given)
            capacity = make_backend(executor, workers, options).capacity
            if policy == BEST and capacity not in orders:
                orders[capacity] = best_order(case.loaded, workers=capacity, learned=learned)
            order = orders[capacity] if policy == BEST else None
            cell = MatrixCell(case, executor, capacity, policy, simulated, baselines[simulated], options, order)
            found.setdefault(cell.label, cell)
    return list(found.values())


def _places(case: Case, executor: str, request: MatrixRequest, config: Config) -> Iterator[tuple[int | None, Policy]]:
    asked: Sequence[int | None] = request.workers or case.benchmark.workers
    policies = request.policies or case.benchmark.policies or (config.policy,)
    for name in dict.fromkeys(policies):
        policy = next(one for one in POLICIES if one == name)
        for workers in dict.fromkeys(asked) or [workers_for(executor, None, config.workers)]:
            yield (1 if policy == "serial" else workers), policy


def _executors_for(loaded: Loaded) -> tuple[str, ...]:
    used = {step.tool for step in loaded.graph.steps if step.tool is not None}
    computing = any(resolve_tool(name, loaded.tools).cpu_bound for name in used)
    return _COMPUTING_EXECUTORS if computing else _DEFAULT_EXECUTORS
