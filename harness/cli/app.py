"""``makespan``: its commands, in the order of its help. What options they take stands in ``harness.cli.commands``.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import typer

from harness.cli.command_groups import EPILOG, LightGroup
from harness.cli.commands import dashboards, listings, local_llm, past, running, traces
from harness.cli.fuzz import fuzz_command
from harness.cli.guard import guarded
from harness.cli.options.common import VersionOption

_COMMANDS: Final[tuple[tuple[str, Callable[..., None], str], ...]] = (
    ("run", running.run, "Run a scenario once."),
    ("bench", running.bench, "Measure scenarios on many executors, side by side."),
    ("analyze", traces.analyze, "Say what a trace lost, why, and what another schedule would buy."),
    ("simulate", traces.simulate, "Say what would change a run, on the virtual clock."),
    ("history", past.history, "List the runs that were kept, accept or reject them."),
    ("compare", past.compare, "Say what changed between two runs, and whether it is real."),
    ("report", past.report, "Write a report on runs."),
    ("plan", running.plan, "Show a plan and what the rules say of it."),
    ("scenarios", listings.scenarios, "List the scenarios that come with makespan."),
    ("tools", listings.tools, "List what a step can do."),
    ("executors", listings.executors, "List where steps can run."),
    ("doctor", listings.doctor, "See what is missing on this machine."),
    ("fuzz", guarded(fuzz_command), "Play random workflows against scheduler and executors."),
)

app = typer.Typer(
    name="makespan",
    cls=LightGroup,
    help="Run workflows side by side, and learn how fast they were, could have been, and where each lost second went.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def makespan(version: VersionOption = False) -> None:
    """Run workflows side by side, and learn how fast they were, could have been, and where each lost second went."""
    if version:
        from harness.version import package_version

        typer.echo(f"makespan {package_version()}")
        raise typer.Exit


for _name, _command, _short_help in _COMMANDS:
    app.command(_name, epilog=EPILOG, short_help=_short_help)(_command)
app.add_typer(local_llm.group)
app.add_typer(dashboards.group)


def main() -> None:
    """The entry point of the command."""
    from harness.report.terminal.streams import steady_streams

    steady_streams()
    app(prog_name="makespan")
