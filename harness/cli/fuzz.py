"""``makespan fuzz``: random workflows and faults against scheduler and backends, and what they found.

Rules of this module:
- Each fault is shown with its smallest counterexample: a scenario file for ``makespan run``, a replay file, and the
  command that plays it again.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from executor.model.findings import printable
from harness.cli.guard import UsageFault
from harness.cli.requests.fuzzing import FuzzRequest
from harness.cli.signals import terminated_as_interrupted
from harness.exit_codes import ExitCode
from harness.testing.fuzz.faulty_run_judging import OWN_PROPERTIES
from harness.testing.fuzz.fuzzing import FuzzFailure, FuzzReport, fuzz, replay
from harness.testing.fuzz.replay_files import ReplayError
from harness.testing.oracle.judge import PROPERTIES
from harness.testing.schedulers.case_files import case_data, is_case_file, read_case

DEFAULT_TARGET_DAGS: Final = 200
PROGRESS_SECONDS: Final = 1.0
# A message may hold the stacks of many threads: the file has all of it.
_SHOWN_LINES: Final = 40


def play_workflows(request: FuzzRequest) -> ExitCode:
    """Play them, and say what was found."""
    if request.analysis:
        from harness.cli.fuzz_analysis import score_analysis  # noqa: PLC0415 - the analysis is heavy

        return score_analysis(request)
    if request.target is not None:
        return _fuzz_target(request, request.target)
    if request.replay is not None and is_case_file(request.replay):
        return _replay_target(request.replay, quiet=request.quiet)
    if request.replay is not None:
        try:
            report = replay(request.replay)
        except ReplayError as error:
            raise UsageFault(str(error)) from error
        if not request.quiet:
            _write([f"replayed {request.replay}: {'nothing is wrong with it' if report.ok else 'the fault is there'}"])
        for failure in report.failures:
            _write(_failure_lines(failure), error=True)
        return ExitCode.FINE if report.ok else ExitCode.FAULT
    features = None if request.features is None else [name.strip() for name in request.features.split(",")]
    with terminated_as_interrupted():
        try:
            report = fuzz(
                request.dags,
                minutes=request.minutes,
                seed=request.seed,
                backend=request.backend,
                jobs=request.jobs,
                size=request.size,
                features=None if features is None else [name for name in features if name],
                faults=not request.no_faults,
                patience_seconds=request.patience_seconds,
                progress=None if request.quiet or not sys.stderr.isatty() else _Progress(),
            )
        except ValueError as error:
            raise UsageFault(str(error)) from error
        return _say(report, request)


def _say(report: FuzzReport, request: FuzzRequest) -> ExitCode:
    if not request.quiet:
        _write(summary_lines(report))
    for failure in report.failures:
        _write([*_failure_lines(failure), *_keep(failure, report, Path(request.out))], error=True)
    if report.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.FINE if report.ok else ExitCode.FAULT


def _fuzz_target(request: FuzzRequest, target: str) -> ExitCode:
    """Play random graphs through the user's own scheduler, which may lie in the current folder."""
    from harness.testing.schedulers.scheduler_suite import fuzz_target  # noqa: PLC0415  # needs the extra testing

    _look_here()
    try:
        report = fuzz_target(target, request.dags or DEFAULT_TARGET_DAGS, request.seed)
    except ValueError as error:
        raise UsageFault(str(error)) from error
    if report.fault is not None:
        data = case_data(target, report.fault.case, report.supports)
        _write([report.message(), *_keep_case(data, Path(request.out), f"target-seed-{request.seed}")], error=True)
        return ExitCode.FAULT
    if not request.quiet:
        _write([report.message()])
    return ExitCode.FINE


def _replay_target(path: str, *, quiet: bool) -> ExitCode:
    """Play the case of a file through its scheduler again."""
    from harness.testing.schedulers.scheduler_suite import replay_target  # noqa: PLC0415  # needs the extra testing

    _look_here()
    try:
        found = read_case(path)
        played = replay_target(found.target, found.case, found.supports)
    except ValueError as error:
        raise UsageFault(str(error)) from error
    if not quiet:
        _write([f"replayed {path}: {'the fault is there' if played.faults else 'nothing is wrong with it'}"])
    if played.faults:
        _write([played.message()], error=True)
    return ExitCode.FAULT if played.faults else ExitCode.FINE


