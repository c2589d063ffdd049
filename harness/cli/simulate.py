"""``makespan simulate``: a scenario, a run or a trace again on the virtual clock, with something changed.

Rules of this module:
- What is meant is looked at in this order: a word for a kept run (``@last``); a file or folder, by what is in it; the
  name of a shipped scenario; the beginning of a run's id.
- With ``--json -`` stdout holds the document alone, with ``--save -`` the scenario.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executor.garbage_collection import frozen_objects, paused_collector
from harness.cli.guard import UsageFault
from harness.cli.requests.traces import SimulateRequest
from harness.cli.stores import store_to_read
from harness.cli.typed_values import read_settings, read_time
from harness.config import Config, load_config
from harness.execution import scheduled
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_json
from harness.files.packaged import shipped_scenarios
from harness.report.terminal.console import Terminal, finding_lines
from harness.report.terminal.simulation_text import simulation_lines
from harness.result import SCHEMA as RUN_SCHEMA
from harness.scenario.scenario_file import load
from harness.simulation import (
    Change,
    Distribution,
    Optimum,
    Simulation,
    SimulationError,
    Subject,
    best_schedule,
    distribution,
    simulate,
    subject_of_document,
    subject_of_scenario,
)
from harness.simulation.changes import policies, refuse_unmet, set_capacity, set_rate, speed_up, worker_counts
from harness.simulation.duration_draws import DEFAULT_RUNS
from harness.simulation.simulation_document import simulation_document
from harness.store.run_references import load_reference
from harness.traces import TraceError, foreign_run, read_traces
from harness.traces.prediction.trace_subject import subject_of_trace

# A word that a file of a result holds near its beginning, and no other kind of file.
_LOOKED_AT_BYTES = 4096
_SCENARIO_SUFFIXES = (".yaml", ".yml", ".sm", ".rcp")
# What every document of WfFormat holds, and no trace.
_WFFORMAT_WORD = b'"schemaVersion"'


def simulate_subject(request: SimulateRequest) -> ExitCode:
    """Simulate it.

    Raises:
        UsageFault: an option does not read, names what is not there, or does not fit.
        WorkflowError: the scenario must not run.
        StoreError: a run cannot be found or read.
        DocumentError: a file is no result.
        TraceError: a file is no trace.
        OutputError: the document cannot be written.

    """
    if request.json_target is not None:
        check_writable(request.json_target)
    if request.save is not None:
        check_writable(request.save, "the scenario")
        if request.save == STDOUT == request.json_target:
            raise UsageFault("--save and --json cannot both write to stdout: name a file for one of them")
    if request.runs is not None and not request.distribution:
        raise UsageFault("--runs counts the runs of --distribution: give that, too")
    config = load_config(request.config_path)
    terminal = Terminal(sys.stderr) if STDOUT in (request.json_target, request.save) else Terminal()
    try:
        subject = _subject(request, config)
        changes = _changes(request, subject)
        counts, named = worker_counts(request.workers), policies(request.policies)
        most_seconds = read_time(request.optimum, "--optimum")
        with frozen_objects():
            found = simulate(subject, changes, workers=counts, policies=named)
            spreads = _spreads(request, found)
            optima = _optima(most_seconds, found)
    except SimulationError as error:
        raise UsageFault(f"{error}" + (f"\n    fix: {error.fix}" if error.fix else "")) from error
    priorities = None if request.save is None else _priorities(found)
    terminal.write(simulation_lines(found, spreads, optima))
    if request.save is not None and priorities is not None:
        _save(request, config, priorities)
    if request.json_target is not None:
        write_json(simulation_document(found, spreads, optima), request.json_target)
    return ExitCode.FAULT if subject.is_simulated_failure else ExitCode.FINE


def _changes(request: SimulateRequest, subject: Subject) -> list[Change]:
    resources = subject.timeline.resources
    found = [speed_up(typed, subject.steps) for typed in request.speed_ups]
    found += [set_capacity(typed, resources) for typed in request.capacities]
    found += [set_rate(typed, resources) for typed in request.rates]
    for change in found:
        refuse_unmet(change, subject.timeline)
    if request.without_retries:
        found.append(Change("without retries", without_retries=True))
    return found


def _spreads(request: SimulateRequest, found: Simulation) -> list[Distribution | None]:
    if not request.distribution:
        return [None] * len(found.cells)
    runs, seed = request.runs or DEFAULT_RUNS, request.seed or 0
    return [distribution(found.subject, cell.change, runs=runs, seed=seed) for cell in found.cells]


def _optima(max_seconds: float | None, found: Simulation) -> list[Optimum | None]:
    """For each cell the best schedule of its number of workers, searched once, from the best cell on."""
    if max_seconds is None:
        return [None] * len(found.cells)
    searched: dict[int, Optimum] = {}
    for cell in sorted(found.cells, key=lambda one: one.makespan_seconds):
        if cell.policy == "serial":
            continue
        if cell.workers not in searched:
            searched[cell.workers] = best_schedule(found.subject.run(cell.change), max_seconds=max_seconds)
    return [None if cell.policy == "serial" else searched[cell.workers] for cell in found.cells]


def _priorities(found: Simulation) -> Mapping[str, int]:
    """Those of the one cell under ``best``.

    Raises:
        UsageFault: the subject is no scenario, or there is not one such cell.
    """
    if found.subject.kind != "scenario":
        raise UsageFault(
            f"--save writes a scenario, and this is a {found.subject.kind}: --json FILE has the priority of each step"
        )
    best = [cell.best for cell in found.cells if cell.best is not None]
    if len(best) != 1:
        raise UsageFault("--save writes one order of starts: give --policy best and one number of --workers")
    return best[0].priorities


def _save(request: SimulateRequest, config: Config, priorities: Mapping[str, int]) -> None:
    from harness.cli.plan import workflow_document  # noqa: PLC0415 - planners, for a file that is saved alone
    from harness.cli.tasks import save_plan  # noqa: PLC0415 - the same

    document = workflow_document(load(request.subject, settings=read_settings(request.settings), config=config))
    if priorities:
        document["steps"] = [{**step, "priority": priorities[step["step_id"]]} for step in document["steps"]]
    save_plan(document, str(request.save))


def _subject(request: SimulateRequest, config: Config) -> Subject:
    named = request.subject
    kind = "run" if named.startswith("@") else _kind_of(named)
    if kind == "scenario":
        return _scenario(request, config)
    for value, option in (
        (request.settings, "--set"),
        (request.seed is not None and not request.distribution, "--seed"),
    ):
        if value:
            raise UsageFault(f"{option} belongs to a scenario, and {named!r} is a {kind}: leave it out")
    if kind == "trace":
        return _trace(request)
    with store_to_read(request.store, config) as store, paused_collector():
        return subject_of_document(load_reference(named, store), request.cell)


def _kind_of(named: str) -> str:
    """``scenario``, ``run`` or ``trace``: by what the file holds, else by the name."""
    path = Path(named)
    try:
        if path.is_dir():
            return "run"
        exists = path.is_file()
    except (OSError, ValueError):
        exists = False
    if not exists:
        if named in shipped_scenarios() or path.suffix.lower() in _SCENARIO_SUFFIXES:
            return "scenario"
        return "run"
    if path.suffix.lower() in _SCENARIO_SUFFIXES:
        return "scenario"
    with path.open("rb") as stream:
        beginning = stream.read(_LOOKED_AT_BYTES)
    if RUN_SCHEMA.encode() in beginning:
        return "run"
    return "scenario" if _holds_steps(path) else "trace"


def _holds_steps(path: Path) -> bool:
    """Whether it is the JSON of a workflow. A trace may be large, and of many lines: then it is no one object."""
    if path.suffix.lower() != ".json":
        return False
    if path.stat().st_size > 64_000_000:
        return _WFFORMAT_WORD in path.read_bytes()
    try:
        data: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    if not isinstance(data, dict) or str(data.get("schema", "")).startswith("makespan."):
        return False  # an analysis holds steps, too
    return "steps" in data or "workflow" in data


def _scenario(request: SimulateRequest, config: Config) -> Subject:
    loaded = load(request.subject, settings=read_settings(request.settings), config=config)
    Terminal(sys.stderr).write(finding_lines(one for one in loaded.findings if one.severity == "warning"))
    return subject_of_scenario(
        loaded, workers=config.workers or loaded.recorded_workers, policy=scheduled(config.policy)
    )


def _trace(request: SimulateRequest) -> Subject:
    if request.cell is not None:
        raise UsageFault(f"--cell belongs to a benchmark, and {request.subject!r} is no result: leave it out")
    try:
        traces = list(read_traces(request.subject))
    except TraceError as error:
        raise UsageFault(
            f"it is no scenario and no result of `makespan run --json`, and as a trace: {error}"
        ) from error
    if len(traces) > 1:
        raise UsageFault(
            f"{request.subject!r} holds {len(traces)} traces, and one is simulated: "
            "`makespan analyze FILE --trace ID --scenario NEW.yaml` makes a scenario of one"
        )
    return subject_of_trace(foreign_run(traces[0], edges_file=request.edges))
