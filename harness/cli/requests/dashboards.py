"""What the commands of ``makespan dashboards`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.cli.requests import completion
from harness.cli.requests.shared import RUN_WORDS, ConfigOption, QuietOption, StoreOption

ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="own: a Prometheus started as documented; shared: one with default flags (default: the configuration's).",
    ),
]
PrometheusOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The Prometheus (default: the configuration's, http://127.0.0.1:9090)."),
]


@dataclass(frozen=True)
class PushRequest:
    """What `makespan dashboards push` is asked for."""

    runs: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="RUN...", help=f"The runs. {RUN_WORDS}.", autocompletion=completion.runs),
    ] = ()
    all_runs: Annotated[bool, typer.Option("--all", help="Every run of the history.")] = False
    url: PrometheusOption = None
    profile: ProfileOption = None
    textfile: Annotated[
        str | None,
        typer.Option(
            "--textfile",
            metavar="FILE",
            help="With --profile shared: the file for the node exporter, *.prom (default: the configuration's).",
        ),
    ] = None
    store: StoreOption = None
    quiet: QuietOption = False
    config_path: ConfigOption = None


@dataclass(frozen=True)
class UpRequest:
    """What `makespan dashboards up` is asked for."""

    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Where Prometheus listens, on loopback.")
    ] = 9090
    page_port: Annotated[
        int,
        typer.Option(
            "--page-port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Where the preview page is, on loopback (0: any free port).",
        ),
    ] = 9095
    grafana_port: Annotated[
        int,
        typer.Option(
            "--grafana-port", metavar="PORT", min=1, max=65535, help="Where Grafana listens, if there is one."
        ),
    ] = 3000
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FOLDER", help="Where Prometheus keeps runs (default: in your data folder)."),
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None


@dataclass(frozen=True)
class ValidateRequest:
    """What `makespan dashboards validate` is asked for."""

    profile: ProfileOption = None
    url: PrometheusOption = None
    folder: Annotated[
        str | None,
        typer.Option("--dashboards", metavar="FOLDER", help="The JSON files (default: those that come with makespan)."),
    ] = None
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: look at the files and parse the queries alone.")
    ] = False
    store: StoreOption = None
    config_path: ConfigOption = None
