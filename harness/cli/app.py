"""The commands by name: their words, options and help. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
- Every command returns an :class:`ExitCode`; :func:`guarded` makes the exit status of it, and of what goes wrong.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from harness.cli import options
from harness.cli.guard import guarded
from harness.exit_codes import ExitCode, exit_code_lines

# The mark keeps the lines as they are.
_EPILOG = "\n".join(("\b", "Exit status:", *exit_code_lines()))


class _LightGroup(TyperGroup):
    """Its flags (help and completion) are absent as False: to read an absent None, typer would import pydantic."""

    def get_params(self, ctx: Any) -> Any:
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if parameter.default is None and getattr(parameter, "is_flag", False):
                parameter.default = False
        return parameters


app = typer.Typer(
    name="makespan",
    cls=_LightGroup,
    help="Run workflows side by side, and learn how fast they were, could have been, and where each lost second went.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def makespan(version: options.VersionOption = False) -> None:
    """Run workflows side by side, and learn how fast they were, could have been, and where each lost second went."""
    if version:
        from harness.version import package_version

        typer.echo(f"makespan {package_version()}")
        raise typer.Exit


@app.command(epilog=_EPILOG, short_help="Run a scenario once.")
@guarded
def run(
    scenario: options.ScenarioArgument,
    executor: options.ExecutorOption = None,
    workers: options.WorkersOption = None,
    policy: options.PolicyOption = None,
    set_: options.SetOption = None,
    seed: options.SeedOption = None,
    json_: options.ResultOption = None,
    quiet: options.QuietOption = False,
    no_progress: options.NoProgressOption = False,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Run a scenario once: its plan, what runs while it runs, its outputs, and one summary."""
    from harness.cli.run import Request, run_scenario

    return run_scenario(
        Request(
            scenario=scenario,
            executor=executor,
            workers=workers,
            policy=policy,
            settings=tuple(set_ or ()),
            seed=seed,
            json_target=json_,
            quiet=quiet,
            progress=not no_progress,
            config_path=config,
        )
    )


@app.command(epilog=_EPILOG, short_help="Show a plan and what the rules say of it.")
@guarded
def plan(
    file: options.PlanArgument,
    workers: options.WorkersOption = None,
    set_: options.SetOption = None,
    json_: options.WorkflowOption = None,
    quiet: options.QuietOption = False,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Show a plan: its steps, what the rules say of it, levels, critical path and lower bound. Runs nothing."""
    from harness.cli.plan import show_plan

    return show_plan(
        file, workers=workers, settings=tuple(set_ or ()), json_target=json_, quiet=quiet, config_path=config
    )


@app.command(epilog=_EPILOG, short_help="List the scenarios that come with makespan.")
@guarded
def scenarios() -> ExitCode:
    """List the scenarios that come with makespan; their names work as SCENARIO."""
    from harness.cli.listings import list_scenarios

    return list_scenarios()


@app.command(epilog=_EPILOG, short_help="List what a step can do.")
@guarded
def tools(config: options.ConfigOption = None) -> ExitCode:
    """List the kinds of tools, and the tools that the configuration declares."""
    from harness.cli.listings import list_tools

    return list_tools(config)


@app.command(epilog=_EPILOG, short_help="List where steps can run.")
@guarded
def executors() -> ExitCode:
    """List where steps can run."""
    from harness.cli.listings import list_executors

    return list_executors()


@app.command(epilog=_EPILOG, short_help="See what is missing on this machine.")
@guarded
def doctor(config: options.ConfigOption = None) -> ExitCode:
    """See what is missing on this machine, and how to get it."""
    from harness.cli.doctor import show_diagnosis

    return show_diagnosis(config)


def main() -> None:
    """The entry point of the command."""
    from harness.report.streams import steady_streams

    steady_streams()
    app(prog_name="makespan")
