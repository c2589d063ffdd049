"""Options that several commands take."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

RUN_WORDS: Final = "An id or its beginning, @last, @last~1, a git revision, a --json file or a folder of them"
VersionOption = Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The configuration (default: config.yaml in the current folder)."
    ),
]
StoreOption = Annotated[
    str | None, typer.Option("--store", metavar="FILE", help="The history of runs (default: one in your data folder).")
]
NoStoreOption = Annotated[bool, typer.Option("--no-store", help="Keep nothing in the history of runs.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but faults.")]
NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Print nothing while the run goes on.")]
SetOption = Annotated[
    tuple[str, ...],
    typer.Option("--set", "-s", metavar="NAME=VALUE", help="Set an input, or `scale`. May be given several times."),
]
ResultOption = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the machine-readable result (`-`: stdout, and all text to stderr)."
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
BackendOptionOption = Annotated[
    tuple[str, ...],
    typer.Option(
        "--backend-option",
        metavar="NAME=VALUE",
        help="An option of the executor, such as address=tcp://host:8786 of dask. May be given several times.",
    ),
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
FailIfOption = Annotated[
    tuple[str, ...],
    typer.Option(
        "--fail-if",
        metavar="LIMIT",
        help='Exit with 3 where the whole interval of a change is beyond that, as in "makespan +5%". May be given '
        "several times.",
    ),
]


@dataclass(frozen=True)
class NoOptions:
    """A command that takes none."""


@dataclass(frozen=True)
class ConfigOnly:
    """A command that reads the configuration alone."""

    config_path: ConfigOption = None
