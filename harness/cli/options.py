"""Every argument and option of every command, with its help: the one table.

Rules of this module:
- Nothing heavy is imported, completions import what they need when a shell asks.
- Whether a value makes sense is judged by the configuration and the scenario, which name the command line as its place.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Final

import typer

_FILE_SUFFIXES: Final = (".yaml", ".yml", ".json")


def _policies(incomplete: str) -> list[str]:
    return _beginning_with(incomplete, importlib.import_module("executor.scheduler").POLICIES)


def _executors(incomplete: str) -> list[str]:
    return _beginning_with(incomplete, importlib.import_module("executor.backends").backend_names())


def _scenarios(incomplete: str) -> list[str]:
    """Shipped scenarios, folders, and files that could be scenarios."""
    shipped = importlib.import_module("harness.packaged").shipped_scenarios()
    folder, _, name = incomplete.rpartition("/")
    names = []
    for path in sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{name}*")):
        text = f"{folder}/{path.name}" if "/" in incomplete else path.name
        if path.is_dir():
            names.append(f"{text}/")
        elif path.suffix in _FILE_SUFFIXES:
            names.append(text)
    return [*_beginning_with(incomplete, shipped), *names]


def _beginning_with(incomplete: str, names: object) -> list[str]:
    return [str(name) for name in names if str(name).startswith(incomplete)]  # type: ignore[attr-defined]  # an iterable of names, from a module known only by name


ScenarioArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A scenario or workflow file (YAML or JSON), or the name of a shipped scenario.",
        autocompletion=_scenarios,
    ),
]
PlanArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A scenario or workflow file, or the name of a shipped scenario.",
        autocompletion=_scenarios,
    ),
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        "-e",
        metavar="NAME",
        help="Where steps run: one of `makespan executors` (default: the configuration's, threads).",
        autocompletion=_executors,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        metavar="N",
        min=1,
        help="Steps at once (default: 8; processes: the usable cores; serial: 1).",
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME",
        help="The order of starts: dataflow (default), levels, barrier or serial.",
        autocompletion=_policies,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE", help="Set an input, or `scale`. May be given several times."),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Feeds all that is drawn at random (default: the scenario's)."),
]
ResultOption = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the machine-readable result (`-`: stdout, and all text to stderr)."
    ),
]
WorkflowOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the workflow itself, every dependency in `depends_on` (`-`: stdout, and all text to stderr).",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The configuration (default: config.yaml in the current folder)."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but faults.")]
NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Print nothing while the run goes on.")]
VersionOption = Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)]
