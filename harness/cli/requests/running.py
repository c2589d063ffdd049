"""What ``run``, ``bench``, ``plan`` and ``doctor`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests import completion
from harness.cli.requests.parameters import argument, option
from harness.cli.requests.shared import (
    BackendOptionOption,
    ConfigOption,
    FailIfOption,
    LlmOption,
    MetricsPortOption,
    ModelOption,
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
    option(
        "--planner NAME",
        "Who plans a task: rules, which need no model, llm, or auto: the model where one is configured, else the rules "
        "(default: the configuration's, auto).",
    ),
]
SaveOption = Annotated[
    str | None, option("--save FILE", "Write the plan as a scenario file (.yaml or .json) that can be run.")
]


@dataclass(frozen=True, eq=False, repr=False)
class RunRequest:
    """What `makespan run` is asked for: a scenario, or a task to plan."""

    scenario: Annotated[
        str | None,
        argument(
            "[SCENARIO]",
            "A scenario or workflow file (YAML or JSON), or the name of a shipped scenario; or give --task.",
            autocompletion=completion.scenarios,
        ),
    ] = None
    task: Annotated[
        str | None,
        option("--task -t TEXT", "Plan that sentence and run the plan, instead of a file."),
    ] = None
    planner: PlannerOption = None
    save: SaveOption = None
    yes: Annotated[bool, option("--yes -y", "Run the plan of a task without asking.")] = False
    llm: LlmOption = None
    model: ModelOption = None
    executor: Annotated[
        str | None,
        option(
            "--executor -e NAME",
            "Where steps run: one of `makespan executors` (default: the configuration's, threads).",
            autocompletion=completion.executors,
        ),
    ] = None
    backend_options: BackendOptionOption = ()
    workers: WorkersOption = None
    policy: Annotated[
        str | None,
        option(
            "--policy -p NAME",
            "The order of starts: dataflow (default), best, levels, barrier or serial.",
            autocompletion=completion.policies,
        ),
    ] = None
    settings: SetOption = ()
    seed: Annotated[
        int | None, option("--seed N", "Feeds all that is drawn at random (default: the scenario's).", min=0)
    ] = None
    json_target: ResultOption = None
    resume: Annotated[
        str | None,
        option(
            "--resume RUN",
            "Go on from a run that did not come to its end: @last, @last~1, an id or its beginning.",
        ),
    ] = None
    rerun: Annotated[
        tuple[str, ...],
        option("--rerun STEP", "Do a finished step again, with all that it calls. May be given several times."),
    ] = ()
    rerun_unsure: Annotated[
        bool,
        option("--rerun-unsure", "Do steps again that must not be done twice and were running when the run ended."),
    ] = False
    skip_unsure: Annotated[bool, option("--skip-unsure", "Leave such steps out; their output is null.")] = False
    forget: Annotated[
        tuple[str, ...],
        option("--forget STEP", "The workflow no longer has that step of the run. May be given several times."),
    ] = ()
    durable: Annotated[
        str,
        option(
            "--durable WHEN", "When the end of a step is on the disk: 100ms later, or each: before the run goes on."
        ),
    ] = "100ms"
    no_cache: Annotated[
        bool,
        option("--no-cache", "Take no output from the cache: steps with `cache: inputs` run, and leave theirs anew."),
    ] = False
    metrics_port: MetricsPortOption = None
    store: StoreOption = None
    no_store: NoStoreOption = False
    trace: TraceOption = None
    trace_file: TraceFileOption = None
    quiet: QuietOption = False
    no_progress: NoProgressOption = False
    config_path: ConfigOption = None


@dataclass(frozen=True, eq=False, repr=False)
class BenchRequest:
    """What `makespan bench` is asked for."""

    scenarios: Annotated[
        tuple[str, ...],
        argument(
            "[SCENARIO...]",
            "Scenario or workflow files (YAML or JSON), or names of shipped scenarios; or give --resume.",
            autocompletion=completion.scenarios,
        ),
    ] = ()
    executors: Annotated[
        tuple[str, ...],
        option(
            "--executor -e NAMES",
            "Where steps run: names of `makespan executors`, separated by commas (default: the scenario's).",
            autocompletion=completion.executors,
        ),
    ] = ()
    backend_options: BackendOptionOption = ()
    workers: Annotated[
        tuple[str, ...], option("--workers -w NUMBERS", "Steps at once, separated by commas (default: the scenario's).")
    ] = ()
    policies: Annotated[
        tuple[str, ...],
        option(
            "--policy -p NAMES",
            "Orders of starts, separated by commas: dataflow, best, levels, barrier, serial (default: the scenario's).",
            autocompletion=completion.policies,
        ),
    ] = ()
    settings: SetOption = ()
    parameters: Annotated[
        tuple[str, ...],
        option(
            "--parameter NAME=V1,V2",
            "Measure with each of these values of an input, or of `scale`. May be given several times.",
        ),
    ] = ()
    repetitions: Annotated[
        int | None,
        option(
            "--repetitions -n N",
            "Runs of each cell (default: the scenario's, 10); with --until-width the most of them (default: 100).",
            min=1,
            max=100_000,
        ),
    ] = None
    warmup: Annotated[
        int | None, option("--warmup N", "Runs of each cell that do not count (default: 1).", min=0, max=100_000)
    ] = None
    until_width: Annotated[
        str | None,
        option(
            "--until-width SHARE",
            "Repeat until the 95 % interval of every cell's makespan is at most that wide, such as 5%.",
        ),
    ] = None
    max_time: Annotated[
        str | None, option("--max-time TIME", "Begin no run after that time, such as 60s, 10min or 2h.")
    ] = None
    max_calls: Annotated[
        int | None, option("--max-calls N", "Make no more than that many calls of models and services.", min=0)
    ] = None
    max_tokens: Annotated[
        int | None, option("--max-tokens N", "Begin no run that would go beyond that many model tokens.", min=0)
    ] = None
    seed: Annotated[
        int | None,
        option("--seed N", "Feeds the order of runs and all that is drawn (default: the scenario's).", min=0),
    ] = None
    resume: Annotated[
        str | None,
        option(
            "--resume RUN",
            "Go on with a benchmark that was killed, interrupted or broken, at the first repetition that is missing: "
            "@last, @last~1, an id or its beginning.",
        ),
    ] = None
    dry_run: Annotated[
        bool, option("--dry-run", "Say how many runs, calls, tokens and seconds it would take; run nothing.")
    ] = False
    cache: Annotated[
        str,
        option(
            "--cache MODE",
            "unique: no run begins a prompt like one before it, so that no cache is measured; allow: caches may help.",
        ),
    ] = "unique"
    record: Annotated[
        str | None,
        option("--record FILE", "Keep outputs and latencies of all calls in a new file."),
    ] = None
    replay: Annotated[
        str | None, option("--replay FILE", "Answer calls from such a file, after the recorded latencies.")
    ] = None
    llm: LlmOption = None
    model: ModelOption = None
    json_target: ResultOption = None
    junit_target: Annotated[
        str | None, option("--junit FILE", "Write the expectations as JUnit XML, for CI systems.")
    ] = None
    against: Annotated[
        str | None,
        option(
            "--against BASELINE",
            'Compare with that run (an id, @last, a --json file), or with accepted ones, as in "median(14)".',
            autocompletion=completion.runs,
        ),
    ] = None
    limits: FailIfOption = ()
    confirm: Annotated[
        int,
        option(
            "--confirm K",
            "Measure cells that were judged badly K more times; only what these find, too, counts.",
            min=0,
            max=100_000,
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


@dataclass(frozen=True, eq=False, repr=False)
class PlanRequest:
    """What `makespan plan` is asked for."""

    file: Annotated[
        str,
        argument(
            "FILE",
            "A scenario or workflow file, the name of a shipped scenario, or a task in quotation marks.",
            autocompletion=completion.scenarios,
        ),
    ]
    workers: WorkersOption = None
    settings: SetOption = ()
    planner: PlannerOption = None
    llm: LlmOption = None
    model: ModelOption = None
    save: SaveOption = None
    json_target: Annotated[
        str | None,
        option(
            "--json FILE",
            "Write the workflow itself, every dependency in `depends_on` (`-`: stdout, and all text to stderr).",
        ),
    ] = None
    quiet: QuietOption = False
    config_path: ConfigOption = None


@dataclass(frozen=True, eq=False, repr=False)
class DoctorRequest:
    """``doctor``: this machine, or one executor and its cluster."""

    executor: Annotated[
        str | None,
        option(
            "--executor -e NAME",
            "Look at this executor alone: run steps on all its workers, and compare their versions with those here.",
            autocompletion=completion.executors,
        ),
    ] = None
    backend_options: BackendOptionOption = ()
    config_path: ConfigOption = None
