"""What ``analyze`` and ``simulate`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests import completion
from harness.cli.requests.parameters import argument, option
from harness.cli.requests.shared import ConfigOption, QuietOption, SetOption, StoreOption

EdgesOption = Annotated[
    str | None, option("--edges FILE", "What depends on what in the trace (JSON, YAML or `A -> B` in lines).")
]


@dataclass(frozen=True, eq=False, repr=False)
class AnalyzeRequest:
    """What `makespan analyze` is asked for."""

    files: Annotated[
        tuple[str, ...],
        argument(
            "[FILE]...",
            "Files of traces (OTLP as JSON, JSON lines or protobuf; Jaeger, Tempo, Zipkin, MLflow; the SDK's "
            "console output), or `-` for stdin.",
        ),
    ] = ()
    folder: Annotated[str | None, option("--from-dir DIR", "All files in a folder and the folders below it.")] = None
    trace: Annotated[
        str | None,
        option("--trace ID", "Of several traces, the one with that id or its beginning."),
    ] = None
    edges: EdgesOption = None
    workers: Annotated[
        tuple[str, ...],
        option(
            "--workers -w NUMBERS",
            "For how many workers to predict, separated by commas (default: 2,4,8,16; unlimited always).",
        ),
    ] = ()
    rates: Annotated[
        tuple[str, ...],
        option(
            "--rate SERVICE=N",
            "Predict with so many calls a minute of a service, as in llm=60. May be given several times.",
        ),
    ] = ()
    capacities: Annotated[
        tuple[str, ...],
        option(
            "--set-capacity SERVICE=N",
            "Predict with so many calls of a service at once, as in llm=4. May be given several times.",
        ),
    ] = ()
    json_target: Annotated[
        str | None, option("--json FILE", "Write the analysis as JSON (`-`: stdout, and all text to stderr).")
    ] = None
    html_target: Annotated[
        str | None,
        option("--html FILE", "Write a report: the trace's Gantt chart, the predictions, and what to change first."),
    ] = None
    scenario_target: Annotated[
        str | None, option("--scenario FILE", "Write a scenario that does what the trace shows, with steps that sleep.")
    ] = None
    quiet: QuietOption = False


@dataclass(frozen=True, eq=False, repr=False)
class SimulateRequest:
    """What `makespan simulate` is asked for."""

    subject: Annotated[
        str,
        argument(
            "SCENARIO|RUN|TRACE",
            "A scenario file or its name, a file of traces, or a run: an id or its beginning, @last, a --json file.",
            autocompletion=completion.scenarios,
        ),
    ]
    workers: Annotated[
        tuple[str, ...],
        option("--workers -w NUMBERS", "Steps at once, separated by commas: 2,4,8 (default: as it was)."),
    ] = ()
    policies: Annotated[
        tuple[str, ...],
        option(
            "--policy -p NAMES",
            "Orders of starts, separated by commas: dataflow, best, levels, barrier, serial (default: as it was).",
            autocompletion=completion.policies,
        ),
    ] = ()
    capacities: Annotated[
        tuple[str, ...],
        option(
            "--set-capacity RESOURCE=N",
            "So many units at once, as in llm=8, or none for no limit. May be given several times.",
        ),
    ] = ()
    speed_ups: Annotated[
        tuple[str, ...],
        option(
            "--speed-up STEP=2x",
            "A step that takes half as long; a pattern (note_*=1.5x) means several. May be given several times.",
        ),
    ] = ()
    rates: Annotated[
        tuple[str, ...],
        option(
            "--rate RESOURCE=N",
            "So many starts a minute, as in llm=120, or none for no limit. May be given several times.",
        ),
    ] = ()
    without_retries: Annotated[
        bool, option("--without-retries", "As if every step's last attempt had been its first.")
    ] = False
    distribution: Annotated[
        bool, option("--distribution", "Draw durations from the observed ones, many times, and say percentiles.")
    ] = False
    runs: Annotated[
        int | None, option("--runs N", "How many runs --distribution draws (default: 1000).", min=1, max=10_000_000)
    ] = None
    optimum: Annotated[
        str | None,
        option(
            "--optimum TIME",
            "Search that long, as in 60s, for the best schedule, and say how far from it the run is (extra: optimum).",
        ),
    ] = None
    save: Annotated[
        str | None,
        option(
            "--save FILE",
            "Write the scenario with the priorities that --policy best found (.yaml or .json), to run or bench it.",
        ),
    ] = None
    cell: Annotated[
        str | None,
        option("--cell NAME", "Of a benchmark, the cell to simulate, as in threads@4/dataflow (default: the best)."),
    ] = None
    edges: EdgesOption = None
    settings: SetOption = ()
    seed: Annotated[int | None, option("--seed N", "Feeds what --distribution draws (default: 0).", min=0)] = None
    json_target: Annotated[
        str | None, option("--json FILE", "Write what was found as JSON (`-`: stdout, and all text to stderr).")
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None
