"""What plans are made of, and where they go: of ``plan``, and of ``run --task``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import completion

TaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", metavar="TEXT", help="Plan that sentence and run the plan, instead of a file."),
]
PlannerOption = Annotated[
    str | None,
    typer.Option(
        "--planner",
        metavar="NAME",
        help="Who plans a task: rules, which need no model, or llm (default: the configuration's, rules).",
    ),
]
SaveOption = Annotated[
    str | None,
    typer.Option("--save", metavar="FILE", help="Write the plan as a scenario file (.yaml or .json) that can be run."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Run the plan of a task without asking.")]
PlanArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A scenario or workflow file, the name of a shipped scenario, or a task in quotation marks.",
        autocompletion=completion.scenarios,
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
