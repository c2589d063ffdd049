"""``makespan run``: load, show the plan, run and show it running, show what came out, write the document.

Rules of this module:
- With ``--json -`` stdout holds the document alone; everything for people goes to stderr.
- Ctrl-C and SIGTERM end the run in order: what was finished is shown and written.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final

from executor.findings import Finding
from executor.running import Run
from harness.analysis import summary
from harness.cli.settings import read_settings
from harness.config import load_config
from harness.environment import usable_cores
from harness.execution import Execution, document_of, execute, workers_for
from harness.exit_codes import ExitCode
from harness.json_files import STDOUT, check_writable, write_json
from harness.report.terminal import Line, Terminal, finding_lines, one_line
from harness.report.terminal_plan import plan_lines
from harness.report.terminal_progress import progress_for
from harness.report.terminal_summary import STEPS_SHOWN, step_lines, summary_lines
from harness.result import Document
from harness.scenario import load

# Of a larger run no document is made just to see whether it could be.
_STEPS_LOOKED_AT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. ``settings`` are ``NAME=VALUE`` as typed."""

    scenario: str
    executor: str | None = None
    workers: int | None = None
    policy: str | None = None
    settings: tuple[str, ...] = ()
    seed: int | None = None
    json_target: str | None = None
    quiet: bool = False
    progress: bool = True
    config_path: str | None = None


def run_scenario(request: Request) -> ExitCode:
    """Run it once."""
    if request.json_target is not None:
        check_writable(request.json_target)
    config = load_config(
        request.config_path,
        overrides={"executor": request.executor, "workers": request.workers, "policy": request.policy},
    )
    loaded = load(request.scenario, settings=read_settings(request.settings), config=config)
    faults = Terminal(sys.stderr)
    terminal = faults if request.json_target == STDOUT else Terminal()
    if not request.quiet:
        faults.write(finding_lines(_warnings(loaded.findings)))
        terminal.write(plan_lines(loaded.workflow, width=terminal.width, steps_shown=STEPS_SHOWN))
        terminal.line()
    shown = request.progress and not request.quiet
    progress = progress_for(terminal, len(loaded.graph.steps)) if shown else None
    with _terminated_as_interrupted(), progress or contextlib.nullcontext():
        execution = execute(
            loaded,
            executor=config.executor,
            workers=workers_for(config.executor, request.workers, config.workers),
            policy=config.policy,
            seed=request.seed,
            llm=config.llm,
            instruments=[] if progress is None else [progress],
        )
    wanted = request.json_target is not None or len(loaded.graph.steps) <= _STEPS_LOOKED_AT
    result = execution.result() if wanted else None
    try:
        if request.quiet:
            faults.write(_fault_lines(execution.run))
        else:
            _show(execution, result, terminal)
    finally:
        # Also where nobody reads the text any more (`| head`).
        if request.json_target is not None:
            write_json(document_of(execution, result), request.json_target)
    return _exit_code(execution.run)


def _warnings(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "warning"]


def _show(execution: Execution, result: Document | None, terminal: Terminal) -> None:
    run = execution.run
    terminal.line()
    terminal.write(step_lines(run, simulated=execution.simulated, stand_in=execution.stand_in, width=terminal.width))
    terminal.line()
    figures = summary(run.timeline, usable_cores=usable_cores())
    name = execution.loaded.scenario.scenario
    warnings = [*run.warnings, *_unstorable(result)]
    terminal.write(summary_lines(name, run, figures, warnings, simulated=execution.simulated))


def _unstorable(result: Document | None) -> Iterator[str]:
    """A sentence for each step whose output the document cannot hold."""
    for step in () if result is None else result["steps"]:
        if "output_error" in step:
            yield f"step {step['step_id']!r}: {step['output_error']}; the result has null there"


def _fault_lines(run: Run) -> list[Line]:
    lines = [Line(f"failed: {one_line(str(error), 1000)}", "bold red") for error in run.errors.values()]
    return [*lines, Line("the run was interrupted")] if run.interrupted else lines


def _exit_code(run: Run) -> ExitCode:
    if run.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.FINE if run.ok else ExitCode.FAULT


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is what a supervisor sends where a person presses Ctrl-C: nothing may be left running after it either."""

    def interrupt(_number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever embeds the command handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
