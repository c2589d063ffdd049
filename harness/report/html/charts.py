"""The charts that need no script: lost time, speedup, efficiency, distributions. Geometry here, marks in the template.

Rules of this module:
- Pure. Lengths along a row are per cent of its width, so that a drawing fits any page; line charts are in pixels of
  their own view box.
- Each chart holds the numbers that its table shows.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from executor.record.timeline import NANOSECONDS
from harness.analysis.families import families
from harness.plain_text import duration_text, interval_text
from harness.report.html.palette import KINDS, Kind, kind_of
from harness.report.html.report_cells import Cell, headline
from harness.report.html.safe_text import share_text, visible

CHART_WIDTH: Final = 460
CHART_HEIGHT: Final = 290
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 16, 40
SERIES_STYLES: Final = 6
FAMILIES_SHOWN: Final = 16
DOTS_SHOWN: Final = 120
CELLS_COMPARED: Final = 3
# Below that many pixels of the line charts two numbers on the axis touch.
_WORKERS_APART: Final = 24
_LABEL_LIMIT: Final = 60
_NUMBERED: Final = re.compile(r"#[0-9]+$")


class Tick(NamedTuple):
    """``place_percent`` from the axis' beginning. ``is_minor``: left out where there is little space."""

    place_percent: float
    text: str
    is_minor: bool = False


