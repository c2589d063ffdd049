"""Every argument and option of every command, with its help: the one table.

Rules of this module:
- Nothing heavy is imported, completions import what they need when a shell asks.
- Whether a value makes sense is judged by the configuration and the scenario, which name the command line as its place.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Final

import typer

_FILE_SUFFIXES: Final = (".yaml", ".yml", ".json")


def _policies(incomplete: str) -> list[str]:
    return _beginning_with(incomplete, importlib.import_module("executor.scheduler").POLICIES)


def _executors(incomplete: str) -> list[str]:
    return _beginning_with(incomplete, importlib.import_module("executor.backends").backend_names())


def _scenarios(incomplete: str) -> list[str]:
    """Shipped scenarios, folders, and files that could be scenarios."""
    shipped = importlib.import_module("harness.packaged").shipped_scenarios()
    folder, _, name = incomplete.rpartition("/")
    names = []
    for path in sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{name}*")):
        text = f"{folder}/{path.name}" if "/" in incomplete else path.name
        if path.is_dir():
            names.append(f"{text}/")
        elif path.suffix in _FILE_SUFFIXES:
            names.append(text)
    return [*_beginning_with(incomplete, shipped), *names]


def _runs(incomplete: str) -> list[str]:
    """Words for the newest runs, and the ids in the store in the user's data folder."""
    store = importlib.import_module("harness.store")
    named = ["@last", "@last~1"]
    try:
        with store.Store.open(read_only=True) as opened:
            named += [run.run_id[:12] for run in opened.history(limit=50)]
    except store.StoreError:
        pass  # nothing was kept yet, or it cannot be read: whoever runs the command is told why
    return _beginning_with(incomplete, named)


def _beginning_with(incomplete: str, names: object) -> list[str]:
    return [str(name) for name in names if str(name).startswith(incomplete)]  # type: ignore[attr-defined]  # an iterable of names, from a module known only by name


RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[SCENARIO]",
        help="A scenario or workflow file (YAML or JSON), or the name of a shipped scenario; or give --task.",
        autocompletion=_scenarios,
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", metavar="TEXT", help="Plan that sentence and run the plan, instead of a file."),
]
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
LlmOption = Annotated[
    str | None,
    typer.Option(
        "--llm",
        metavar="URL",
        help="The endpoint of models that name none: an address, or local, a small model on this machine "
        "(once: makespan llm install).",
    ),
]
ForceInstallOption = Annotated[bool, typer.Option("--force", help="Fetch them again, though they are there.")]
ServePortOption = Annotated[
    int | None, typer.Option("--port", metavar="N", min=1, max=65535, help="Where it listens (default: a free port).")
]
SlotsOption = Annotated[
    int | None, typer.Option("--slots", metavar="N", min=1, help="Requests that it answers at once (default: 4).")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", min=1, help="Threads that compute (default: one fewer than cores)."),
]
GpuLayersOption = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers", metavar="N", min=0, help="Layers that a GPU computes (default: as the server decides)."
    ),
]
ModelFileOption = Annotated[
    str | None, typer.Option("--model", metavar="FILE", help="A GGUF file (default: what was installed).")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Run the plan of a task without asking.")]
ScenarioArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A scenario or workflow file (YAML or JSON), or the name of a shipped scenario.",
        autocompletion=_scenarios,
    ),
]
PlanArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A scenario or workflow file, the name of a shipped scenario, or a task in quotation marks.",
        autocompletion=_scenarios,
    ),
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        "-e",
        metavar="NAME",
        help="Where steps run: one of `makespan executors` (default: the configuration's, threads).",
        autocompletion=_executors,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        metavar="N",
        min=1,
        help="Steps at once (default: 8; processes: the usable cores; serial: 1).",
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME",
        help="The order of starts: dataflow (default), levels, barrier or serial.",
        autocompletion=_policies,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE", help="Set an input, or `scale`. May be given several times."),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Feeds all that is drawn at random (default: the scenario's)."),
]
ResultOption = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the machine-readable result (`-`: stdout, and all text to stderr)."
    ),
]
WorkflowOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the workflow itself, every dependency in `depends_on` (`-`: stdout, and all text to stderr).",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The configuration (default: config.yaml in the current folder)."
    ),
]
TraceOption = Annotated[
    str | None,
    typer.Option(
        "--trace",
        metavar="MODE",
        help="recorded: spans are made after the run; live: as steps end; off (default: the configuration's).",
    ),
]
TraceFileOption = Annotated[
    str | None,
    typer.Option("--trace-file", metavar="FILE", help="Write the traces to a file: OTLP JSON, a request a line."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but faults.")]
NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Print nothing while the run goes on.")]
ScenariosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENARIO...",
        help="Scenario or workflow files (YAML or JSON), or names of shipped scenarios.",
        autocompletion=_scenarios,
    ),
]
ExecutorsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--executor",
        "-e",
        metavar="NAMES",
        help="Where steps run: names of `makespan executors`, separated by commas (default: the scenario's).",
        autocompletion=_executors,
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
        autocompletion=_policies,
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
BackendOptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backend-option",
        metavar="NAME=VALUE",
        help="An option of the executor, such as address=tcp://host:8786 of dask. May be given several times.",
    ),
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
        autocompletion=_runs,
    ),
]
JunitOption = Annotated[
    str | None, typer.Option("--junit", metavar="FILE", help="Write the expectations as JUnit XML, for CI systems.")
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="FILE", help="The history of runs (default: one in your data folder)."),
]
NoStoreOption = Annotated[bool, typer.Option("--no-store", help="Keep nothing in the history of runs.")]
BenchSeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", min=0, help="Feeds the order of runs and all that is drawn (default: the scenario's)."
    ),
]
_RUN_WORDS: Final = "An id or its beginning, @last, @last~1, a git revision, a --json file or a folder of them"
RunsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help=f"The runs. {_RUN_WORDS}.", autocompletion=_runs),
]
BeforeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN_A",
        help=f"The run before; with --against the one run. {_RUN_WORDS} (default: @last~1; with --against @last).",
        autocompletion=_runs,
    ),
]
AfterArgument = Annotated[
    str | None, typer.Argument(metavar="RUN_B", help="The run after (default: @last).", autocompletion=_runs)
]
HistoryScenarioOption = Annotated[
    str | None, typer.Option("--scenario", metavar="NAME", help="Only runs of that scenario.")
]
HistoryExecutorOption = Annotated[
    str | None,
    typer.Option("--executor", "-e", metavar="NAME", help="Only runs on that executor.", autocompletion=_executors),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only runs from then on: a date, or how long ago (24h, 7d, 2w)."),
]
LimitOption = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="At most so many runs, the newest ones.")
]
AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="RUN",
        help="Say that a run is as it should be: --against judges by it. May be given several times.",
        autocompletion=_runs,
    ),
]
RejectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reject",
        metavar="RUN",
        help="Say that a run is not as it should be. May be given several times.",
        autocompletion=_runs,
    ),
]
HistoryJsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the list as JSON (`-`: stdout, and all text to stderr)."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Compare runs of different scenarios or machines all the same.")
]
FailIfOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="LIMIT",
        help='Exit with 3 where the whole interval of a change is beyond that, as in "makespan +5%". May be given '
        "several times.",
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="BASELINE",
        help='Judge one run by those that were accepted before it, as in "median(14)": the last 14, the newest two '
        "left out.",
    ),
]
HistoryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--history",
        metavar="RUN",
        help="With --against: these are the accepted runs, such as a folder of --json files (default: the store's).",
    ),
]
CompareJsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the comparison as JSON (`-`: stdout, and all text to stderr)."),
]
MarkdownOption = Annotated[
    str | None,
    typer.Option(
        "--markdown", metavar="FILE", help="Write it as Markdown, for a pull request (`-`: stdout, text to stderr)."
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where to (`-`: stdout; default: report.html, .json, …)."),
]
FormatOption = Annotated[
    str,
    typer.Option("--format", "-f", metavar="NAME", help="html, perfetto (a trace for its viewer), csv or markdown."),
]
TableOption = Annotated[
    str | None, typer.Option("--table", metavar="NAME", help="With csv: cells, steps or attempts (default: attempts).")
]
SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO|RUN|TRACE",
        help="A scenario file or its name, a file of traces, or a run: an id or its beginning, @last, a --json file.",
        autocompletion=_scenarios,
    ),
]
SimulatedWorkersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workers", "-w", metavar="NUMBERS", help="Steps at once, separated by commas: 2,4,8 (default: as it was)."
    ),
]
SimulatedPoliciesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAMES",
        help="Orders of starts, separated by commas: dataflow, levels, barrier, serial (default: as it was).",
        autocompletion=_policies,
    ),
]
SetCapacityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set-capacity",
        metavar="RESOURCE=N",
        help="So many units at once, as in llm=8, or none for no limit. May be given several times.",
    ),
]
SpeedUpOption = Annotated[
    list[str] | None,
    typer.Option(
        "--speed-up",
        metavar="STEP=2x",
        help="A step that takes half as long; a pattern (note_*=1.5x) means several. May be given several times.",
    ),
]
RateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rate",
        metavar="RESOURCE=N",
        help="So many starts a minute, as in llm=120, or none for no limit. May be given several times.",
    ),
]
WithoutRetriesOption = Annotated[
    bool, typer.Option("--without-retries", help="As if every step's last attempt had been its first.")
]
DistributionOption = Annotated[
    bool, typer.Option("--distribution", help="Draw durations from the observed ones, many times, and say percentiles.")
]
DrawnRunsOption = Annotated[
    int | None,
    typer.Option(
        "--runs", metavar="N", min=1, max=10_000_000, help="How many runs --distribution draws (default: 1000)."
    ),
]
SimulatedSeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Feeds what --distribution draws (default: 0).")
]
CellOption = Annotated[
    str | None,
    typer.Option(
        "--cell",
        metavar="NAME",
        help="Of a benchmark, the cell to simulate, as in threads@4/dataflow (default: the best).",
    ),
]
EdgesOption = Annotated[
    str | None,
    typer.Option(
        "--edges", metavar="FILE", help="What depends on what in the trace (JSON, YAML or `A -> B` in lines)."
    ),
]
TraceFilesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Files of traces (OTLP, Jaeger, Tempo; JSON, JSON lines or protobuf), or `-` for stdin.",
    ),
]
FromDirOption = Annotated[
    str | None, typer.Option("--from-dir", metavar="DIR", help="All files in a folder and the folders below it.")
]
TraceIdOption = Annotated[
    str | None, typer.Option("--trace", metavar="ID", help="Of several traces, the one with that id or its beginning.")
]
PredictedWorkersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workers",
        "-w",
        metavar="NUMBERS",
        help="For how many workers to predict, separated by commas (default: 2,4,8,16; unlimited always).",
    ),
]
ServiceRateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rate",
        metavar="SERVICE=N",
        help="Predict with so many calls a minute of a service, as in llm=60. May be given several times.",
    ),
]
ServiceCapacityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set-capacity",
        metavar="SERVICE=N",
        help="Predict with so many calls of a service at once, as in llm=4. May be given several times.",
    ),
]
AnalysisJsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the analysis as JSON (`-`: stdout, and all text to stderr)."),
]
AnalysisHtmlOption = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Write a report with the trace's Gantt chart.")
]
AnalysisScenarioOption = Annotated[
    str | None,
    typer.Option(
        "--scenario", metavar="FILE", help="Write a scenario that does what the trace shows, with steps that sleep."
    ),
]
SimulationJsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write what was found as JSON (`-`: stdout, and all text to stderr)."),
]
PushedRunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN...", help=f"The runs. {_RUN_WORDS}.", autocompletion=_runs),
]
AllRunsOption = Annotated[bool, typer.Option("--all", help="Every run of the history.")]
PrometheusOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The Prometheus (default: the configuration's, http://127.0.0.1:9090)."),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="own: a Prometheus started as documented; shared: one with default flags (default: the configuration's).",
    ),
]
TextfileOption = Annotated[
    str | None,
    typer.Option(
        "--textfile",
        metavar="FILE",
        help="With --profile shared: the file for the node exporter, *.prom (default: the configuration's).",
    ),
]
MetricsPortOption = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="N",
        min=0,
        max=65535,
        help="Serve Prometheus metrics on 127.0.0.1 while it goes on; 0 takes a free port (default: off).",
    ),
]
DashboardsFolderOption = Annotated[
    str | None,
    typer.Option("--dashboards", metavar="FOLDER", help="The JSON files (default: those that come with makespan)."),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Ask no server: look at the files and parse the queries alone.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="FOLDER", help="Where Prometheus keeps runs (default: in your data folder)."),
]
PrometheusPortOption = Annotated[
    int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Where Prometheus listens, on loopback.")
]
PagePortOption = Annotated[
    int,
    typer.Option(
        "--page-port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Where the preview page is, on loopback (0: any free port).",
    ),
]
GrafanaPortOption = Annotated[
    int,
    typer.Option("--grafana-port", metavar="PORT", min=1, max=65535, help="Where Grafana listens, if there is one."),
]
VersionOption = Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)]
