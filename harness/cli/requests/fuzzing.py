"""What ``fuzz`` is asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests.parameters import option
from harness.cli.requests.shared import QuietOption


@dataclass(frozen=True, eq=False, repr=False)
class FuzzRequest:
    """What `makespan fuzz` is asked for."""

    dags: Annotated[
        int | None, option("--dags N", "How many workflows (or programs) to play (default: 1000).", min=1)
    ] = None
    minutes: Annotated[float | None, option("--minutes M", "How long to play, instead of how many.", min=0.001)] = None
    backend: Annotated[
        str,
        option(
            "--backend -b NAME",
            "virtual: simulate, with faults injected. Any other executor: play for real, in milliseconds each.",
        ),
    ] = "virtual"
    seed: Annotated[int, option("--seed N", "The same seed plays the same workflows.", min=0)] = 0
    jobs: Annotated[int, option("--jobs -j N", "Processes that play side by side.", min=1)] = 1
    size: Annotated[int, option("--size N", "The most steps of a workflow.", min=1, max=10_000)] = 20
    features: Annotated[
        str | None,
        option("--features A,B", "What may occur in a workflow (default: everything)."),
    ] = None
    no_faults: Annotated[bool, option("--no-faults", "Inject no faults on virtual.")] = False
    patience_seconds: Annotated[
        float, option("--patience S", "Seconds after which a real run counts as hanging.", min=0.1)
    ] = 20.0
    replay: Annotated[
        str | None,
        option(
            "--replay FILE",
            "Play the workflow of a replay file again, on virtual; of a case of --target, its scheduler.",
        ),
    ] = None
    target: Annotated[
        str | None,
        option(
            "--target MODULE:NAME",
            "Test a scheduler of your own instead: a function run(graph, call, workers) or a SchedulerConformance.",
        ),
    ] = None
    analysis: Annotated[
        bool,
        option("--analysis", "Play random concurrent programs instead, and score what `analyze` says of their traces."),
    ] = False
    out: Annotated[
        str,
        option("--out FOLDER", "Where counterexamples are written, if there are any."),
    ] = "fuzz-findings"
    quiet: QuietOption = False
