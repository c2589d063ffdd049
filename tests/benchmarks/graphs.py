"""The graphs that the benchmarks run: as lists of parents, so that yardsticks and makespan get the very same ones."""

from __future__ import annotations

import random

Parents = list[tuple[int, ...]]


def wide(count: int) -> Parents:
    """``count`` independent steps."""
    return [()] * count


def chain(count: int) -> Parents:
    """Each step after the one before it."""
    return [(), *((place,) for place in range(count - 1))]


def layered(layers: int, width: int, parents_each: int = 3, seed: int = 1) -> Parents:
    """Layers of ``width`` steps, each with random parents in the layer before."""
    draw = random.Random(seed)
    parents: Parents = [()] * width
    for layer in range(1, layers):
        first = (layer - 1) * width
        parents += [tuple(sorted({first + draw.randrange(width) for _ in range(parents_each)})) for _ in range(width)]
    return parents


def stencil(width: int, layers: int) -> Parents:
    """Each step after its left, own and right neighbour in the layer before (Task Bench's stencil_1d)."""
    parents: Parents = [()] * width
    for layer in range(1, layers):
        first = (layer - 1) * width
        parents += [
            tuple(first + place + shift for shift in (-1, 0, 1) if 0 <= place + shift < width) for place in range(width)
        ]
    return parents
