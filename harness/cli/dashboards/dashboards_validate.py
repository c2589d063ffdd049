"""What ``makespan dashboards validate`` does with its options."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from harness.cli.guard import UsageFault
from harness.cli.requests.dashboards import ValidateRequest
from harness.cli.stores import store_to_read
from harness.cli.typed_values import one_of
from harness.config import Config, load_config
from harness.exit_codes import ExitCode
from harness.plain_text import counted
from harness.report.terminal.console import Terminal
from harness.store.store_errors import StoreError
from harness.telemetry.telemetry_settings import Profile


def validate_dashboards(request: ValidateRequest) -> ExitCode:
    """Say what is wrong with the dashboards.

    Raises:
        UsageFault: there is no such profile, folder or server.

    """
    check_installed("grafana_foundation_sdk", "promql_parser")
    from harness.dashboards.grafana.dashboard_files import dashboards_of, read_dashboards  # noqa: PLC0415 - only now does it matter

    config = load_config(request.config_path)
    profile: Profile = config.telemetry.prometheus.profile
    if request.profile is not None:
        profile = one_of("--profile", request.profile, get_args(Profile))
    folder = Path(request.folder).expanduser() if request.folder is not None else dashboards_of(profile)
    if not folder.is_dir():
        raise UsageFault(f"there is no folder {str(folder)!r}")
    dashboards, unreadable = read_dashboards(folder)
    url = request.url if request.url is not None else config.telemetry.prometheus.url
    documents = [] if request.offline else _stored(request.store, config)
    outcome = _outcome(dashboards, profile, None if request.offline else url, documents)
    faults = [*unreadable, *outcome.faults]
    terminal = Terminal()
    for fault in faults:
        terminal.line(f"fault: {fault}", "red")
    for note in outcome.notes:
        terminal.line(f"note: {note}")
    asked = f"{outcome.queries} queries answered with {outcome.numbers} series"
    if request.offline:
        asked = "no server was asked"
    terminal.line(
        f"{outcome.dashboards} dashboards (profile {profile}), {outcome.panels} panels, {asked}: "
        + ("nothing is wrong" if not faults else counted(len(faults), "fault"))
    )
    return ExitCode.FAULT if faults else ExitCode.FINE


def check_installed(*packages: str) -> None:
    """See that the packages of the extra `dashboards` are there.

    Raises:
        UsageFault: one is not.

    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageFault(f"{missing[0]} is not installed: pip install 'makespan[dashboards]'")


def _outcome(
    dashboards: Mapping[str, dict[str, Any]], profile: Profile, url: str | None, documents: list[dict[str, Any]]
) -> Any:
    from harness.dashboards.validation.dashboard_checks import validated  # noqa: PLC0415 - the same
    from harness.dashboards.validation.prometheus_questions import NoPrometheusError, PrometheusQueries, RefusedError  # noqa: PLC0415 - only now does it matter

    if url is None:
        return validated(dashboards, profile, None, [])
    try:
        with PrometheusQueries(url) as server:
            return validated(dashboards, profile, server, documents)
    except (NoPrometheusError, RefusedError) as error:
        raise UsageFault(str(error)) from error


def _stored(typed: str | None, config: Config) -> list[dict[str, Any]]:
    """Every stored run that can be read; those that cannot are no matter of dashboards."""
    with store_to_read(typed, config) as store:
        if store is None:
            return []
        documents = []
        for run in store.history():
            if run.status == "unfinished":
                continue
            try:
                documents.append(store.document(run.run_id))
            except StoreError:  # `history` and `report` say so; here it has no number to compare with
                continue
        return documents
