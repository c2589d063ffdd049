"""The plans of a report: one graph for each workflow that its cells ran, or a summary by level of a large one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple

from executor.record.timeline import NANOSECONDS
from harness.plain_text import duration_text
from harness.report.html.plan_graph import Layout, edges_of, is_drawable, layout, levels_of
from harness.report.html.report_cells import Cell
from harness.report.html.safe_text import visible

_NAME_CHARACTERS: Final = 19
_LEVELS_SHOWN: Final = 60


class Node(NamedTuple):
    """A step as it stands in the drawing; ``y`` is its top."""

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


def plans_of(cells: Sequence[Cell], preferred: Cell) -> list[Plan]:
    """One plan for each different graph; of cells with the same one, the preferred or else the first.

    Raises:
        DocumentError: the dependencies of a cell form a cycle.

    """
    found: dict[tuple[object, ...], int] = {}
    for number, cell in enumerate(cells):
        timeline = cell.timeline
        key = (cell.scenario, tuple(timeline.step_ids), tuple(timeline.data_parents), tuple(timeline.order_parents))
        if key not in found or cell is preferred:
            found[key] = number
    return [_plan(cells[number], number) for number in found.values()]


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
        short = name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…"
        title = f"{name}: {status}, {time}{', on the critical path' if step_id in critical else ''}"
        nodes.append(Node(step, short, title, place.x, place.y - place.height / 2, status, time, step_id in critical))
    return nodes


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
