"""What the commands of ``makespan dashboards`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests import completion
from harness.cli.requests.parameters import argument, option
from harness.cli.requests.shared import RUN_WORDS, ConfigOption, QuietOption, StoreOption

ProfileOption = Annotated[
    str | None,
    option(
        "--profile NAME",
        "own: a Prometheus started as documented; shared: one with default flags (default: the configuration's).",
    ),
]
PrometheusOption = Annotated[
    str | None, option("--url URL", "The Prometheus (default: the configuration's, http://127.0.0.1:9090).")
]


@dataclass(frozen=True, eq=False, repr=False)
class PushRequest:
    """What `makespan dashboards push` is asked for."""

    runs: Annotated[tuple[str, ...], argument("RUN...", f"The runs. {RUN_WORDS}.", autocompletion=completion.runs)] = ()
    all_runs: Annotated[bool, option("--all", "Every run of the history.")] = False
    url: PrometheusOption = None
    profile: ProfileOption = None
    textfile: Annotated[
        str | None,
        option(
            "--textfile FILE",
            "With --profile shared: the file for the node exporter, *.prom (default: the configuration's).",
        ),
    ] = None
    store: StoreOption = None
    quiet: QuietOption = False
    config_path: ConfigOption = None


@dataclass(frozen=True, eq=False, repr=False)
class UpRequest:
    """What `makespan dashboards up` is asked for."""

    port: Annotated[int, option("--port PORT", "Where Prometheus listens, on loopback.", min=1, max=65_535)] = 9090
    page_port: Annotated[
        int, option("--page-port PORT", "Where the preview page is, on loopback (0: any free port).", min=0, max=65_535)
    ] = 9095
    grafana_port: Annotated[
        int, option("--grafana-port PORT", "Where Grafana listens, if there is one.", min=1, max=65_535)
    ] = 3000
    data: Annotated[
        str | None, option("--data FOLDER", "Where Prometheus keeps runs (default: in your data folder).")
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None


@dataclass(frozen=True, eq=False, repr=False)
class ValidateRequest:
    """What `makespan dashboards validate` is asked for."""

    profile: ProfileOption = None
    url: PrometheusOption = None
    folder: Annotated[
        str | None, option("--dashboards FOLDER", "The JSON files (default: those that come with makespan).")
    ] = None
    offline: Annotated[
        bool,
        option("--offline", "Ask no server: look at the files and parse the queries alone."),
    ] = False
    store: StoreOption = None
    config_path: ConfigOption = None
