"""What ``workloads make`` and ``workloads metg`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests import completion
from harness.cli.requests.parameters import argument, option
from harness.cli.requests.shared import WorkersOption

PatternArgument = Annotated[str, argument("PATTERN", "One of `makespan workloads list`.")]
WidthOption = Annotated[int, option("--width N", "Steps side by side.", min=1)]
TimestepsOption = Annotated[int, option("--timesteps N", "Steps one after the other.", min=1)]
RadixOption = Annotated[
    int, option("--radix N", "How many steps one depends on, in nearest, spread and random_nearest.", min=0)
]
PeriodOption = Annotated[
    int, option("--period N", "After how many timesteps dependencies repeat, in spread and random_nearest.", min=1)
]
FractionOption = Annotated[
    float, option("--fraction F", "The share of the possible dependencies in random_nearest.", min=0, max=1)
]


@dataclass(frozen=True, eq=False, repr=False)
class MakeRequest:
    """What `makespan workloads make` is asked for."""

    pattern: PatternArgument
    width: WidthOption = 8
    timesteps: TimestepsOption = 40
    radix: RadixOption = 3
    period: PeriodOption = 3
    fraction: FractionOption = 0.25
    seconds: Annotated[float, option("--seconds S", "How long each step is.", min=0)] = 0.001
    kernel: Annotated[str, option("--kernel NAME", "What a step does: sleep, busy or noop.")] = "sleep"
    save: Annotated[str, option("--save FILE", "Where the scenario is written (.yaml or .json; `-`: stdout).")] = "-"


@dataclass(frozen=True, eq=False, repr=False)
class MetgRequest:
    """What `makespan workloads metg` is asked for."""

    pattern: PatternArgument = "stencil_1d"
    executor: Annotated[
        str,
        option(
            "--executor -e NAME", "Where steps run: one of `makespan executors`.", autocompletion=completion.executors
        ),
    ] = "threads"
    workers: WorkersOption = None
    width: WidthOption = 8
    timesteps: TimestepsOption = 40
    radix: RadixOption = 3
    period: PeriodOption = 3
    fraction: FractionOption = 0.25
    kernel: Annotated[str, option("--kernel NAME", "What a step does: sleep or busy.")] = "sleep"
    efficiency: Annotated[
        float, option("--efficiency F", "The share of the makespan that has to be work.", min=0.01, max=0.99)
    ] = 0.5
    repetitions: Annotated[int, option("--repetitions -n N", "Runs of each duration.", min=1, max=10_000)] = 5
    json_target: Annotated[str | None, option("--json FILE", "Write what was measured as JSON (`-`: stdout).")] = None
