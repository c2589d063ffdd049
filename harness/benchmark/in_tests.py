"""Measuring a workflow that is made in code: what the pytest fixture does.

Rules of this module:
- The same session as that of ``makespan bench``: rounds in seeded order, a serial baseline in each, paired speedups.
- A step that fails fails the test, unless it may: a run that was cut short says nothing about speed.
"""

from __future__ import annotations

import gc
import math
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from executor.backends import find_backend
from executor.dependencies import plan
from executor.model.findings import WorkflowError, raise_errors
from executor.model.workflow import Resource, ToolDeclaration, Workflow, parse_workflow
from executor.running import run
from executor.scheduler import POLICIES
from executor.tools.registry import Declared, check_tools
from executor.tools.toolbox import declarations_for
from harness.benchmark import Case, Matrix, MatrixCell, Measured, Runner, Session, bench_document
from harness.benchmark.meter import Meter
from harness.config import LanguageModel, load_config
from harness.environment import environment_facts, usable_cores
from harness.execution import ready_tools, scheduled
from harness.expectations import judge, parse_expectations
from harness.files.strict_file import Document as SourceDocument
from harness.result import Document, run_document
from harness.scenario.scenario_file import load
from harness.scenario.scenario_model import Benchmark, Loaded, Scenario

_SERIAL = "serial"
_LISTED = 5


class StepsFailedError(AssertionError):
    """Steps failed where none may."""


class BenchmarkResult:
    """What was measured. Executors are named as they were asked for; without a name the one that was asked for, if it
    was one. ``document`` is the ``makespan.run/1`` document, which :func:`harness.report.html.write_report` takes.
    """

    def __init__(self, document: Document, cells: Sequence[MatrixCell], asked: Sequence[MatrixCell]) -> None:
        self.document = document
        self._asked = list(dict.fromkeys(map(_name, asked)))
        self._results: dict[str, Document] = dict(zip(map(_name, cells), document["results"], strict=True))

    def makespan_seconds(self, executor: str | None = None) -> float:
        """The median over the repetitions."""
        return float(self.result(executor)["makespan_seconds"]["median"])

    def speedup_ratio(self, executor: str | None = None) -> float:
        """How many times faster than one step at a time: the median over the repetitions; NaN if nothing took time."""
        speedup = self.result(executor)["speedup_ratio"]
        return math.nan if speedup is None else float(speedup["median"])

    def speedup_interval(self, executor: str | None = None) -> tuple[float, float] | None:
        """Both ends of the 95 % interval of the speedup; None for one repetition."""
        speedup = self.result(executor)["speedup_ratio"]
        ends = None if speedup is None else speedup["ci95"]
        return None if ends is None else (float(ends[0]), float(ends[1]))

    def lost_seconds(self, executor: str | None = None) -> dict[str, float]:
        """By cause, of the repetition with the lower median makespan; the parts sum to that."""
        return dict(self.result(executor)["lost_seconds"])

    def lower_bound_seconds(self, executor: str | None = None) -> float:
        """The least that the steps of that repetition could have taken."""
        return float(self.result(executor)["lower_bound_seconds"])

    def remedy(self, executor: str | None = None) -> str:
        """What held it back, and what to do."""
        return str(self.result(executor)["remedy"])

    def expect(self, *lines: str) -> None:
        """Judge lines such as ``threads@4 speedup_ratio >= 1.3`` on the interval's safe side.

        Raises:
            WorkflowError: a line does not parse.
            AssertionError: one is not met; it says what was measured.

        """
        missed = [one for one in judge(parse_expectations(lines), self.document) if not one.met]
        assert not missed, "\n".join(map(str, missed))

    def result(self, executor: str | None = None) -> Document:
        """The whole entry of the document's ``results``.

        Raises:
            LookupError: none or several are meant.

        """
        names = self._asked if executor is None else [
            label for label in self._results
            if executor in (label, label.partition("/")[0], label.partition("@")[0])
        ]  # fmt: skip
        if len(names) != 1:
            asked = "no executor is named" if executor is None else f"{executor!r} means {len(names)} of them"
            raise LookupError(f"{asked}; measured were {', '.join(self._results)}")
        return self._results[names[0]]

    @property
    def first_makespans_seconds(self) -> list[float]:
        """Each repetition of the first executor that was asked for."""
        return [float(sample["makespan_seconds"]) for sample in self._results[self._asked[0]]["samples"]]

    @property
    def figures(self) -> Document:
        """What is worth keeping beside a benchmark: plain JSON, without steps."""
        names = ("makespan_seconds", "speedup_ratio", "speedup_verdict", "efficiency_ratio", "lower_bound_seconds",
                 "lost_seconds", "repetitions")  # fmt: skip
        return {label: {name: result[name] for name in names} for label, result in self._results.items()}


