"""Task Bench's patterns of dependencies as workflows: a grid of steps, ``width`` points side by side for ``timesteps``.

Source: Slaughter et al., "Task Bench: A parameterized benchmark for evaluating parallel runtime performance", SC 2020,
and the formulas of its core, whose graphs these equal, the random ones included.

Rules of this module:
- The step of point p at timestep t is ``t<t>p<p>``; it depends on points of timestep t − 1 alone.
- A dependency that Task Bench counts twice (a ring of one point, spread over fewer points than the radix) is one here.
- What Task Bench names by C integers (the graph, radix, set, points) is hashed as 64-bit little-endian words.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from executor.model.findings import did_you_mean
from harness.workloads.siphash import siphash_2_4

_KEY: Final = bytes([*range(1, 16), 0])
_MOST_STEPS: Final = 1_000_000
KERNELS: Final = ("sleep", "busy", "noop")


class PatternError(ValueError):
    """There is no such pattern, or not in that shape; ``fix`` says what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Shape:
    """``radix``: how many points a step depends on (nearest, spread, random_nearest); ``period``: after how many
    timesteps the dependencies repeat (spread, random_nearest); ``fraction``: the share of the possible ones
    (random_nearest). The defaults of the last three are Task Bench's.
    """

    width: int = 8
    timesteps: int = 40
    radix: int = 3
    period: int = 3
    fraction: float = 0.25


DEFAULT_SHAPE: Final = Shape()


@dataclass(frozen=True, slots=True)
class Pattern:
    """``before``: the points of the timestep before that a point depends on, by shape, set and point."""

    summary: str
    before: Callable[[Shape, int, int], Iterable[int]]


def scenario_of(pattern: str, shape: Shape, *, seconds: float = 0.001, kernel: str = "sleep") -> dict[str, Any]:
    """The pattern as the data of a scenario, each step ``seconds`` long.

    Raises:
        PatternError: there is no such pattern or kernel, or the shape makes no sense.

    """
    if kernel not in KERNELS:
        raise PatternError(f"there is no kernel {kernel!r}", did_you_mean(kernel, KERNELS, f"use {', '.join(KERNELS)}"))
    steps = []
    for name, parents in steps_of(pattern, shape):
        step: dict[str, Any] = {"step_id": name, "tool": kernel}
        if kernel != "noop":
            step["expected_seconds"] = seconds
        if parents:
            step["depends_on"] = parents
        steps.append(step)
    return {
        "scenario": pattern,
        "description": f"Task Bench's {pattern}, {shape.width} points × {shape.timesteps} timesteps",
        "steps": steps,
    }


def steps_of(pattern: str, shape: Shape) -> Iterator[tuple[str, list[str]]]:
    """Each step with those that it depends on, in the order of time.

    Raises:
        PatternError: there is no such pattern, or the shape makes no sense.

    """
    _check(pattern, shape)
    before = PATTERNS[pattern].before
    earlier: range = range(0)
    for timestep in range(shape.timesteps):
        points = _points(pattern, shape, timestep)
        number = _set(pattern, shape, timestep)
        for point in points:
            parents = [f"t{timestep - 1}p{one}" for one in before(shape, number, point) if one in earlier]
            yield f"t{timestep}p{point}", list(dict.fromkeys(parents))
        earlier = points


def _check(pattern: str, shape: Shape) -> None:
    if pattern not in PATTERNS:
        raise PatternError(
            f"there is no pattern {pattern!r}", did_you_mean(pattern, PATTERNS, f"use one of: {', '.join(PATTERNS)}")
        )
    if shape.width < 1 or shape.timesteps < 1 or shape.period < 1 or shape.radix < 0:
        raise PatternError("width, timesteps and period are from 1 on, the radix is from 0 on", "write larger numbers")
    if shape.width * shape.timesteps > _MOST_STEPS:
        raise PatternError(f"that is more than {_MOST_STEPS:,} steps", "take fewer points or timesteps")
    if pattern == "random_nearest" and shape.radix < 1:
        raise PatternError("random_nearest needs a radix of at least 1", "write --radix 1 or more")
    if not 0 <= shape.fraction <= 1:
        raise PatternError(f"the fraction {shape.fraction:g} is no share", "write a number from 0 to 1")
    if pattern in {"spread", "nearest", "random_nearest"} and shape.radix > shape.width:
        raise PatternError(f"a radix of {shape.radix} needs as many points", f"the width is {shape.width}")


def _points(pattern: str, shape: Shape, timestep: int) -> range:
    """The points that there are at a timestep."""
    if pattern == "dom":
        first = max(0, timestep + shape.width - shape.timesteps)
        return range(first, first + min(shape.width, timestep + 1, shape.timesteps - timestep))
    if pattern == "tree":
        return range(min(shape.width, 1 << min(timestep, 62)))
    return range(shape.width)


def _set(pattern: str, shape: Shape, timestep: int) -> int:
    """Which of the pattern's sets of dependencies a timestep has."""
    if pattern == "fft":
        sets = (shape.width - 1).bit_length()
        return (timestep + sets - 1) % sets if sets else 0
    return timestep % shape.period if pattern in {"spread", "random_nearest"} else 0


def _near(shape: Shape, point: int, before: int, after: int) -> range:
    return range(max(0, point - before), min(point + after, shape.width - 1) + 1)


def _periodic(shape: Shape, _set: int, point: int) -> list[int]:
    return [*_near(shape, point, 1, 1), *([shape.width - 1] if point < 1 else []),
            *([0] if point + 1 >= shape.width else [])]  # fmt: skip


def _spread(shape: Shape, number: int, point: int) -> list[int]:
    return [
        (point + index * shape.width // shape.radix + (number if index else 0)) % shape.width
        for index in range(shape.radix)
    ]


def _random_nearest(shape: Shape, number: int, point: int) -> Iterator[int]:
    for one in _near(shape, point, shape.radix // 2, (shape.radix - 1) // 2):
        word = struct.pack("<5q", 0, shape.radix, number, one, point)
        if siphash_2_4(word, _KEY) * 2.0**-64 < shape.fraction or (shape.radix > 0 and one == point):
            yield one


def _nearest(shape: Shape, _set: int, point: int) -> range:
    return _near(shape, point, shape.radix // 2, (shape.radix - 1) // 2) if shape.radix else range(0)


PATTERNS: Final[Mapping[str, Pattern]] = {
    "trivial": Pattern("no dependencies", lambda *_: ()),
    "no_comm": Pattern("chains side by side", lambda _shape, _set, point: (point,)),
    "stencil_1d": Pattern("a point and its two neighbours", lambda shape, _set, point: _near(shape, point, 1, 1)),
    "stencil_1d_periodic": Pattern("the same on a ring", _periodic),
    "dom": Pattern(
        "a wavefront that grows and shrinks", lambda _shape, _set, point: range(max(0, point - 1), point + 1)
    ),
    "tree": Pattern("a binary tree that grows to the width", lambda _shape, _set, point: (point // 2,)),
    "fft": Pattern(
        "the butterfly of a fast Fourier transform",
        lambda _shape, number, point: (point - (1 << number), point, point + (1 << number)),
    ),
    "all_to_all": Pattern("every point of the timestep before", lambda shape, _set, _point: range(shape.width)),
    "nearest": Pattern("the `radix` nearest points", _nearest),
    "spread": Pattern("`radix` points spread over the width", _spread),
    "random_nearest": Pattern("a random share of the `radix` nearest points", _random_nearest),
}
