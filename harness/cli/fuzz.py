"""``makespan fuzz``: random workflows and faults against scheduler and backends, and what they found.

Rules of this module:
- Each fault is told with its smallest counterexample: a scenario file for ``makespan run``, a replay file, and the
  command that plays it again.
- Nothing heavy is imported before the command runs.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.exit_codes import ExitCode

if TYPE_CHECKING:
    from harness.testing.fuzz.fuzzing import FuzzFailure, FuzzReport

DEFAULT_FOLDER = "fuzz-findings"
DEFAULT_TARGET_DAGS = 200
PROGRESS_SECONDS = 1.0
# A story may hold the stacks of many threads: the file has all of it.
_SHOWN_LINES = 40

DagsOption = Annotated[
    int | None, typer.Option("--dags", metavar="N", min=1, help="How many workflows to play (default: 1000).")
]
MinutesOption = Annotated[
    float | None, typer.Option("--minutes", metavar="M", min=0.001, help="How long to play, instead of how many.")
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        "-b",
        metavar="NAME",
        help="virtual: simulate, with faults injected. Any other executor: play for real, in milliseconds each.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed plays the same workflows.")]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes that play side by side.")]
SizeOption = Annotated[
    int, typer.Option("--size", metavar="N", min=1, max=10_000, help="The most steps of a workflow.")
]
FeaturesOption = Annotated[
    str | None, typer.Option("--features", metavar="A,B", help="What may occur in a workflow (default: everything).")
]
NoFaultsOption = Annotated[bool, typer.Option("--no-faults", help="Inject no faults on virtual.")]
PatienceOption = Annotated[
    float, typer.Option("--patience", metavar="S", min=0.1, help="Seconds after which a real run counts as hanging.")
]
ReplayOption = Annotated[
    str | None, typer.Option("--replay", metavar="FILE", help="Play the workflow of a replay file again, on virtual.")
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="MODULE:NAME",
        help="Test a scheduler of your own instead: a function run(graph, call, workers) or a SchedulerConformance.",
    ),
]
OutOption = Annotated[
    str, typer.Option("--out", metavar="FOLDER", help="Where counterexamples are written, if there are any.")
]
# That of harness.cli.options cannot be taken: harness.cli imports this module.
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but faults.")]


def fuzz_command(
    dags: DagsOption = None,
    minutes: MinutesOption = None,
    backend: BackendOption = "virtual",
    seed: SeedOption = 0,
    jobs: JobsOption = 1,
    size: SizeOption = 20,
    features: FeaturesOption = None,
    no_faults: NoFaultsOption = False,
    patience: PatienceOption = 20.0,
    replay: ReplayOption = None,
    target: TargetOption = None,
    out: OutOption = DEFAULT_FOLDER,
    quiet: QuietOption = False,
) -> ExitCode:
    """Play random workflows with random faults, judge each run, and make what fails as small as possible."""
    from harness.testing.fuzz.fuzzing import fuzz
    from harness.testing.fuzz.fuzzing import replay as replay_file
    from harness.testing.fuzz.replay_files import ReplayError

    if target is not None:
        return _fuzz_target(target, dags or DEFAULT_TARGET_DAGS, seed, quiet=quiet)
    if replay is not None:
        try:
            report = replay_file(replay)
        except ReplayError as error:
            return _refuse(str(error))
        if not quiet:
            _write([f"replayed {replay}: {'nothing is wrong with it' if report.ok else 'the fault is there'}"])
        for failure in report.failures:
            _write(_story(failure), error=True)
        return ExitCode.FINE if report.ok else ExitCode.FAULT
    try:
        report = fuzz(
            dags,
            minutes=minutes,
            seed=seed,
            backend=backend,
            jobs=jobs,
            size=size,
            features=None if features is None else [name.strip() for name in features.split(",") if name.strip()],
            faults=not no_faults,
            patience_seconds=patience,
            progress=None if quiet or not sys.stderr.isatty() else _Progress(),
        )
    except ValueError as error:
        return _refuse(str(error))
    if not quiet:
        _write(summary_lines(report))
    for failure in report.failures:
        _write([*_story(failure), *_keep(failure, report, Path(out))], error=True)
    return ExitCode.FINE if report.ok else ExitCode.FAULT


def _fuzz_target(target: str, dags: int, seed: int, *, quiet: bool) -> ExitCode:
    """Play random graphs through somebody's scheduler, which may lie in the current folder."""
    from harness.testing.schedulers.scheduler_suite import fuzz_target

    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        report = fuzz_target(target, dags, seed)
    except ValueError as error:
        return _refuse(str(error))
    if report.fault is not None:
        _write([report.message()], error=True)
        return ExitCode.FAULT
    if not quiet:
        _write([report.message()])
    return ExitCode.FINE


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


def _story(failure: FuzzFailure) -> list[str]:
    from harness.testing.fuzz.faulty_run_judging import OWN_PROPERTIES
    from harness.testing.oracle.judge import PROPERTIES

    sentence = {**PROPERTIES, **OWN_PROPERTIES}.get(failure.property, "")
    lines = [f"FAULT {failure.property} (workflow {failure.number}, {failure.steps} steps at the smallest): {sentence}"]
    for message in failure.smallest_messages or failure.messages:
        lines += [f"  {line}" for line in message.splitlines()]
    return lines if len(lines) <= _SHOWN_LINES else [*lines[:_SHOWN_LINES], "  … (the replay file has all of it)"]


def _keep(failure: FuzzFailure, report: FuzzReport, folder: Path) -> list[str]:
    """Write the counterexample down; the lines that say where."""
    import yaml

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


def _refuse(message: str) -> ExitCode:
    _write([f"error: {message}"], error=True)
    return ExitCode.BAD_INPUT


def _write(lines: Iterator[str] | list[str], *, error: bool = False) -> None:
    from executor.model.findings import printable

    stream = sys.stderr if error else sys.stdout
    for line in lines:
        stream.write(printable(line) + "\n")
    stream.flush()