def _look_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _keep_case(data: Mapping[str, object], folder: Path, name: str) -> list[str]:
    """Write the case down; the line that plays it again."""
    path = folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        return [f"  it cannot be written to {folder}: {error}", json.dumps(data)]
    return [f"  makespan fuzz --replay {shlex.quote(str(path))}"]


class _Progress:
    """One line that is written over again."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, report: FuzzReport) -> None:
        now = time.monotonic()
        if now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        found = sum(report.found.values())
        text = f"{report.dags:,} workflows, {report.dags_per_second:,.0f} a second, {found} faults"
        sys.stderr.write(f"\r{text}\x1b[K\r")
        sys.stderr.flush()


def summary_lines(report: FuzzReport) -> Iterator[str]:
    """What was played, how fast, what it covered, and what was found."""
    yield (
        f"{report.dags:,} workflows on {report.backend} in {report.seconds:.1f} s, {report.dags_per_second:,.0f} a "
        f"second ({report.steps:,} steps, {report.attempts:,} attempts; seed {report.seed})"
    )
    if report.interrupted:
        yield "  interrupted: this is what was played until then"
    if report.without_calls:
        yield f"  steps on {report.backend} cannot call tools: no calls were drawn"
    if report.drawing_seconds > 0:
        yield (
            f"  drawing {report.drawing_seconds:.1f} s, playing {report.playing_seconds:.1f} s, judging "
            f"{report.judging_seconds:.1f} s: "
            f"{(report.playing_seconds + report.judging_seconds) / report.drawing_seconds:.1f} times the drawing alone"
        )
    if report.faults:
        yield "  faults injected, in so many workflows: " + ", ".join(
            f"{kind} {count:,}" for kind, count in sorted(report.faults.items())
        )
    all_of_them = report.reached + len(report.missing)
    if report.missing:
        missing = ", ".join(f"{state} → {after} ({event})" for state, event, after in report.missing)
        yield f"  transitions reached: {report.reached} of {all_of_them}; not {missing}"
    else:
        rarest, count = min(report.transitions.items(), key=lambda item: item[1])
        state, event, after = rarest
        yield (f"  transitions reached: all {all_of_them}; the rarest, {state} → {after} ({event}), {count:,} times")
    if report.ok:
        yield "  nothing was found"
    else:
        yield "  FOUND, in so many workflows: " + ", ".join(f"{name} {count:,}" for name, count in report.found.items())


def _failure_lines(failure: FuzzFailure) -> list[str]:
    sentence = {**PROPERTIES, **OWN_PROPERTIES}.get(failure.property, "")
    lines = [f"FAULT {failure.property} (workflow {failure.number}, {failure.steps} steps at the smallest): {sentence}"]
    for message in failure.smallest_messages or failure.messages:
        lines += [f"  {line}" for line in message.splitlines()]
    return lines if len(lines) <= _SHOWN_LINES else [*lines[:_SHOWN_LINES], "  … (the replay file has all of it)"]


def _keep(failure: FuzzFailure, report: FuzzReport, folder: Path) -> list[str]:
    """Write the counterexample down; the lines that say where."""
    name = failure.scenario["scenario"]
    behaviour = failure.replay["behaviour"]
    scenario_path, replay_path = folder / f"{name}.yaml", folder / f"{name}.json"
    options = f"--executor virtual --workers {behaviour['workers']} --policy {behaviour['policy']}"
    again = f"makespan fuzz --replay {shlex.quote(str(replay_path))}"
    if report.backend != "virtual":
        again += f"\n  makespan fuzz --backend {report.backend} --seed {report.seed} --dags {failure.number + 1}"
    head = [
        f"# The smallest workflow that breaks {failure.property!r}, found by makespan fuzz.",
        f"# Run it:     makespan run {scenario_path} {options}",
        f"# Exactly as it was found, with calls, deaths and injected faults:     {again.splitlines()[0]}",
        *(f"#   {line}" for message in failure.smallest_messages[:3] for line in message.splitlines()[:10]),
    ]
    text = "\n".join(head) + "\n" + yaml.safe_dump(failure.scenario, sort_keys=False, allow_unicode=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scenario_path.write_text(text, encoding="utf-8")
        replay_path.write_text(json.dumps(failure.replay, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        return [f"  it cannot be written to {folder}: {error}", json.dumps(failure.replay)]
    return [
        f"  makespan run {shlex.quote(str(scenario_path))} {options}",
        f"  {again}",
    ]


def _write(lines: Iterable[str], *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    for line in lines:
        stream.write(printable(line) + "\n")
    stream.flush()
