"""``makespan fuzz --analysis``: random programs with known truth against what `analyze` says of their traces.

Rules of this module:
- Each kind of fault is shown with its smallest program: a file that ``--replay`` plays again, and its trace for
  ``makespan analyze``.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from executor.model.findings import printable
from harness.cli.guard import UsageFault
from harness.cli.requests.fuzzing import FuzzRequest
from harness.exit_codes import ExitCode
from harness.testing.programs.known_truth import Truth
from harness.testing.programs.program import ProgramError, program_to_data, read_program
from harness.testing.programs.program_fuzzing import (
    ProgramFailure,
    ProgramReport,
    fuzz_programs,
    replay_program,
    report_lines,
    truth_lines,
)
from harness.testing.programs.span_emission import emitted, otlp_document

_PROGRESS_SECONDS: Final = 1.0
_MESSAGES_SHOWN: Final = 3
_USUAL_SIZE: Final = 24


def score_analysis(request: FuzzRequest) -> ExitCode:
    """Play programs, score the analysis, and say what it is wrong about.

    Raises:
        UsageFault: an option does not go with ``--analysis``, or the replay is no program.

    """
    for given, option in ((request.target is not None, "--target"), (request.backend != "virtual", "--backend")):
        if given:
            raise UsageFault(f"{option} plays workflows, and --analysis plays programs: leave one of them out")
    if request.replay is not None:
        return _replay(request.replay, quiet=request.quiet)
    patterns = None if request.features is None else [name.strip() for name in request.features.split(",")]
    try:
        report = fuzz_programs(
            request.dags,
            minutes=request.minutes,
            seed=request.seed,
            size=max(request.size, _USUAL_SIZE),
            patterns=None if patterns is None else [name for name in patterns if name],
            jobs=request.jobs,
            progress=None if request.quiet or not sys.stderr.isatty() else _Progress(),
        )
    except ValueError as error:
        raise UsageFault(str(error)) from error
    if not request.quiet:
        _write(report_lines(report))
    for failure in report.failures:
        _write([*_failure_lines(failure), *_keep(failure, Path(request.out))], error=not report.ok)
    return ExitCode.FINE if report.ok else ExitCode.FAULT


def _replay(path: str, *, quiet: bool) -> ExitCode:
    try:
        program = read_program(path)
    except ProgramError as error:
        raise UsageFault(str(error)) from error
    report = replay_program(program)
    if not quiet:
        _write([f"replayed {path}: {'the fault is there' if report.faults else 'nothing is wrong with it'}"])
        _write(truth_lines(program))
    for failure in report.failures:
        _write(_failure_lines(failure), error=True)
    return ExitCode.FAULT if report.faults else ExitCode.FINE


class _Progress:
    """One line that is written over again."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, report: ProgramReport) -> None:
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            sys.stderr.write(
                f"\r{report.programs:,} programs, {report.programs / report.seconds:,.0f} a second\x1b[K\r"
            )
            sys.stderr.flush()


def _failure_lines(failure: ProgramFailure) -> list[str]:
    head = f"{failure.kind} (program {failure.number}):"
    return [head, *(f"  {message.splitlines()[0]}" for message in failure.messages[:_MESSAGES_SHOWN])]


def _keep(failure: ProgramFailure, folder: Path) -> list[str]:
    """Write the smallest program and its trace; the lines that say where."""
    name = re.sub(r"[^a-z]+", "-", failure.kind).strip("-")
    program_path, trace_path = folder / f"{name}.program.json", folder / f"{name}.trace.json"
    program = failure.smallest
    trace = otlp_document(emitted(program, Truth(program).played))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        program_path.write_text(json.dumps(program_to_data(program), indent=1) + "\n", encoding="utf-8")
        trace_path.write_text(json.dumps(trace, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        return [f"  it cannot be written to {folder}: {error}", json.dumps(program_to_data(program))]
    return [
        f"  makespan fuzz --analysis --replay {shlex.quote(str(program_path))}",
        f"  makespan analyze {shlex.quote(str(trace_path))}",
    ]


def _write(lines: Iterable[str], *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    for line in lines:
        stream.write(printable(line) + "\n")
    stream.flush()
