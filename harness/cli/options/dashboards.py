"""Options of ``makespan dashboards``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import completion
from harness.cli.options.common import RUN_WORDS

PushedRunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN...", help=f"The runs. {RUN_WORDS}.", autocompletion=completion.runs),
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
