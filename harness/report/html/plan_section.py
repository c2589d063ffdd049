"""The plans of a report: one graph for each workflow that its cells ran, or a summary by level of a large one. Pure.

Rules of this module:
- A step's level is the longest chain of edges before it; a nested step is one level behind its caller.
- An edge over several levels bends through a place of its own in each, so that it passes no step.
- A graph with more steps or edges than a person can follow is summed up by level instead.
- No recursion; O(sweeps · (steps + edges · levels)).

Source: the layered drawing of Sugiyama, Tagawa and Toda (1981), with the barycentre heuristic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final, Literal, NamedTuple
from unicodedata import east_asian_width

from executor.record.timeline import NANOSECONDS, Timeline
from harness.plain_text import duration_text
from harness.report.html.report_cells import Cell
from harness.report.html.safe_text import visible
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
_NAME_WIDTH: Final = NODE_WIDTH - 18
_FONT_PIXELS: Final = 12
_LEVELS_SHOWN: Final = 60
_WIDE_LETTERS: Final = frozenset("mwMW@%&+<>=~#")
_NARROW_LETTERS: Final = frozenset("fijlrtI.,:;'|!-()[] /\\")


@dataclass(slots=True)
class Place:
    """Where a step (or, with ``step`` -1, the bend of a long edge) is. Pixels; ``y`` is its middle."""

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


class Node(NamedTuple):
    """A step as it is in the drawing; ``y`` is its top."""

    step: int
    name: str
    title: str
    x: float
    y: float
    status: str
    time: str
    critical: bool


class Line(NamedTuple):
    """An edge: the data of its path, its kind, and whether both ends lie next to each other on the critical path."""

    path: str
    kind: str
    critical: bool


class Level(NamedTuple):
    """A level, or several where there are many, in figures; ``percent`` compares the number of steps."""

    name: str
    steps: int
    percent: float
    work: str
    longest: str
    not_succeeded: int


class Plan(NamedTuple):
    """``nodes`` and ``lines`` are empty where the graph is too large to draw. ``cell``: whose run colours it."""

    cell: int
    label: str
    steps: int
    edges: int
    depth: int
    width: int
    height: int
    nodes: list[Node]
    lines: list[Line]
    levels: list[Level]


def plans_of(cells: Sequence[Cell], preferred: Sequence[Cell]) -> list[Plan]:
    """One plan for each different graph; of cells with the same one, a preferred or else the first.

    Raises:
        DocumentError: the dependencies of a cell form a cycle.

    """
    found: dict[tuple[object, ...], int] = {}
    for number, cell in enumerate(cells):
        timeline = cell.timeline
        key = (cell.scenario, tuple(timeline.step_ids), tuple(timeline.data_parents), tuple(timeline.order_parents))
        if key not in found or any(cell is one for one in preferred):
            found[key] = number
    return [_plan(cells[number], number) for number in found.values() if cells[number].timeline.step_ids]


def _plan(cell: Cell, number: int) -> Plan:
    timeline = cell.timeline
    edges = edges_of(timeline)
    levels = levels_of(len(timeline.step_ids), edges)
    index = cell.index
    seconds = [sum(map(index.run_nanoseconds, tries)) / NANOSECONDS for tries in index.tries]
    depth = max(levels, default=-1) + 1
    summed = _levels(cell, levels, seconds)
    if not is_drawable(len(levels), len(edges)):
        return Plan(number, cell.label, len(levels), len(edges), depth, 0, 0, [], [], summed)
    drawing = layout(levels, edges)
    return Plan(
        number, cell.label, len(levels), len(edges), depth, drawing.width, drawing.height,
        _nodes(cell, drawing, seconds), _lines(cell, drawing), summed,
    )  # fmt: skip


def _nodes(cell: Cell, drawing: Layout, seconds: Sequence[float]) -> list[Node]:
    critical = {part.step_id for part in cell.summary.critical_path}
    nodes = []
    for step, step_id in enumerate(cell.timeline.step_ids):
        place = drawing.places[step]
        status = cell.timeline.statuses[step]
        time = duration_text(seconds[step]) if cell.result["steps"][step]["attempts"] else status
        name = visible(step_id)
        short = fitting(name, _NAME_WIDTH)
        title = f"{name}: {status}, {time}{', on the critical path' if step_id in critical else ''}"
        nodes.append(Node(step, short, title, place.x, place.y - place.height / 2, status, time, step_id in critical))
    return nodes


def fitting(name: str, width: float) -> str:
    """The name, or as much of it as fits into so many pixels whatever the font: estimated, and rather too little."""
    if sum(map(_letter_pixels, name)) <= width:
        return name
    left = width - _letter_pixels("…")
    for place, letter in enumerate(name):
        left -= _letter_pixels(letter)
        if left < 0:
            return f"{name[:place]}…"
    return name


def _letter_pixels(letter: str) -> float:
    """Of a sans-serif font in the size of a node's name. The widest in use, DejaVu Sans, is taken."""
    if east_asian_width(letter) in "WF":
        return 1.05 * _FONT_PIXELS
    if letter in _NARROW_LETTERS:
        return 0.42 * _FONT_PIXELS
    if not letter.isascii() or letter in _WIDE_LETTERS:
        return 1.0 * _FONT_PIXELS
    return (0.79 if letter.isupper() else 0.65) * _FONT_PIXELS


def _lines(cell: Cell, drawing: Layout) -> list[Line]:
    path = [part.step_id for part in cell.summary.critical_path]
    pairs = set(pairwise(path))
    ids = cell.timeline.step_ids
    lines = [
        Line(drawing.path(edge), edge.kind, (ids[edge.source], ids[edge.target]) in pairs) for edge in drawing.edges
    ]
    return sorted(lines, key=lambda line: line.critical)


def _levels(cell: Cell, levels: Sequence[int], seconds: Sequence[float]) -> list[Level]:
    members: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    for step, level in enumerate(levels):
        members[level].append(step)
    together = -(-len(members) // _LEVELS_SHOWN) or 1
    if together > 1:
        members = [
            list(chain.from_iterable(members[first : first + together])) for first in range(0, len(members), together)
        ]
    widest = max(map(len, members), default=1)
    return [
        Level(
            str(number) if together == 1 else f"{number * together} and {together - 1} more",
            len(steps),
            100 * len(steps) / widest,
            duration_text(sum(seconds[step] for step in steps)),
            duration_text(max(seconds[step] for step in steps)),
            sum(1 for step in steps if cell.timeline.statuses[step] != "succeeded"),
        )
        for number, steps in enumerate(members)
    ]
