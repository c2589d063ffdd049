"""What ``makespan dashboards up`` does with its options."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.cli.dashboards.dashboards_validate import check_installed
from harness.cli.guard import UsageFault
from harness.cli.requests.dashboards import UpRequest
from harness.cli.signals import terminated_as_interrupted
from harness.cli.stores import store_path
from harness.config import load_config
from harness.exit_codes import ExitCode
from harness.report.terminal.console import Terminal


def show_dashboards(request: UpRequest) -> ExitCode:
    """Show them until Ctrl-C, which is how it ends.

    Raises:
        UsageFault: something cannot be started.

    """
    check_installed("plotly", "grafana_foundation_sdk", "promql_parser")
    from harness.dashboards.preview.child_servers import ChildError  # noqa: PLC0415 - it needs what was just looked for
    from harness.dashboards.preview.up import Ports, RunningPreview, keep_sending, preview_up  # noqa: PLC0415 - the same

    config = load_config(request.config_path)
    terminal = Terminal()
    ports = Ports(request.port, request.page_port, request.grafana_port)
    settings = config.telemetry.prometheus

    def show_addresses(preview: RunningPreview) -> None:
        terminal.line(f"Preview of the dashboards: {preview.page_url}")
        if preview.grafana_url is not None:
            terminal.line(f"Grafana: {preview.grafana_url}")
        else:
            terminal.line("Grafana: none is on the PATH; its dashboards are in `dashboards/`")
        terminal.line(f"Prometheus: {preview.prometheus_url}")
        terminal.line("Runs that are kept from now on are shown too. Ctrl-C ends it.")

    try:
        with terminated_as_interrupted(), preview_up(
            data_folder(request.data), ports, scrape_port=settings.metrics_port or None
        ) as preview:  # fmt: skip
            show_addresses(preview)
            keep_sending(preview, store_path(request.store, config), terminal.line, run_info=settings.run_info)
    except KeyboardInterrupt:
        terminal.line("ended")
        sys.stdout.flush()
    except ChildError as error:
        raise UsageFault(str(error)) from error
    return ExitCode.FINE


def data_folder(typed: str | None) -> Path:
    """Where Prometheus keeps what it is sent."""
    if typed is not None:
        return Path(typed).expanduser()
    from platformdirs import user_data_path  # noqa: PLC0415 - only the default place pays for it

    return user_data_path("makespan", appauthor=False) / "dashboards"
