"""What ``run``, ``bench`` and ``plan`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.cli.requests import completion
from harness.cli.requests.shared import (
    BackendOptionOption,
    ConfigOption,
    FailIfOption,
    LlmOption,
    MetricsPortOption,
    NoProgressOption,
    NoStoreOption,
    QuietOption,
    ResultOption,
    SetOption,
    StoreOption,
    TraceFileOption,
    TraceOption,
    WorkersOption,
)

PlannerOption = Annotated[
    str | None,
    typer.Option(
        "--planner",
        metavar="NAME",
        help="Who plans a task: rules, which need no model, or llm (default: the configuration's, rules).",
    ),
]
SaveOption = Annotated[
    str | None,
    typer.Option("--save", metavar="FILE", help="Write the plan as a scenario file (.yaml or .json) that can be run."),
]


@dataclass(frozen=True)
class RunRequest:
    """What `makespan run` is asked for: a scenario, or a task to plan."""

    scenario: Annotated[
        str | None,
        typer.Argument(
            metavar="[SCENARIO]",
            help="A scenario or workflow file (YAML or JSON), or the name of a shipped scenario; or give --task.",
            autocompletion=completion.scenarios,
        ),
    ] = None
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", metavar="TEXT", help="Plan that sentence and run the plan, instead of a file."),
    ] = None
    planner: PlannerOption = None
    save: SaveOption = None
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run the plan of a task without asking.")] = False
    llm: LlmOption = None
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor",
            "-e",
            metavar="NAME",
            help="Where steps run: one of `makespan executors` (default: the configuration's, threads).",
            autocompletion=completion.executors,
        ),
    ] = None
    backend_options: BackendOptionOption = ()
    workers: WorkersOption = None
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME",
            help="The order of starts: dataflow (default), levels, barrier or serial.",
            autocompletion=completion.policies,
        ),
    ] = None
    settings: SetOption = ()
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, help="Feeds all that is drawn at random (default: the scenario's)."),
    ] = None
    json_target: ResultOption = None
    metrics_port: MetricsPortOption = None
    store: StoreOption = None
    no_store: NoStoreOption = False
    trace: TraceOption = None
    trace_file: TraceFileOption = None
    quiet: QuietOption = False
    no_progress: NoProgressOption = False
    config_path: ConfigOption = None


@dataclass(frozen=True)
class BenchRequest:
    """What `makespan bench` is asked for."""

    scenarios: Annotated[
        tuple[str, ...],
        typer.Argument(
            metavar="SCENARIO...",
            help="Scenario or workflow files (YAML or JSON), or names of shipped scenarios.",
            autocompletion=completion.scenarios,
        ),
    ]
    executors: Annotated[
        tuple[str, ...],
        typer.Option(
            "--executor",
            "-e",
            metavar="NAMES",
            help="Where steps run: names of `makespan executors`, separated by commas (default: the scenario's).",
            autocompletion=completion.executors,
        ),
    ] = ()
    backend_options: BackendOptionOption = ()
    workers: Annotated[
        tuple[str, ...],
        typer.Option(
            "--workers", "-w", metavar="NUMBERS", help="Steps at once, separated by commas (default: the scenario's)."
        ),
    ] = ()
    policies: Annotated[
        tuple[str, ...],
        typer.Option(
            "--policy",
            "-p",
            metavar="NAMES",
            help="Orders of starts, separated by commas: dataflow, levels, barrier, serial (default: the scenario's).",
            autocompletion=completion.policies,
        ),
    ] = ()
    settings: SetOption = ()
    parameters: Annotated[
        tuple[str, ...],
        typer.Option(
            "--parameter",
            metavar="NAME=V1,V2",
            help="Measure with each of these values of an input, or of `scale`. May be given several times.",
        ),
    ] = ()
    repetitions: Annotated[
        int | None,
        typer.Option(
            "--repetitions",
            "-n",
            metavar="N",
            min=1,
            max=100_000,
            help="Runs of each cell (default: the scenario's, 10); with --until-width the most of them (default: 100).",
        ),
    ] = None
    warmup: Annotated[
        int | None,
        typer.Option(
            "--warmup", metavar="N", min=0, max=100_000, help="Runs of each cell that do not count (default: 1)."
        ),
    ] = None
    until_width: Annotated[
        str | None,
        typer.Option(
            "--until-width",
            metavar="SHARE",
            help="Repeat until the 95 % interval of every cell's makespan is at most that wide, such as 5%.",
        ),
    ] = None
    max_time: Annotated[
        str | None,
        typer.Option("--max-time", metavar="TIME", help="Begin no run after that time, such as 60s, 10min or 2h."),
    ] = None
    max_calls: Annotated[
        int | None,
        typer.Option(
            "--max-calls", metavar="N", min=0, help="Make no more than that many calls of models and services."
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens", metavar="N", min=0, help="Begin no run that would go beyond that many model tokens."
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            help="Feeds the order of runs and all that is drawn (default: the scenario's).",
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many runs, calls, tokens and seconds it would take; run nothing.")
    ] = False
    cache: Annotated[
        str,
        typer.Option(
            "--cache",
            metavar="MODE",
            help="unique: no run begins a prompt like one before it, so that no cache is measured; allow: "
            "caches may help.",
        ),
    ] = "unique"
    record: Annotated[
        str | None,
        typer.Option("--record", metavar="FILE", help="Keep outputs and latencies of all calls in a new file."),
    ] = None
    replay: Annotated[
        str | None,
        typer.Option("--replay", metavar="FILE", help="Answer calls from such a file, after the recorded latencies."),
    ] = None
    llm: LlmOption = None
    json_target: ResultOption = None
    junit_target: Annotated[
        str | None, typer.Option("--junit", metavar="FILE", help="Write the expectations as JUnit XML, for CI systems.")
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="BASELINE",
            help='Compare with that run (an id, @last, a --json file), or with accepted ones, as in "median(14)".',
            autocompletion=completion.runs,
        ),
    ] = None
    limits: FailIfOption = ()
    confirm: Annotated[
        int,
        typer.Option(
            "--confirm",
            metavar="K",
            min=0,
            max=100_000,
            help="Measure cells that were judged badly K more times; only what these find, too, counts.",
        ),
    ] = 0
    metrics_port: MetricsPortOption = None
    store: StoreOption = None
    no_store: NoStoreOption = False
    trace: TraceOption = None
    trace_file: TraceFileOption = None
    quiet: QuietOption = False
    no_progress: NoProgressOption = False
    config_path: ConfigOption = None


@dataclass(frozen=True)
class PlanRequest:
    """What `makespan plan` is asked for."""

    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A scenario or workflow file, the name of a shipped scenario, or a task in quotation marks.",
            autocompletion=completion.scenarios,
        ),
    ]
    workers: WorkersOption = None
    settings: SetOption = ()
    planner: PlannerOption = None
    llm: LlmOption = None
    save: SaveOption = None
    json_target: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the workflow itself, every dependency in `depends_on` (`-`: stdout, and all text to stderr).",
        ),
    ] = None
    quiet: QuietOption = False
    config_path: ConfigOption = None