class _CodeRunner:
    """Runs cells with tools that no file could declare. Asks no budget: calls cost nothing here."""

    def __init__(self, tools: Mapping[str, Declared]) -> None:
        self._tools = tools

    def is_call(self, case: Case, step: int) -> bool:
        return False

    def run(self, cell: MatrixCell, repetition: int) -> Measured:
        loaded = cell.case.loaded
        seed = cell.case.seed + max(0, repetition - 1)
        backend = find_backend(cell.executor)(cell.workers)
        gc.collect()
        meter = Meter()
        began = time.perf_counter()
        done = run(
            loaded.workflow, backend=backend, policy=scheduled(cell.policy), tools=self._tools,
            resources=loaded.resources, seed=seed, scale=loaded.scenario.scale, graph=loaded.graph,
        )  # fmt: skip
        wall = time.perf_counter() - began
        return Measured(cell, repetition, seed, done, meter.stop(), wall, calls=0, tokens=0)


def measured(
    workflow: Workflow | Mapping[str, Any] | str | os.PathLike[str],
    *,
    executors: Sequence[str],
    repetitions: int,
    warmup: int,
    tools: Mapping[str, Declared],
    resources: Mapping[str, Resource],
    inputs: Mapping[str, Any],
    scale: float | None,
    seed: int,
    allow_errors: bool,
) -> BenchmarkResult:
    """Measure; the arguments are those of :class:`harness.pytest_plugin.Makespan`."""
    if isinstance(executors, str) or not executors:
        raise ValueError('executors is a list of names, as in ["threads@4", "asyncio"]')
    if repetitions < 1 or warmup < 0:
        raise ValueError("repetitions has to be at least 1, and warmup at least 0")
    declared, others = _sorted_out(tools)
    loaded, llm = _loaded(workflow, tools, declared, resources, inputs, scale)
    case = Case(loaded, Benchmark(), seed, repetitions, warmup)
    cells, asked = _cells(case, executors)
    with ready_tools(loaded, llm=llm, simulated=all(one.simulated for one in cells), seed=seed) as (ready, standin):
        runner = _CodeRunner({**ready, **others})
        # It has all that a session asks of a runner.
        session = Session(Matrix((case,), tuple(cells)), cast("Runner", runner), seed=seed, usable_cores=usable_cores())
        outcome = session.run()
    if outcome.failure is not None:
        raise outcome.failure
    if outcome.interrupted:
        raise KeyboardInterrupt
    head = run_document(
        run_id=uuid.uuid4().hex,
        scenario=case.scenario,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        environment={
            **environment_facts(),
            "stand_in": standin is not None and standin.asked,
            "simulated": all(cell.simulated for cell in cells),
        },
        results=[],
    )
    if not allow_errors:
        _check_steps(outcome.series)
    document = bench_document(outcome, head, seed=seed, predictions=False, usable_cores=usable_cores())
    return BenchmarkResult(document, cells, asked)


def _name(cell: MatrixCell) -> str:
    return f"{cell.executor}@{cell.workers}/{cell.policy}"


