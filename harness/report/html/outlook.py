"""What an analysis says would come next: predicted makespans, and what running together would gain. Pure.

Rules of this module:
- It reads ``makespan.analysis/1`` documents alone; every number of a drawing is in its table too.
- Lengths of bars are per cent of the longest of their drawing, so that it fits any page and needs no script.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from harness.plain_text import duration_text, some_of
from harness.report.html.safe_text import share_text, visible

Document = Mapping[str, Any]

_CHANGES_SHOWN: Final = 10
_NAMES_SHOWN: Final = 6
_NAME_LIMIT: Final = 60
_KNOWN: Final = "the trace names all dependencies"
# What one must know before believing a prediction; other findings are at the top of the page.
_ABOUT_PREDICTIONS: Final = ("late_start",)
# Less than that share of the makespan is called nothing.
_NOTHING_RATIO: Final = 0.005


class Predicted(NamedTuple):
    """A makespan that is measured or predicted. ``hopeful``: if no assumed edge were real; empty where none is."""

    label: str
    percent: float
    text: str
    gain: str
    hopeful_percent: float | None
    hopeful: str
    hopeful_gain: str


class Change(NamedTuple):
    """Something that would make the run shorter, or may have cost it time."""

    gain: str
    percent: float
    what: str
    rests_on: str


class Outlook(NamedTuple):
    """All that is said of one trace."""

    label: str
    policy: str
    rows: list[Predicted]
    has_hopeful: bool
    limited: list[Predicted]
    changes: list[Change]
    changes_left_out: int
    assumed_edges: int
    predictions_left_out: int
    notes: list[str]


def outlooks_of(analyses: Sequence[Document]) -> list[Outlook]:
    """The outlook of each analysis that has one."""
    found = [_outlook(one, several=len(analyses) > 1) for one in analyses]
    return [one for one in found if one.rows or one.changes]


def _outlook(analysis: Document, *, several: bool) -> Outlook:
    whole = float(analysis["makespan_seconds"])
    policy, by_workers = next(iter(analysis["predictions"].items()), ("dataflow", {}))
    limited = analysis["limited_predictions"]
    longest = max([whole, *(_longest(one) for one in (*by_workers.values(), *limited))]) or 1.0
    measured = Predicted("measured", 100 * whole / longest, duration_text(whole), "", None, "", "")
    rows = [_predicted(_workers(name), one, whole, longest) for name, one in by_workers.items()]
    changes = sorted(_changes(analysis), key=lambda one: -one[0])
    shown = [_change(*one, whole) for one in changes[:_CHANGES_SHOWN]]
    name = visible(str(analysis["workflow"] or "trace"), _NAME_LIMIT)
    return Outlook(
        label=f"{name} · {visible(str(analysis['trace_id']), 32)}" if several else "",
        policy=visible(str(policy)),
        rows=[measured, *rows] if rows else [],
        has_hopeful=any(row.hopeful_percent is not None for row in rows),
        limited=[_predicted(_limit(one), one, whole, longest) for one in limited],
        changes=shown,
        changes_left_out=len(changes) - len(shown),
        assumed_edges=int(analysis["edge_counts"].get("assumed", 0)),
        predictions_left_out=int(analysis["predictions_left_out"]),
        notes=[
            visible(f"{one['count']:,} × {one['message']}: {one['effect']}")
            for one in analysis["findings"]
            if one["code"] in _ABOUT_PREDICTIONS
        ],
    )


def _longest(predicted: Document) -> float:
    """Of both bars: with few workers a schedule may take longer without some edges."""
    return max(float(predicted["makespan_seconds"]), float(predicted.get("without_assumed_makespan_seconds") or 0.0))


def _predicted(label: str, predicted: Document, whole: float, longest: float) -> Predicted:
    seconds = float(predicted["makespan_seconds"])
    hopeful = predicted.get("without_assumed_makespan_seconds")
    return Predicted(
        label=label,
        percent=100 * seconds / longest,
        text=duration_text(seconds),
        gain=_gain(whole - seconds, whole),
        hopeful_percent=None if hopeful is None else 100 * float(hopeful) / longest,
        hopeful="" if hopeful is None else duration_text(float(hopeful)),
        hopeful_gain="" if hopeful is None else _gain(whole - float(hopeful), whole),
    )


def _gain(seconds: float, whole: float) -> str:
    if whole <= 0 or abs(seconds) < _NOTHING_RATIO * whole:
        return "nothing"
    return f"{'−' if seconds > 0 else '+'}{duration_text(abs(seconds))} ({share_text(abs(seconds) / whole)})"


def _workers(name: str) -> str:
    return f"{visible(name, 20)} worker{'' if name == '1' else 's'}"


def _limit(one: Document) -> str:
    parts = []
    if one["rate_per_minute"] is not None:
        parts.append(f"{one['rate_per_minute']:g} calls a minute")
    if one["capacity"] is not None:
        parts.append(f"{one['capacity']} calls at once")
    return f"{visible(str(one['service']), _NAME_LIMIT)}: {' and '.join(parts)}"


# ---------------------------------------------------------------------- what to change first


def _changes(analysis: Document) -> Iterator[tuple[float, str, str]]:
    """Seconds, what it is, and what it rests on. A pair inside of a set that gains is not said again."""
    sets = [one for one in analysis["together"] if one["gain_seconds"] > 0]
    inside = [frozenset(one["steps"]) for one in sets]
    alone = [one for one in analysis["pairs"] if not any(set(one["steps"]) <= several for several in inside)]
    for one in (*sets, *alone):
        yield one["gain_seconds"], f"run together: {_names(one['steps'])}", _basis(one)
    for one in analysis["barriers"]:
        if one["lost_seconds"] > 0:
            slowest = visible(str(one["slowest"]), _NAME_LIMIT) if one["slowest"] is not None else "the slowest"
            basis = _KNOWN if one["certain"] else "nothing of it needs the other (the trace does not say)"
            yield one["lost_seconds"], f"let {_names(one['waiting'])} begin before {slowest} ends", basis


def _basis(one: Document) -> str:
    sources = ", ".join(visible(str(source), _NAME_LIMIT) for source in one.get("evidence", ()))
    if one["rests_on"] == "assumption":
        return f"an assumed edge is not real ({sources})" if sources else "an assumed edge is not real"
    return f"{_KNOWN} ({sources})" if sources else _KNOWN


def _names(steps: Sequence[str]) -> str:
    return some_of([visible(str(step), _NAME_LIMIT) for step in steps], _NAMES_SHOWN)


def _change(seconds: float, what: str, rests_on: str, whole: float) -> Change:
    return Change(_gain(seconds, whole), 100 * min(1.0, seconds / whole) if whole > 0 else 0.0, what, rests_on)
