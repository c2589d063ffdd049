"""Options of ``run`` alone."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import completion

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[SCENARIO]",
        help="A scenario or workflow file (YAML or JSON), or the name of a shipped scenario; or give --task.",
        autocompletion=completion.scenarios,
    ),
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        "-e",
        metavar="NAME",
        help="Where steps run: one of `makespan executors` (default: the configuration's, threads).",
        autocompletion=completion.executors,
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME",
        help="The order of starts: dataflow (default), levels, barrier or serial.",
        autocompletion=completion.policies,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Feeds all that is drawn at random (default: the scenario's)."),
]