def _sorted_out(tools: Mapping[str, Declared]) -> tuple[dict[str, ToolDeclaration], dict[str, Declared]]:
    """What a file could declare too, which may need an endpoint; and all else."""
    declared: dict[str, ToolDeclaration] = {}
    others: dict[str, Declared] = {}
    for name, value in tools.items():
        if isinstance(value, ToolDeclaration | Mapping):
            declared[name] = ToolDeclaration.model_validate(value)
        else:
            others[name] = value
    return declared, others


def _loaded(
    workflow: Workflow | Mapping[str, Any] | str | os.PathLike[str],
    tools: Mapping[str, Declared],
    declared: Mapping[str, ToolDeclaration],
    resources: Mapping[str, Resource],
    inputs: Mapping[str, Any],
    scale: float | None,
) -> tuple[Loaded, LanguageModel | None]:
    """The workflow, checked; and for a file, which is beside a configuration, its model endpoint."""
    if isinstance(workflow, str | os.PathLike):
        config = load_config()
        settings = dict(inputs) if scale is None else {**inputs, "scale": scale}
        found = load(os.fspath(workflow), settings=settings, config=config)
        found.tools.update(declared)
        found.resources.update(resources)
        return found, config.llm
    if isinstance(workflow, Mapping):
        parsed, findings = parse_workflow(dict(workflow))
        if parsed is None:
            raise WorkflowError(findings)
        workflow = parsed
    workflow = workflow.model_copy(update={"inputs": {**workflow.inputs, **inputs}})
    used = dict.fromkeys(step.tool for step in workflow.steps if step.tool is not None)
    planned = plan(workflow, tools=declarations_for(used, tools), resources=resources, hints=False)
    raise_errors(planned.findings)
    raise_errors(check_tools(used, tools))
    assert planned.graph is not None, "no error and no graph"
    scenario = Scenario(scenario=workflow.workflow_id, scale=1.0 if scale is None else scale)
    source = SourceDocument({}, "code", "yaml", "")
    return Loaded(scenario, workflow, planned.graph, source, dict(declared), dict(resources)), None


def _cells(case: Case, executors: Sequence[str]) -> tuple[list[MatrixCell], list[MatrixCell]]:
    """All cells, baselines among them; and those that were asked for, in that order."""
    cells: dict[str, MatrixCell] = {}
    asked = []
    for typed in executors:
        name, workers, policy = _read_executor(typed)
        backend = find_backend(name)
        own = name if backend.simulates else _SERIAL
        baseline = MatrixCell(case, own, 1, "dataflow", backend.simulates)
        baseline = cells.setdefault(baseline.label, baseline)
        cell = baseline
        if name != _SERIAL:
            found = next(one for one in POLICIES if one == policy)
            workers = 1 if policy == _SERIAL else workers
            cell = MatrixCell(case, name, backend(workers).capacity, found, backend.simulates, baseline)
        asked.append(cells.setdefault(cell.label, cell))
    return list(cells.values()), asked


def _read_executor(typed: str) -> tuple[str, int | None, str]:
    place, _, policy = typed.partition("/")
    name, at, workers = place.partition("@")
    if not name or (at and not (workers.isdecimal() and int(workers))) or (policy or "dataflow") not in POLICIES:
        raise ValueError(f'{typed!r} is no executor: write "threads", "threads@4" or "threads@4/barrier"')
    return name, int(workers) if at else None, policy or "dataflow"


def _check_steps(series: Sequence[Any]) -> None:
    failed = [
        f"{one.cell.label}, repetition {sample.repetition}: {error}"
        for one in series for sample in one.samples for error in sample.step_errors.values()
    ]  # fmt: skip
    if failed:
        more = f"\n… and {len(failed) - _LISTED} more" if len(failed) > _LISTED else ""
        raise StepsFailedError("\n".join(failed[:_LISTED]) + more)
