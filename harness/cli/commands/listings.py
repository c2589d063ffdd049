"""What there is: ``scenarios``, ``tools``, ``executors`` and ``doctor``. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

from harness.cli.guard import guarded
from harness.cli.options import common
from harness.exit_codes import ExitCode


@guarded
def scenarios() -> ExitCode:
    """List the scenarios that come with makespan; their names work as SCENARIO."""
    from harness.cli.listings import list_scenarios

    return list_scenarios()


@guarded
def tools(config: common.ConfigOption = None) -> ExitCode:
    """List the kinds of tools, and the tools that the configuration declares."""
    from harness.cli.listings import list_tools

    return list_tools(config)


@guarded
def executors() -> ExitCode:
    """List where steps can run."""
    from harness.cli.listings import list_executors

    return list_executors()


@guarded
def doctor(config: common.ConfigOption = None) -> ExitCode:
    """See what is missing on this machine, and how to get it."""
    from harness.cli.doctor import show_diagnosis

    return show_diagnosis(config)
