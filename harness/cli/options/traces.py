"""Options of ``analyze`` and ``simulate``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import completion

TraceFilesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Files of traces (OTLP as JSON, JSON lines or protobuf; Jaeger, Tempo, Zipkin, MLflow; the SDK's console "
        "output), or `-` for stdin.",
    ),
]
FromDirOption = Annotated[
    str | None, typer.Option("--from-dir", metavar="DIR", help="All files in a folder and the folders below it.")
]
TraceIdOption = Annotated[
    str | None, typer.Option("--trace", metavar="ID", help="Of several traces, the one with that id or its beginning.")
]
EdgesOption = Annotated[
    str | None,
    typer.Option(
        "--edges", metavar="FILE", help="What depends on what in the trace (JSON, YAML or `A -> B` in lines)."
    ),
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
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a report: the trace's Gantt chart, the predictions, and what to change first.",
    ),
]
AnalysisScenarioOption = Annotated[
    str | None,
    typer.Option(
        "--scenario", metavar="FILE", help="Write a scenario that does what the trace shows, with steps that sleep."
    ),
]
SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO|RUN|TRACE",
        help="A scenario file or its name, a file of traces, or a run: an id or its beginning, @last, a --json file.",
        autocompletion=completion.scenarios,
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
        autocompletion=completion.policies,
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
SimulationJsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write what was found as JSON (`-`: stdout, and all text to stderr)."),
]
