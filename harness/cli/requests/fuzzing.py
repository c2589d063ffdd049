"""What ``fuzz`` is asked for."""

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.cli.requests.shared import QuietOption


@dataclass(frozen=True)
class FuzzRequest:
    """What `makespan fuzz` is asked for."""

    dags: Annotated[
        int | None, typer.Option("--dags", metavar="N", min=1, help="How many workflows to play (default: 1000).")
    ] = None
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="M", min=0.001, help="How long to play, instead of how many.")
    ] = None
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            "-b",
            metavar="NAME",
            help="virtual: simulate, with faults injected. Any other executor: play for real, in milliseconds each.",
        ),
    ] = "virtual"
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed plays the same workflows.")] = 0
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes that play side by side.")] = 1
    size: Annotated[
        int, typer.Option("--size", metavar="N", min=1, max=10_000, help="The most steps of a workflow.")
    ] = 20
    features: Annotated[
        str | None,
        typer.Option("--features", metavar="A,B", help="What may occur in a workflow (default: everything)."),
    ] = None
    no_faults: Annotated[bool, typer.Option("--no-faults", help="Inject no faults on virtual.")] = False
    patience_seconds: Annotated[
        float,
        typer.Option("--patience", metavar="S", min=0.1, help="Seconds after which a real run counts as hanging."),
    ] = 20.0
    replay: Annotated[
        str | None,
        typer.Option("--replay", metavar="FILE", help="Play the workflow of a replay file again, on virtual."),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="MODULE:NAME",
            help="Test a scheduler of your own instead: a function run(graph, call, workers) or a "
            "SchedulerConformance.",
        ),
    ] = None
    out: Annotated[
        str, typer.Option("--out", metavar="FOLDER", help="Where counterexamples are written, if there are any.")
    ] = "fuzz-findings"
    quiet: QuietOption = False
