"""Shapes of graphs: which earlier steps a step depends on, and the sources that decide it.

Rules of this module:
- Parents are drawn from the steps before, so every graph is acyclic and cutting off the last steps leaves a graph.
- All choices go through a :class:`Source`, so that Hypothesis and :class:`random.Random` drive the same code. Smaller
  numbers and earlier options are simpler.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Source(Protocol):
    """Where choices come from."""

    def integer(self, low: int, high: int) -> int:
        """A number in [low, high]; the lowest is the simplest."""
        ...

    def choice(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""
        ...

    def chance(self, percent: int) -> bool:
        """True in about so many of a hundred cases; False is simpler."""
        ...

    def local(self, make: Callable[[Source], T]) -> T:
        """What ``make`` draws, kept together: it can be shrunk or dropped as one."""
        ...


class RandomSource:
    """Choices of a seeded generator, without Hypothesis."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - it draws test cases, nothing secret

    def integer(self, low: int, high: int) -> int:
        """A number in [low, high]."""
        return low + int(self._random() * (high - low + 1))

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self._random() * len(options))]

    def chance(self, percent: int) -> bool:
        """True in about so many of a hundred cases."""
        return self._random() * 100 < percent

    def local(self, make: Callable[[Source], T]) -> T:
        """What ``make`` draws."""
        return make(self)


class Shape:
    """A shape of ``size`` steps. Calls of :meth:`parents` come in order, one for each step."""

    def __init__(self, source: Source, size: int) -> None:
        self.size = size

    def parents(self, source: Source, step: int) -> list[int]:
        """The earlier steps that this one depends on."""
        raise NotImplementedError


class ErdosRenyi(Shape):
    """Any earlier step may be a parent; the number of edges is drawn for each step."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.most = source.integer(1, 4)

    def parents(self, source: Source, step: int) -> list[int]:
        """Up to ``most`` earlier steps, by how far back they are."""
        count = source.integer(0, min(self.most, step))
        return [step - source.integer(1, step) for _ in range(count)]


class Chain(Shape):
    """One after another."""

    def parents(self, source: Source, step: int) -> list[int]:
        """The step before."""
        return [step - 1] if step else []


class FanOut(Shape):
    """One, then all others."""

    def parents(self, source: Source, step: int) -> list[int]:
        """The first step."""
        return [0] if step else []


class FanIn(Shape):
    """All others, then one."""

    def parents(self, source: Source, step: int) -> list[int]:
        """Everything, for the last step."""
        return list(range(step)) if step == self.size - 1 else []


class Layered(Shape):
    """Layers of one width; each step has one to three parents in the layer before."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.width = source.integer(1, max(1, min(8, size // 2)))

    def parents(self, source: Source, step: int) -> list[int]:
        """Some of the layer before."""
        layer = step // self.width
        if layer == 0:
            return []
        first = (layer - 1) * self.width
        return [first + source.integer(0, self.width - 1) for _ in range(source.integer(1, 3))]


class Diamonds(Shape):
    """Diamonds in a row: one, then a few side by side, then one that joins them."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.middle = source.integer(2, 5)

    def parents(self, source: Source, step: int) -> list[int]:
        """The last tip for the middle, the middle for the next tip."""
        round_, place = divmod(step, self.middle + 1)
        tip = round_ * (self.middle + 1)
        if place:
            return [tip]
        return list(range(tip - self.middle, tip)) if step else []


class SeriesParallel(Shape):
    """Built step by step: after the last one, beside it, or joining all open ends."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.before: list[int] = []
        self.ends: list[int] = []

    def parents(self, source: Source, step: int) -> list[int]:
        """Those of a series, of a parallel, or of a join."""
        how = source.choice(["after", "beside", "join"]) if step else "beside"
        if how == "after":
            self.before = [step - 1]
        elif how == "join":
            self.before = list(self.ends)
        self.ends = [end for end in self.ends if end not in self.before] + [step]
        return list(self.before)


class OutTree(Shape):
    """A tree from its root."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.branches = source.integer(2, 4)

    def parents(self, source: Source, step: int) -> list[int]:
        """The node above."""
        return [(step - 1) // self.branches] if step else []


class InTree(Shape):
    """A reduction: leaves first, then each step joins the two oldest open ones."""

    def parents(self, source: Source, step: int) -> list[int]:
        """Two that no step has joined yet."""
        leaves = (self.size + 1) // 2
        first = 2 * (step - leaves)
        return [other for other in (first, first + 1) if other < step] if step >= leaves else []


class Stencil(Shape):
    """Each step needs its place of the layer before and the two beside it."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.width = source.integer(2, 6)

    def parents(self, source: Source, step: int) -> list[int]:
        """Up to three of the layer before."""
        layer, place = divmod(step, self.width)
        if layer == 0:
            return []
        first = (layer - 1) * self.width
        return [first + other for other in (place - 1, place, place + 1) if 0 <= other < self.width]


class Fft(Shape):
    """The butterflies of a fast Fourier transform."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.bits = source.integer(1, 3)

    def parents(self, source: Source, step: int) -> list[int]:
        """Itself and its partner in the layer before."""
        width = 1 << self.bits
        layer, place = divmod(step, width)
        if layer == 0:
            return []
        first = (layer - 1) * width
        return [first + place, first + (place ^ (1 << ((layer - 1) % self.bits)))]


SHAPES: dict[str, Callable[[Source, int], Shape]] = {
    "erdos_renyi": ErdosRenyi,
    "chain": Chain,
    "fan_out": FanOut,
    "fan_in": FanIn,
    "layered": Layered,
    "diamond": Diamonds,
    "series_parallel": SeriesParallel,
    "out_tree": OutTree,
    "in_tree": InTree,
    "stencil": Stencil,
    "fft": Fft,
}
