"""Options that several commands take."""

from dataclasses import dataclass
from typing import Annotated, Final

from harness.cli.requests.parameters import option

RUN_WORDS: Final = "An id or its beginning, @last, @last~1, a git revision, a --json file or a folder of them"
VersionOption = Annotated[bool, option("--version", "Show the version and exit.", is_eager=True)]
ConfigOption = Annotated[
    str | None, option("--config -c FILE", "The configuration (default: config.yaml in the current folder).")
]
StoreOption = Annotated[str | None, option("--store FILE", "The history of runs (default: one in your data folder).")]
NoStoreOption = Annotated[bool, option("--no-store", "Keep nothing in the history of runs.")]
QuietOption = Annotated[bool, option("--quiet -q", "Print nothing but faults.")]
NoProgressOption = Annotated[bool, option("--no-progress", "Print nothing while the run goes on.")]
SetOption = Annotated[
    tuple[str, ...], option("--set -s NAME=VALUE", "Set an input, or `scale`. May be given several times.")
]
ResultOption = Annotated[
    str | None, option("--json FILE", "Write the machine-readable result (`-`: stdout, and all text to stderr).")
]
MetricsPortOption = Annotated[
    int | None,
    option(
        "--metrics-port N",
        "Serve Prometheus metrics on 127.0.0.1 while it goes on; 0 takes a free port (default: off).",
        min=0,
        max=65_535,
    ),
]
TraceOption = Annotated[
    str | None,
    option(
        "--trace MODE",
        "recorded: spans are made after the run; live: as steps end; off (default: the configuration's).",
    ),
]
TraceFileOption = Annotated[
    str | None, option("--trace-file FILE", "Write the traces to a file: OTLP JSON, a request a line.")
]
WorkersOption = Annotated[
    int | None, option("--workers -w N", "Steps at once (default: 8; processes: the usable cores; serial: 1).", min=1)
]
BackendOptionOption = Annotated[
    tuple[str, ...],
    option(
        "--backend-option NAME=VALUE",
        "An option of the executor, such as address=tcp://host:8786 of dask or address=host:6379 of ray. "
        "May be given several times.",
    ),
]
LlmOption = Annotated[
    str | None,
    option(
        "--llm URL",
        "The endpoint of models that name none: an address, or local, a small model on this machine (once: "
        "makespan llm install).",
    ),
]
ModelOption = Annotated[
    str | None,
    option("--model NAME", "The model to ask that endpoint for (default: the configuration's, or the only one there)."),
]
FailIfOption = Annotated[
    tuple[str, ...],
    option(
        "--fail-if LIMIT",
        'Exit with 3 where the whole interval of a change is beyond that, as in "makespan +5%". May be given '
        "several times.",
    ),
]


@dataclass(frozen=True, eq=False, repr=False)
class NoOptions:
    """A command that takes none."""


@dataclass(frozen=True, eq=False, repr=False)
class ConfigOnly:
    """A command that reads the configuration alone."""

    config_path: ConfigOption = None
