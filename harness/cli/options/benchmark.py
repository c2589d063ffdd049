"""Options of ``bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import completion

ScenariosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENARIO...",
        help="Scenario or workflow files (YAML or JSON), or names of shipped scenarios.",
        autocompletion=completion.scenarios,
    ),
]
ExecutorsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--executor",
        "-e",
        metavar="NAMES",
        help="Where steps run: names of `makespan executors`, separated by commas (default: the scenario's).",
        autocompletion=completion.executors,
    ),
]
WorkerCountsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workers", "-w", metavar="NUMBERS", help="Steps at once, separated by commas (default: the scenario's)."
    ),
]
PoliciesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAMES",
        help="Orders of starts, separated by commas: dataflow, levels, barrier, serial (default: the scenario's).",
        autocompletion=completion.policies,
    ),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        metavar="NAME=V1,V2",
        help="Measure with each of these values of an input, or of `scale`. May be given several times.",
    ),
]
RepetitionsOption = Annotated[
    int | None,
    typer.Option(
        "--repetitions",
        "-n",
        metavar="N",
        min=1,
        max=100_000,
        help="Runs of each cell (default: the scenario's, 10); with --until-width the most of them (default: 100).",
    ),
]
WarmupOption = Annotated[
    int | None,
    typer.Option("--warmup", metavar="N", min=0, max=100_000, help="Runs of each cell that do not count (default: 1)."),
]
UntilWidthOption = Annotated[
    str | None,
    typer.Option(
        "--until-width",
        metavar="SHARE",
        help="Repeat until the 95 % interval of every cell's makespan is at most that wide, such as 5%.",
    ),
]
MaxTimeOption = Annotated[
    str | None,
    typer.Option("--max-time", metavar="TIME", help="Begin no run after that time, such as 60s, 10min or 2h."),
]
MaxCallsOption = Annotated[
    int | None,
    typer.Option("--max-calls", metavar="N", min=0, help="Make no more than that many calls of models and services."),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option("--max-tokens", metavar="N", min=0, help="Begin no run that would go beyond that many model tokens."),
]
BenchSeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", min=0, help="Feeds the order of runs and all that is drawn (default: the scenario's)."
    ),
]
CacheOption = Annotated[
    str,
    typer.Option(
        "--cache",
        metavar="MODE",
        help="unique: no run begins a prompt like one before it, so that no cache is measured; allow: caches may help.",
    ),
]
RecordOption = Annotated[
    str | None,
    typer.Option("--record", metavar="FILE", help="Keep outputs and latencies of all calls in a new file."),
]
ReplayOption = Annotated[
    str | None,
    typer.Option("--replay", metavar="FILE", help="Answer calls from such a file, after the recorded latencies."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say how many runs, calls, tokens and seconds it would take; run nothing.")
]
ConfirmOption = Annotated[
    int,
    typer.Option(
        "--confirm",
        metavar="K",
        min=0,
        max=100_000,
        help="Measure cells that were judged badly K more times; only what these find, too, counts.",
    ),
]
BenchAgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="BASELINE",
        help='Compare with that run (an id, @last, a --json file), or with accepted ones, as in "median(14)".',
        autocompletion=completion.runs,
    ),
]
JunitOption = Annotated[
    str | None, typer.Option("--junit", metavar="FILE", help="Write the expectations as JUnit XML, for CI systems.")
]
