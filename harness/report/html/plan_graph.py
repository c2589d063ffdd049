"""The plan as a graph: levels, an order within each that crosses few edges, places, and the drawing's data. Pure.

Rules of this module:
- A step's level is the longest chain of edges before it; a nested step stands one level behind its caller.
- An edge over several levels bends through a place of its own in each, so that it passes no step.
- A graph with more steps or edges than a person can follow is summed up by level instead.
- No recursion; O(sweeps · (steps + edges · levels)).

Source: the layered drawing of Sugiyama, Tagawa and Toda (1981), with the barycentre heuristic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from executor.record.timeline import Timeline
from harness.result import DocumentError

EdgeKind = Literal["data", "order", "call"]

STEPS_DRAWN: Final = 400
EDGES_DRAWN: Final = 1500
NODE_WIDTH: Final = 142
NODE_HEIGHT: Final = 34
_BEND_HEIGHT: Final = 6
_LEVEL_GAP: Final = 42
_ROW_GAP: Final = 14
_MARGIN: Final = 12
_SWEEPS: Final = 8


@dataclass(slots=True)
class Place:
    """Where a step (or, with ``step`` -1, the bend of a long edge) stands. Pixels; ``y`` is its middle."""

    step: int
    level: int
    y: float = 0.0
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)

    @property
    def height(self) -> int:
        """Pixels that it takes."""
        return NODE_HEIGHT if self.step >= 0 else _BEND_HEIGHT

    @property
    def x(self) -> int:
        """Its left edge."""
        return _MARGIN + self.level * (NODE_WIDTH + _LEVEL_GAP)


@dataclass(frozen=True, slots=True)
class Edge:
    """From a step to one that depends on it, with the places that it bends through."""

    source: int
    target: int
    kind: EdgeKind
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """``places[:steps]`` are the steps in file order, the others bends."""

    places: tuple[Place, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int

    def path(self, edge: Edge) -> str:
        """The edge as the data of an SVG path."""
        source = self.places[edge.source]
        commands = [f"M{source.x + NODE_WIDTH} {source.y:.1f}"]
        x, y = float(source.x + NODE_WIDTH), source.y
        for number in (*edge.places, edge.target):
            place = self.places[number]
            half = (x + place.x) / 2
            commands.append(f"C{half:.1f} {y:.1f} {half:.1f} {place.y:.1f} {place.x} {place.y:.1f}")
            x, y = place.x, place.y
            if place.step < 0:
                x += NODE_WIDTH
                commands.append(f"H{x:g}")
        return "".join(commands)


def edges_of(timeline: Timeline) -> list[tuple[int, int, EdgeKind]]:
    """Every edge once; one of data counts before one of order."""
    edges: dict[tuple[int, int], EdgeKind] = {}
    for step, caller in enumerate(timeline.nested_in):
        if caller >= 0:
            edges[caller, step] = "call"
    kinds: tuple[tuple[Sequence[Sequence[int]], EdgeKind], ...] = (
        (timeline.data_parents, "data"),
        (timeline.order_parents, "order"),
    )
    for parents, kind in kinds:
        for step, its_parents in enumerate(parents):
            for parent in its_parents:
                edges.setdefault((parent, step), kind)
    return [(source, target, kind) for (source, target), kind in edges.items()]


def levels_of(steps: int, edges: Sequence[tuple[int, int, EdgeKind]]) -> list[int]:
    """The level of each step.

    Raises:
        DocumentError: the edges form a cycle.

    """
    after: list[list[int]] = [[] for _ in range(steps)]
    waiting_for = [0] * steps
    for source, target, _ in edges:
        after[source].append(target)
        waiting_for[target] += 1
    levels = [0] * steps
    queue = [step for step in range(steps) if waiting_for[step] == 0]
    for step in queue:
        for target in after[step]:
            levels[target] = max(levels[target], levels[step] + 1)
            waiting_for[target] -= 1
            if waiting_for[target] == 0:
                queue.append(target)
    if len(queue) < steps:
        stuck = next(step for step in range(steps) if waiting_for[step])
        raise DocumentError(f"the dependencies of step number {stuck} (from 0) form a cycle")
    return levels


def is_drawable(steps: int, edges: int) -> bool:
    """Whether a person can follow the drawing."""
    return 0 < steps <= STEPS_DRAWN and edges <= EDGES_DRAWN


def layout(levels: Sequence[int], edges: Sequence[tuple[int, int, EdgeKind]]) -> Layout:
    """Places for all steps and edges."""
    places = [Place(step, level) for step, level in enumerate(levels)]
    routed = [_route(places, source, target, kind) for source, target, kind in edges]
    columns: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    for number, place in enumerate(places):
        columns[place.level].append(number)
    for sweep in range(_SWEEPS):
        _order(places, columns, forward=sweep % 2 == 0)
    for column in columns:
        _stack(places, column)
    for sweep in range(_SWEEPS):
        _straighten(places, columns, forward=sweep % 2 == 0)
    top = min((place.y - place.height / 2 for place in places), default=0.0)
    for place in places:
        place.y += _MARGIN - top
    bottom = max((place.y + place.height / 2 for place in places), default=0.0)
    width = 2 * _MARGIN + len(columns) * (NODE_WIDTH + _LEVEL_GAP) - _LEVEL_GAP
    return Layout(tuple(places), tuple(routed), width, round(bottom) + _MARGIN)


def _route(places: list[Place], source: int, target: int, kind: EdgeKind) -> Edge:
    bends: list[int] = []
    before = source
    for level in range(places[source].level + 1, places[target].level):
        bends.append(len(places))
        places.append(Place(-1, level))
        _link(places, before, bends[-1])
        before = bends[-1]
    _link(places, before, target)
    return Edge(source, target, kind, tuple(bends))


def _link(places: list[Place], source: int, target: int) -> None:
    places[source].after.append(target)
    places[target].before.append(source)


def _order(places: list[Place], columns: list[list[int]], *, forward: bool) -> None:
    """Sort each column by the mean rank of its neighbours in the one before."""
    rank = {number: float(row) for column in columns for row, number in enumerate(column)}
    for column in columns if forward else reversed(columns):
        mean = {}
        for number in column:
            neighbours = places[number].before if forward else places[number].after
            mean[number] = sum(rank[one] for one in neighbours) / len(neighbours) if neighbours else rank[number]
        column.sort(key=mean.__getitem__)
        for row, number in enumerate(column):
            rank[number] = float(row)


def _stack(places: list[Place], column: list[int]) -> None:
    """Below each other, around y = 0."""
    y = 0.0
    for number in column:
        places[number].y = y + places[number].height / 2
        y += places[number].height + _ROW_GAP
    for number in column:
        places[number].y -= (y - _ROW_GAP) / 2


def _straighten(places: list[Place], columns: list[list[int]], *, forward: bool) -> None:
    """Move each place towards its neighbours, keep the order, and leave no two on each other."""
    for column in columns if forward else reversed(columns):
        wished = []
        for number in column:
            neighbours = places[number].before if forward else places[number].after
            ys = [places[one].y for one in neighbours] or [places[number].y]
            wished.append(sum(ys) / len(ys))
        down, up = _pushed(places, column, wished)
        for row, number in enumerate(column):
            places[number].y = (down[row] + up[row]) / 2


def _pushed(places: list[Place], column: list[int], wished: list[float]) -> tuple[list[float], list[float]]:
    """The wishes with overlaps resolved downwards, and upwards; both keep the distance, so does their mean."""
    down, up = list(wished), list(wished)
    for row in range(1, len(column)):
        down[row] = max(down[row], down[row - 1] + _distance(places, column, row))
    for row in range(len(column) - 2, -1, -1):
        up[row] = min(up[row], up[row + 1] - _distance(places, column, row + 1))
    return down, up


def _distance(places: list[Place], column: list[int], row: int) -> float:
    return (places[column[row - 1]].height + places[column[row]].height) / 2 + _ROW_GAP
