"""Small plots in characters, for summaries on a terminal. Pure: figures in, lines of text out.

Rules of this module:
- A plot says its scale in words; it needs no colour.
- ``ascii_only`` draws with signs that any terminal has.
- Names are data: control characters become signs, and nothing is wider than asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from executor.record.timeline import Timeline
from harness.analysis import AttemptIndex
from harness.plain_text import columns_of, counted, duration_text, padded
from harness.report.html.capacity import capacity_words, changing
from harness.report.html.safe_text import share_text, visible
from harness.result.cell_key import value_text

_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS: Final = " .:-=+*#%"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_NAME_LIMIT: Final = 32


class Bar(NamedTuple):
    """A row of a bar chart: ``text`` follows the bar."""

    name: str
    value: float
    text: str


def sparkline(values: Sequence[float], highest: float | None = None, *, ascii_only: bool = False) -> str:
    """One character a value, from nothing (0) to full (``highest``, the largest value if None).

    A value above 0 always shows.
    """
    signs = _ASCII_LEVELS if ascii_only else _LEVELS
    top = max(values, default=0.0) if highest is None else highest
    if top <= 0:
        return signs[0] * len(values)
    steps = len(signs) - 1
    return "".join(signs[0 if value <= 0 else max(1, min(steps, round(steps * value / top)))] for value in values)


def concurrency_per_column(timeline: Timeline, columns: int) -> list[float]:
    """Mean number of attempts that ran in each of ``columns`` equal parts of the makespan. O(attempts + columns)."""
    makespan = timeline.makespan_nanoseconds
    if makespan <= 0 or columns < 1:
        return [0.0] * max(0, columns)
    index = AttemptIndex(timeline)
    edges = [makespan * column // columns for column in range(columns + 1)]
    area = [0] * columns
    whole = [0] * (columns + 1)  # changes of the number that ran all through a column
    for attempt in index.ended:
        for start, end in index.run_segments(attempt):
            first = min(columns - 1, start * columns // makespan)
            last = min(columns - 1, end * columns // makespan)
            for column in {first, last}:
                area[column] += max(0, min(end, edges[column + 1]) - max(start, edges[column]))
            if last > first + 1:
                whole[first + 1] += 1
                whole[last] -= 1
    means, running = [], 0
    for column, (begin, end) in enumerate(pairwise(edges)):
        running += whole[column]
        length = end - begin
        means.append(running + area[column] / length if length else float(running))
    return means


def concurrency_line(timeline: Timeline, width: int = 60, *, ascii_only: bool = False) -> str:
    """The concurrency over the makespan as one line: ``▃███▅▁ 0 to 1.69 s, at most 3.4 of 4 workers busy``."""
    values = concurrency_per_column(timeline, width)
    top = max(values, default=0.0)
    line = sparkline(values, max(top, 1.0), ascii_only=ascii_only)
    workers = counted(timeline.workers, "worker")
    text = f"{line} 0 to {duration_text(timeline.makespan_seconds)}, at most {top:.3g} of {workers} busy"
    return _in_ascii(text) if ascii_only else text


def capacity_lines(timeline: Timeline, width: int = 60, *, ascii_only: bool = False) -> list[str]:
    """Each capacity that was found out, over the makespan: ``llm ▁▂▄▆▆▆ 4 at first, 1 to 16, 8 at the end``."""
    lines = []
    makespan = timeline.makespan_nanoseconds
    for name, changes in changing(timeline):
        values: list[float] = []
        place = 0
        for column in range(width):
            # What held at the end of the column; one that held for a moment may not show.
            end = makespan * (column + 1) // width
            while place + 1 < len(changes) and changes[place + 1][0] <= end:
                place += 1
            values.append(changes[place][1])
        highest = max(capacity for _, capacity in changes)
        text = f"{_short(name)} {sparkline(values, highest, ascii_only=ascii_only)} {capacity_words(changes)}"
        lines.append(_in_ascii(text) if ascii_only else text)
    return lines


def bar_lines(bars: Sequence[Bar], width: int = 80, *, ascii_only: bool = False) -> list[str]:
    """Bars from 0 on one scale, names on the left. ``width`` in characters holds the whole line."""
    names = [_short(bar.name) for bar in bars]
    texts = [bar.text for bar in bars]
    if ascii_only:
        names, texts = [_in_ascii(name) for name in names], [_in_ascii(text) for text in texts]
    column = max(map(columns_of, names), default=0)
    tail = max(map(columns_of, texts), default=0)
    space = max(4, width - column - tail - 4)
    top = max((bar.value for bar in bars), default=0.0)
    lines = []
    for name, text, bar in zip(names, texts, bars, strict=True):
        drawn = _bar(bar.value / top if top > 0 else 0.0, space, ascii_only=ascii_only)
        lines.append(f"{padded(name, column)}  {drawn:<{space}}  {text}".rstrip())
    return lines


def _bar(share: float, space: int, *, ascii_only: bool) -> str:
    length = max(0.0, min(1.0, share)) * space
    if ascii_only:
        return "#" * max(round(length), 1 if share > 0 else 0)
    whole = math.floor(length)
    part = _EIGHTHS[math.floor(8 * (length - whole))].strip()
    return "█" * whole + part or ("▏" if share > 0 else "")


def _in_ascii(text: str) -> str:
    return text.translate({ord("×"): "x", ord("µ"): "u", ord("…"): "~"}).encode("ascii", "replace").decode()


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= _NAME_LIMIT else text[: _NAME_LIMIT - 1] + "…"


def speedup_lines(results: Sequence[Mapping[str, Any]], width: int = 80, *, ascii_only: bool = False) -> list[str]:
    """The speedup of each result that has one, as bars with their intervals. Empty where none has."""
    bars = []
    names = {name for result in results for name in result["parameters"]}
    varying = {name for name in names if len({value_text(one["parameters"].get(name)) for one in results}) > 1}
    for result in results:
        speedup = result["speedup_ratio"]
        if speedup is None:
            continue
        interval = "" if speedup["ci95"] is None else f" ({speedup['ci95'][0]:.2f} to {speedup['ci95'][1]:.2f})"
        name = f"{result['executor']}@{result['workers']}"
        if result["policy"] not in ("dataflow", "serial"):
            name += f" {result['policy']}"
        parameters = [f"{key}={value_text(value)}" for key, value in result["parameters"].items() if key in varying]
        if parameters:
            name += f" {', '.join(parameters)}"
        bars.append(Bar(name, speedup["median"], f"{speedup['median']:.2f}×{interval}"))
    return bar_lines(bars, width, ascii_only=ascii_only)


def lost_time_lines(lost_seconds: Mapping[str, float], width: int = 80, *, ascii_only: bool = False) -> list[str]:
    """Each cause's part of the makespan as a bar; parts below zero have no bar."""
    whole = sum(lost_seconds.values())
    bars = [
        Bar(cause, max(0.0, seconds), f"{duration_text(seconds)} ({share_text(seconds / whole if whole else None)})")
        for cause, seconds in lost_seconds.items()
    ]
    return bar_lines(bars, width, ascii_only=ascii_only)