def round_step(span: float, wanted: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that makes about ``wanted`` ticks over the span (> 0)."""
    rough = span / max(1, wanted)
    power = float(10 ** math.floor(math.log10(rough)))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def values(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round values within [low, high]."""
    if high <= low:
        return [low]
    step = round_step(high - low, wanted)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def time_ticks(low: float, high: float, wanted: int = 6) -> list[Tick]:
    """Ticks in one unit that fits the axis. Seconds."""
    unit, size = time_unit(high)
    places = values(low, high, wanted)
    # As many digits as tell two ticks apart, however far from zero they are.
    step = (places[1] - places[0]) / size if len(places) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return [
        Tick(
            100 * (value - low) / (high - low), f"{value / size:,.{decimals if value else 0}f} {unit}", number % 2 == 1
        )
        for number, value in enumerate(places)
    ]


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit for values up to ``seconds``, and its length in seconds."""
    return next(
        ((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if seconds >= size), ("ns", 1e-9)
    )


class Part(NamedTuple):
    """A cause's part of a cell's makespan; ``from_percent`` and ``percent`` of the chart's width.

    ``paler`` tells it from another of its kind.
    """

    cause: str
    kind: Kind
    seconds: float
    from_percent: float
    percent: float
    share: str
    text: str
    paler: bool


class LostRow(NamedTuple):
    """A cell's makespan, split."""

    label: str
    text: str
    parts: list[Part]


class LostTime(NamedTuple):
    """All cells on one axis; ``causes`` in the order of the table's columns."""

    rows: list[LostRow]
    ticks: list[Tick]
    causes: list[tuple[str, Kind]]


def lost_time(cells: Sequence[Cell]) -> LostTime | None:
    """The makespan of each cell split by cause; None where nothing took time.

    Parts below zero (a slowdown can be) stand in the table alone.
    """
    longest = max(sum(seconds for seconds in cell.summary.lost_seconds.values() if seconds > 0) for cell in cells)
    if longest <= 0:
        return None
    rows = [_lost_row(cell, longest) for cell in cells]
    total: dict[str, float] = {}
    for row in rows:
        for part in row.parts:
            total[part.cause] = total.get(part.cause, 0.0) + part.seconds
    causes = sorted(total, key=lambda cause: (cause != "running", -total[cause]))
    return LostTime(rows, time_ticks(0.0, longest), [(cause, KINDS[kind_of(cause)]) for cause in causes])


def _lost_row(cell: Cell, axis: float) -> LostRow:
    lost = cell.summary.lost_seconds
    whole = sum(lost.values())
    parts: list[Part] = []
    x = 0.0
    for cause in sorted(lost, key=lambda one: (one != "running", -lost[one])):
        seconds = lost[cause]
        if not seconds and cause != "running":
            continue
        percent = 100 * max(0.0, seconds) / axis
        share = share_text(seconds / whole if whole else None)
        text = duration_text(seconds)
        kind = KINDS[kind_of(cause)]
        named = sum(1 for part in parts if part.kind is kind)
        parts.append(Part(visible(cause), kind, seconds, x, percent, share, text, named % 2 == 1))
        x += percent
    return LostRow(cell.label, duration_text(whole), parts)


class Point(NamedTuple):
    """A mark in pixels; ``low`` and ``high`` are the interval's ends, None without one."""

    workers: int
    value: float
    x: float
    y: float
    low: float | None
    high: float | None
    text: str


class Series(NamedTuple):
    """Points joined by a line; ``style`` picks colour and mark."""

    label: str
    style: int
    points: list[Point]

    @property
    def line(self) -> str:
        """As the ``points`` of an SVG polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True, slots=True)
class LineChart:
    """A ratio over workers. ``ideal`` are two ends of a line, in pixels; ticks are ``(pixel, text)``."""

    title: str
    description: str
    series: list[Series]
    ideal: tuple[float, float, float, float]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def scaling_charts(cells: Sequence[Cell]) -> list[LineChart]:
    """Speedup and efficiency over workers, where some cells differ in workers alone; else none."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        if cell.speedup is not None:
            groups.setdefault(cell.group, []).append(cell)
    several = {group: sorted(those, key=_workers) for group, those in groups.items()}
    several = {group: those for group, those in several.items() if len({_workers(cell) for cell in those}) > 1}
    if not several:
        return []
    names = _group_names(list(several))
    most = max(_workers(cell) for those in several.values() for cell in those)
    return [
        _line_chart("Speedup over workers", "times as fast as serial", several, names, most, per_worker=False),
        _line_chart("Efficiency over workers", "speedup divided by workers", several, names, most, per_worker=True),
    ]


def _workers(cell: Cell) -> int:
    return int(cell.result["workers"])


def _group_names(groups: Sequence[tuple[str, ...]]) -> list[str]:
    """The parts in which the groups differ, and the executor in any case."""
    differs = [place == 1 or len({group[place] for group in groups}) > 1 for place in range(len(groups[0]))]
    return [
        visible(" · ".join(part for part, shown in zip(group, differs, strict=True) if shown and part))
        for group in groups
    ]


def _line_chart(
    title: str,
    description: str,
    groups: dict[tuple[str, ...], list[Cell]],
    names: Sequence[str],
    most: int,
    *,
    per_worker: bool,
) -> LineChart:
    raw = [[_ratio(cell, per_worker=per_worker) for cell in those] for those in groups.values()]
    highest = max([1.0, *(max(value, high or value) for one in raw for _, value, _, high in one)])
    top = 1.1 * highest
    width, height = CHART_WIDTH - LEFT - RIGHT, CHART_HEIGHT - TOP - BOTTOM

    def x_of(workers: float, number: int | None = None) -> float:
        # Series stand a little beside each other, so that equal values and their intervals all show.
        aside = 0.0 if number is None else 5 * (number - (len(groups) - 1) / 2)
        return LEFT + width * workers / (most * 1.04) + aside

    def y_of(value: float) -> float:
        return TOP + height * (1 - value / top)

    series = [
        Series(
            name,
            number % SERIES_STYLES,
            [
                Point(
                    workers, value, x_of(workers, number), y_of(value),
                    None if low is None else y_of(low), None if high is None else y_of(high),
                    _ratio_words(value, low, high),
                )
                for workers, value, low, high in one
            ],
        )
        for number, (name, one) in enumerate(zip(names, raw, strict=True))
    ]  # fmt: skip
    reach = min(float(most), top)
    ideal = (x_of(0), y_of(1), x_of(most), y_of(1)) if per_worker else (x_of(0), y_of(0), x_of(reach), y_of(reach))
    counts = sorted({workers for one in raw for workers, *_ in one})
    shown = _apart(counts if len(counts) <= 9 else [round(value) for value in values(0, most)], width / (most * 1.04))
    return LineChart(
        title, description, series, ideal,
        [(x_of(count), str(count)) for count in shown], [(y_of(value), f"{value:g}") for value in values(0, top, 5)],
    )  # fmt: skip


def _apart(counts: Sequence[int], pixels_each: float) -> list[int]:
    """The counts whose numbers do not touch on the axis; the largest is always one."""
    shown: list[int] = []
    for count in reversed(counts):
        if not shown or (shown[-1] - count) * pixels_each >= _WORKERS_APART:
            shown.append(count)
    return shown[::-1]


def _ratio(cell: Cell, *, per_worker: bool) -> tuple[int, float, float | None, float | None]:
    speedup = cell.speedup or {"median": 0.0, "ci95": None}
    divisor = max(1, _workers(cell)) if per_worker else 1
    low, high = speedup["ci95"] or (None, None)
    return (
        _workers(cell), speedup["median"] / divisor,
        None if low is None else low / divisor, None if high is None else high / divisor,
    )  # fmt: skip


def _ratio_words(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} ({low:.2f} to {high:.2f})"


class StripRow(NamedTuple):
    """Values on an axis: ``dots`` in per cent; the middle; the interval's ends, if any. ``style`` tells cells apart;
    ``title`` is the label whole.
    """

    label: str
    title: str
    dots: list[float]
    middle: float
    interval: tuple[float, float] | None
    text: str
    values: int
    style: int = 0
    cell: str = ""


class Strips(NamedTuple):
    """Rows on one axis. ``legend``: the cells by style, where there are several."""

    rows: list[StripRow]
    ticks: list[Tick]
    left_out: int = 0
    legend: tuple[str, ...] = ()


def makespan_strips(cells: Sequence[Cell]) -> Strips | None:
    """The makespan of each repetition, where there are several; else None."""
    if all(len(cell.result["samples"]) < 2 for cell in cells):
        return None
    samples = [[float(sample["makespan_seconds"]) for sample in cell.result["samples"]] for cell in cells]
    intervals = [cell.result["makespan_seconds"]["ci95"] or () for cell in cells]
    medians = [cell.makespan_seconds for cell in cells]
    low, high = _padded([*medians, *(value for one in (*samples, *intervals) for value in one)])
    rows = []
    for cell, one in zip(cells, samples, strict=True):
        interval = cell.result["makespan_seconds"]["ci95"]
        ends = None if interval is None else (_percent(interval[0], low, high), _percent(interval[1], low, high))
        middle = cell.makespan_seconds
        text = duration_text(middle)
        if interval is not None:
            text += f" ({interval_text(*interval)})"
        label = _short(cell.label)
        dots = _dots(one, low, high)
        rows.append(StripRow(label, cell.label, dots, _percent(middle, low, high), ends, text, len(one)))
    return Strips(rows, time_ticks(low, high))


def family_strips(cells: Sequence[Cell]) -> Strips | None:
    """The run times of each family of steps, longest first: copies of a step, items of a list, a step over repetitions.
    None where no family has two values.

    A repetition's step times are used where the document has them (``step_seconds``); else a cell counts once.
    """
    compared = _compared(cells)
    by_cell = [_family_seconds(cell) for cell in compared]
    members: dict[str, list[int]] = {}
    for style, of_cell in enumerate(by_cell):
        for name in of_cell:
            members.setdefault(name, []).append(style)
    several = [name for name in members if any(len(by_cell[style][name].seconds) > 1 for style in members[name])]
    if not several:
        return None
    middle = {name: statistics.median(by_cell[members[name][0]][name].seconds) for name in several}
    shown = sorted(several, key=lambda name: -middle[name])[:FAMILIES_SHOWN]
    high = 1.04 * max(max(by_cell[style][name].seconds) for name in shown for style in members[name]) or 1.0
    rows = [
        _family_row(name, by_cell[style][name], style, compared[style].label, high)
        for name in shown
        for style in members[name]
    ]
    used = sorted({row.style for row in rows})
    legend = tuple(compared[style].label for style in used) if len(compared) > 1 else ()
    return Strips(rows, time_ticks(0, high), len(several) - len(shown), legend)


class _Family(NamedTuple):
    """The run times of a family's steps in one cell. Seconds."""

    step_ids: set[str]
    seconds: list[float]


def _family_row(name: str, family: _Family, style: int, cell: str, high: float) -> StripRow:
    middle = statistics.median(family.seconds)
    text = duration_text(middle)
    said = text if len(family.seconds) == 1 else f"{text} ({interval_text(min(family.seconds), max(family.seconds))})"
    title = visible(name) if len(family.step_ids) == 1 else f"{visible(name)} ({len(family.step_ids)} steps)"
    dots = _dots(family.seconds, 0, high)
    return StripRow(
        _short(title), title, dots, _percent(middle, 0, high), None, said, len(family.seconds), style, cell
    )  # fmt: skip


def _compared(cells: Sequence[Cell]) -> list[Cell]:
    """The cell that the report speaks of, and what it is compared with: serial, else the others of its scenario."""
    chosen = headline(cells)
    others = [cell for cell in cells if cell is not chosen and cell.scenario == chosen.scenario]
    serial = [cell for cell in others if cell.result["executor"] == "serial"]
    return [chosen, *(serial or others)][:CELLS_COMPARED]


def _family_seconds(cell: Cell) -> dict[str, _Family]:
    """Longest family first."""
    pairs = _step_seconds(cell)
    names = families_of([step_id for step_id, _ in pairs])
    found: dict[str, _Family] = {}
    for step_id, seconds in pairs:
        family = found.setdefault(names[step_id], _Family(set(), []))
        family.step_ids.add(step_id)
        family.seconds.append(seconds)
    return found


def families_of(step_ids: Iterable[str]) -> dict[str, str]:
    """The name of each step's family: that of its copies or of its list, else its own."""
    known = dict.fromkeys(step_ids)
    # Readers of traces number the spans of one name: `call`, `call#2`.
    names = {step_id: base if (base := _NUMBERED.sub("", step_id)) in known else step_id for step_id in known}
    # Items come last: those of all copies are one family, and no copies.
    for family in sorted(families(known), key=lambda one: one.kind == "items"):
        # A step that has items is none of them.
        names.update(
            dict.fromkeys(family.step_ids, f"items of {family.name}" if family.kind == "items" else family.name)
        )
    return names


def _short(text: str) -> str:
    """Cut in the middle: names that begin alike differ at their end."""
    if len(text) <= _LABEL_LIMIT:
        return text
    return f"{text[: _LABEL_LIMIT // 2]}…{text[1 - _LABEL_LIMIT // 2 :]}"


def _dots(seconds: Sequence[float], low: float, high: float) -> list[float]:
    """Places of the values; of very many so many that the shortest and the longest are among them."""
    ordered = sorted(seconds)
    if len(ordered) > DOTS_SHOWN:
        ordered = [ordered[round(number * (len(ordered) - 1) / (DOTS_SHOWN - 1))] for number in range(DOTS_SHOWN)]
    return [_percent(value, low, high) for value in ordered]


def _step_seconds(cell: Cell) -> list[tuple[str, float]]:
    repetitions = [sample["step_seconds"] for sample in cell.result["samples"] if sample.get("step_seconds")]
    if repetitions:
        return [(step_id, float(seconds)) for one in repetitions for step_id, seconds in one.items()]
    index = cell.index
    lengths: dict[str, int] = {}
    for attempt in index.ended:
        lengths[attempt.step_id] = lengths.get(attempt.step_id, 0) + index.run_nanoseconds(attempt)
    return [(step_id, length / NANOSECONDS) for step_id, length in lengths.items()]


def _padded(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    margin = 0.06 * (high - low) or 0.1 * high or 1.0
    return max(0.0, low - margin), high + margin


def _percent(value: float, low: float, high: float) -> float:
    return 100 * (value - low) / (high - low)
