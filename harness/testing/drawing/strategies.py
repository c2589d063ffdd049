"""Hypothesis strategies for whole runs and for the order in which completions arrive.

Rules of this module:
- The drawing itself is in :mod:`harness.testing.drawing.generator`; here it is only driven by Hypothesis.
- Well-shrinking: what belongs to one step is drawn together, parents by how far back they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from hypothesis import strategies as st

from harness.testing.drawing.generator import DEFAULT_FEATURES, TOOL, DrawnRun, draw_run, features_of
from harness.testing.drawing.shapes import SHAPES, Source

__all__ = ["Arrival", "EventSchedule", "HypothesisSource", "event_schedules", "workflows"]

T = TypeVar("T")


class HypothesisSource:
    """Choices drawn by Hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        """A number in [low, high], shrinking towards the lowest."""
        return self._draw(_integers(low, high))

    def choice(self, options: Sequence[T]) -> T:
        """One of the options, shrinking towards the first."""
        return self._draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        """True in about so many of a hundred cases, shrinking towards False."""
        return self._draw(_CHANCES) >= 100 - percent

    def local(self, make: Callable[[Source], T]) -> T:
        """What ``make`` draws, as one span of the example."""
        return self._draw(_made_by(make))


_CHANCES = st.integers(0, 99)
# A strategy made once is a strategy validated once: a run takes hundreds of draws.
_integers = lru_cache(maxsize=1024)(st.integers)


@st.composite
def _made_by(draw: st.DrawFn, make: Callable[[Source], T]) -> T:
    return make(HypothesisSource(draw))


def workflows(
    *,
    min_steps: int = 1,
    max_steps: int = 20,
    features: Collection[str] = DEFAULT_FEATURES,
    shapes: Collection[str] = tuple(SHAPES),
    tool: str = TOOL,
) -> st.SearchStrategy[DrawnRun]:
    """Whole runs: a workflow and its behaviour, as a :class:`harness.testing.drawing.generator.DrawnRun`.

    Args:
        min_steps: the fewest top-level steps.
        max_steps: the most; calls come on top.
        features: what may occur, of :data:`harness.testing.drawing.generator.FEATURES`.
        shapes: the graphs, of :data:`harness.testing.drawing.shapes.SHAPES`.
        tool: the tool that every step names.

    Raises:
        ValueError: a feature or a shape is unknown, or the numbers of steps are no range.

    """
    features_of(features)
    unknown = sorted(set(shapes) - set(SHAPES))
    if unknown or not shapes:
        raise ValueError(f"no such shape: {', '.join(unknown) or 'none given'}; there are {', '.join(SHAPES)}")
    if not 1 <= min_steps <= max_steps:
        raise ValueError(f"from {min_steps} to {max_steps} steps is no range; use 1 ≤ min_steps ≤ max_steps")

    def make(source: Source) -> DrawnRun:
        return draw_run(source, min_steps=min_steps, max_steps=max_steps, features=features, shapes=shapes, tool=tool)

    return _made_by(make)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Completions that arrive at one instant, ``after_ns`` later than the last ones, in this order."""

    after_ns: int
    step_ids: tuple[str, ...]


@dataclass
class EventSchedule:
    """The order in which completions arrive, decided before it is known what will run.

    ``choices`` are (time until then, picks); each pick is taken modulo what is running. Used up, it lets one step
    through at a time, the longest-running first, a nanosecond apart.
    """

    choices: tuple[tuple[int, tuple[int, ...]], ...]
    used: int = field(default=0, compare=False)

    def next(self, running: Sequence[str]) -> Arrival:
        """Which of the running steps (in order of their starts) complete next. Raises ValueError if none runs."""
        if not running:
            raise ValueError("nothing is running, so nothing can complete")
        if self.used >= len(self.choices):
            return Arrival(1, (running[0],))
        after, picks = self.choices[self.used]
        self.used += 1
        left = list(running)
        return Arrival(after, tuple(left.pop(pick % len(left)) for pick in picks[: len(running)]))


def event_schedules(*, max_events: int = 30, max_together: int = 4) -> st.SearchStrategy[EventSchedule]:
    """Orders in which completions arrive: one by one or several in one instant (no time may pass between instants
    either). Shrinks to first started, first done.
    """
    pick = st.integers(0, 7)
    together = st.lists(pick, min_size=1, max_size=max_together).map(tuple)
    event = st.tuples(st.integers(0, 3), together)
    return st.lists(event, max_size=max_events).map(lambda choices: EventSchedule(tuple(choices)))
