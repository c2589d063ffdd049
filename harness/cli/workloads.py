"""``makespan workloads``: what others published as patterns, made as scenarios, and how short their steps may be."""

from __future__ import annotations

import sys
from typing import Any

from executor.backends import find_backend
from harness.cli.guard import UsageFault
from harness.cli.requests.workloads import MakeRequest, MetgRequest
from harness.cli.tasks import save_plan
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_json
from harness.plain_text import counted, duration_text
from harness.report.terminal.console import Line, Terminal, table_lines
from harness.workloads import (
    PATTERNS,
    Granularity,
    PatternError,
    Shape,
    granularity_document,
    measure_granularity,
    scenario_of,
)
from harness.workloads.task_bench import DEFAULT_SHAPE, steps_of

_FILES = (
    ("*.json", "WfCommons' WfFormat 1.4 and 1.5: recorded workflows"),
    ("*.sm", "PSPLIB, one mode: projects with limited resources"),
    ("*.rcp", "Patterson's format: the same"),
)


def list_workloads() -> ExitCode:
    """Every pattern with its number of steps and dependencies, and the kinds of files that are read."""
    terminal = Terminal()
    size = f"{DEFAULT_SHAPE.width} × {DEFAULT_SHAPE.timesteps}"
    terminal.line(f"Task Bench's patterns, {size} as they are by default (makespan workloads make PATTERN):", "bold")
    rows = []
    for name, pattern in PATTERNS.items():
        steps = list(steps_of(name, DEFAULT_SHAPE))
        rows.append([name, str(len(steps)), str(sum(len(before) for _, before in steps)), pattern.summary])
    terminal.write(table_lines(["pattern", "steps", "dependencies", ""], rows))
    terminal.line("Files that are read as scenarios (makespan simulate FILE, plan, run):", "bold")
    terminal.write([Line(f"    {name:<6}  {text}") for name, text in _FILES])
    return ExitCode.FINE


def make_workload(request: MakeRequest) -> ExitCode:
    """Write a pattern as a scenario.

    Raises:
        UsageFault: there is no such pattern or kernel, or the shape makes no sense.
        OutputError: it cannot be written.

    """
    check_writable(request.save, "the scenario")
    save_plan(_scenario(request, request.seconds), request.save)
    return ExitCode.FINE


def measure_metg(request: MetgRequest) -> ExitCode:
    """Measure METG of an executor.

    Raises:
        UsageFault: there is no such pattern or kernel, or the executor takes no time.
        BackendError: there is no such executor, or it cannot be had.
        OutputError: the document cannot be written.

    """
    if request.json_target is not None:
        check_writable(request.json_target)
    if request.kernel == "noop":
        raise UsageFault("a step that does nothing has no duration: use --kernel sleep or busy")
    _scenario(request, 0.001)
    if find_backend(request.executor)(request.workers).simulates:
        raise UsageFault(f"{request.executor} only simulates, so that its steps cost nothing: name another executor")
    found = measure_granularity(
        lambda seconds: _scenario(request, seconds),
        executor=request.executor,
        workers=request.workers,
        efficiency=request.efficiency,
        repetitions=request.repetitions,
    )
    terminal = Terminal(sys.stderr) if request.json_target == STDOUT else Terminal()
    terminal.write(_lines(request, found))
    if request.json_target is not None:
        document = granularity_document(
            found, pattern=request.pattern, width=request.width, timesteps=request.timesteps, kernel=request.kernel,
            executor=request.executor, efficiency=request.efficiency,
        )  # fmt: skip
        write_json(document, request.json_target)
    return ExitCode.FINE


def _scenario(request: MakeRequest | MetgRequest, seconds: float) -> dict[str, Any]:
    shape = Shape(request.width, request.timesteps, request.radix, request.period, request.fraction)
    try:
        return scenario_of(request.pattern, shape, seconds=seconds, kernel=request.kernel)
    except PatternError as error:
        raise UsageFault(f"{error}\n    fix: {error.fix}") from error


def _lines(request: MetgRequest, found: Granularity) -> list[Line]:
    rows = [
        [
            duration_text(one.step_seconds), duration_text(one.makespan_seconds), duration_text(one.bound_seconds),
            f"{one.efficiency_ratio:.0%}",
        ]
        for one in found.measured
    ]  # fmt: skip
    where = f"{request.executor}, {counted(found.workers, 'worker')}"
    what = f"{request.pattern}, {request.width} × {request.timesteps}, {request.kernel}, {where}"
    head = f"METG({request.efficiency:.0%}) of {what}: "
    said = "not found between the durations tried" if found.metg_seconds is None else duration_text(found.metg_seconds)
    return [
        *table_lines(["a step", "makespan", "lower bound", "bound ÷ makespan"], rows),
        Line(head + said, "bold"),
    ]
