"""What ``record`` is asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests.parameters import argument, option
from harness.cli.requests.shared import ConfigOption, NoStoreOption, QuietOption, StoreOption
from harness.cli.requests.traces import EdgesOption


@dataclass(frozen=True, eq=False, repr=False)
class RecordRequest:
    """What `makespan record` is asked for."""

    command: Annotated[
        tuple[str, ...],
        argument("[-- COMMAND...]", "The program and its arguments, behind `--`; or give --listen."),
    ] = ()
    listen: Annotated[
        bool, option("--listen", "Start no program: receive the spans of services that run, until Ctrl-C.")
    ] = False
    name: Annotated[
        str | None, option("--name NAME", "What the run is kept as (default: the program's name, or `recorded`).")
    ] = None
    port: Annotated[
        int | None,
        option(
            "--port N",
            "Where to receive OTLP over HTTP, on 127.0.0.1; 0 takes a free port (default: 0; with --listen, 4318).",
            min=0,
            max=65_535,
        ),
    ] = None
    grpc_port: Annotated[
        int | None,
        option(
            "--grpc-port N", "Receive OTLP over gRPC there, too (extra grpc); 0 takes a free port.", min=0, max=65_535
        ),
    ] = None
    runs: Annotated[
        int,
        option("--runs N", "Run the program so many times: then `compare` knows how much it varies.", min=1, max=1000),
    ] = 1
    no_instrumentation: Annotated[
        bool, option("--no-instrumentation", "Leave out the community's instrumentation where it is installed.")
    ] = False
    separate: Annotated[
        bool, option("--separate", "Keep the traces of an instrumented Python program apart: for one that serves.")
    ] = False
    edges: EdgesOption = None
    spans_target: Annotated[
        str | None,
        option(
            "--spans FOLDER", "Keep the spans that came in a folder: `makespan analyze --from-dir FOLDER` reads it."
        ),
    ] = None
    json_target: Annotated[str | None, option("--json FILE", "Write the analysis as JSON.")] = None
    html_target: Annotated[
        str | None, option("--html FILE", "Write a report: chart, predictions, what to change first.")
    ] = None
    store: StoreOption = None
    no_store: NoStoreOption = False
    quiet: QuietOption = False
    config_path: ConfigOption = None
