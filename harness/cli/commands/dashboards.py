"""``makespan dashboards``: its commands, their options and help. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

import typer

from harness.cli.command_groups import EPILOG, LightGroup
from harness.cli.guard import guarded
from harness.cli.options import common, dashboards
from harness.exit_codes import ExitCode

group = typer.Typer(
    name="dashboards",
    cls=LightGroup,
    help="Show runs on dashboards: on this machine, or on a Prometheus that they are sent to.",
    short_help="Show runs on dashboards.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@group.command(epilog=EPILOG, short_help="Send runs to a Prometheus.")
@guarded
def push(
    runs: dashboards.PushedRunsArgument = None,
    all_: dashboards.AllRunsOption = False,
    url: dashboards.PrometheusOption = None,
    profile: dashboards.ProfileOption = None,
    textfile: dashboards.TextfileOption = None,
    store: common.StoreOption = None,
    quiet: common.QuietOption = False,
    config: common.ConfigOption = None,
) -> ExitCode:
    """Send runs to a Prometheus, at the times at which they ran. A run may be sent again, and runs in any order."""
    from harness.cli.dashboards.dashboards_push import Request, push_stored_runs

    return push_stored_runs(
        Request(
            runs=tuple(runs or ()),
            all_runs=all_,
            url=url,
            profile=profile,
            textfile=textfile,
            store=store,
            quiet=quiet,
            config_path=config,
        )
    )


@group.command(epilog=EPILOG, short_help="Show the dashboards on this machine.")
@guarded
def up(
    port: dashboards.PrometheusPortOption = 9090,
    page_port: dashboards.PagePortOption = 9095,
    grafana_port: dashboards.GrafanaPortOption = 3000,
    data: dashboards.DataOption = None,
    store: common.StoreOption = None,
    config: common.ConfigOption = None,
) -> ExitCode:
    """Show the dashboards on this machine: starts the Prometheus (and Grafana) that is on the PATH, sends it the runs
    that were kept, and serves a preview of the panels for those who have no Grafana. Ctrl-C ends all of it.
    """
    from harness.cli.dashboards.dashboards_up import Request, show_dashboards

    return show_dashboards(
        Request(
            port=port,
            page_port=page_port,
            grafana_port=grafana_port,
            data=data,
            store=store,
            config_path=config,
        )
    )


@group.command(epilog=EPILOG, short_help="See whether the dashboards are right.")
@guarded
def validate(
    profile: dashboards.ProfileOption = None,
    url: dashboards.PrometheusOption = None,
    folder: dashboards.DashboardsFolderOption = None,
    offline: dashboards.OfflineOption = False,
    store: common.StoreOption = None,
    config: common.ConfigOption = None,
) -> ExitCode:
    """See whether the dashboards are right: their JSON, their queries, and that each panel shows, on a real Prometheus,
    the numbers of the runs that were kept.
    """
    from harness.cli.dashboards.dashboards_validate import Request, validate_dashboards

    return validate_dashboards(
        Request(profile=profile, url=url, folder=folder, offline=offline, store=store, config_path=config)
    )
