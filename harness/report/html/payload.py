"""The data of a report for its script: columns of small numbers, texts once, previews within a budget. Pure.

Rules of this module:
- Times are nanoseconds. An attempt's columns hold differences (ready to the ready before, granted to ready, started to
  granted, ended to started, known to ended), which keeps five thousand attempts small; null where there is none.
- Texts of steps are made visible here; the script only ever sets them as text.
- What nearly every entry says (it succeeded, it was the first attempt) is left out; so is a column that says nothing.
- Outputs and errors are previews: all outputs together take no more than ``PREVIEW_CHARACTERS``, all errors neither,
  however many steps there are. Where that leaves too little to be of use, they are left to the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from executor.record.timeline import Attempt, Timeline
from harness.report.html.capacity import capacity_columns, changing
from harness.report.html.gantt import device_lanes, drawn_waits, parts_allowed, step_rows, worker_lanes
from harness.report.html.palette import HATCHES, KINDS, kind_of
from harness.report.html.report_cells import Cell
from harness.report.html.safe_text import shown_value, visible

Columns = dict[str, list[Any]]

PREVIEW_CHARACTERS: Final = 100_000
_LONGEST_PREVIEW: Final = 600
_SHORTEST_PREVIEW: Final = 40
SUCCEEDED: Final = "succeeded"
_TEXT_LIMIT: Final = 300


class Texts:
    """Texts that are named by their place, each kept once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, text: str | None) -> int:
        """The place of a text; -1 for none."""
        if text is None:
            return -1
        place = self._places.get(text)
        if place is None:
            place = self._places[text] = len(self.texts)
            self.texts.append(visible(text, _TEXT_LIMIT))
        return place


def payload(cells: Sequence[Cell]) -> dict[str, Any]:
    """Everything that the script draws."""
    texts = Texts()
    limits = {name: _preview_limit(cells, name) for name in ("output", "error")}
    encoded = [_cell(cell, texts, limits) for cell in cells]
    return {
        "kinds": [kind._asdict() for kind in KINDS],
        "hatches": HATCHES,
        "cells": encoded,
        "texts": texts.texts,
    }


def _preview_limit(cells: Sequence[Cell], name: str) -> int:
    previews = sum(step[name] is not None for cell in cells for step in cell.result["steps"])
    limit = PREVIEW_CHARACTERS // max(1, previews)
    return 0 if limit < _SHORTEST_PREVIEW else min(_LONGEST_PREVIEW, limit)


def _cell(cell: Cell, texts: Texts, limits: dict[str, int]) -> dict[str, Any]:
    timeline = cell.drawn
    lanes = worker_lanes(timeline)
    reasons = sorted({wait.reason for attempt in timeline.attempts for wait in attempt.waits})
    rows = step_rows(timeline)
    capacities = [[texts.place(name), *capacity_columns(changes)] for name, changes in changing(timeline)]
    return {
        "label": cell.label,
        "workers": timeline.workers,
        "makespan": timeline.makespan_nanoseconds,
        "reasons": [[texts.place(reason), kind_of(reason)] for reason in reasons],
        "lanes": [texts.place(label) for label in lanes.labels],
        "steps": _steps(cell, texts, limits),
        "rows": [step for step, _ in rows],
        "depths": [[step, depth] for step, depth in rows if depth],
        "attempts": _attempts(timeline, lanes.lane_of, texts, {reason: place for place, reason in enumerate(reasons)}),
        # Most runs have none.
        **_device_columns(timeline, texts),
        **({"capacities": capacities} if capacities else {}),
        **({"seam": cell.seam} if cell.seam else {}),
    }


def _device_columns(timeline: Timeline, texts: Texts) -> dict[str, Any]:
    """The lanes of devices, and of each attempt that had some their names and its lanes."""
    if all(resource.devices is None for resource in timeline.resources.values()):
        return {}
    lanes = device_lanes(timeline)
    held = []
    for place, mine in sorted(lanes.lanes_of.items()):
        words = ", ".join(
            f"{kind} {name}" for kind, ids in (timeline.attempts[place].devices or {}).items() for name in ids
        )
        held.append([place, texts.place(words), *mine])
    return {"deviceLanes": [texts.place(label) for label in lanes.labels], "held": held}


def _status_texts(timeline: Timeline) -> Iterator[str]:
    """The states of all steps, with where the output came from if the step did not run."""
    for place, status in enumerate(timeline.statuses):
        how = "from the cache" if place in timeline.cached else "reused" if place in timeline.reused else ""
        yield f"{status}, {how}" if how else status


def _steps(cell: Cell, texts: Texts, limits: dict[str, int]) -> Columns:
    timeline = cell.timeline
    steps = cell.result["steps"]
    place_of = {step_id: place for place, step_id in enumerate(timeline.step_ids)}
    shares: dict[int, float] = {}
    for part in cell.summary.critical_path:
        if part.step_id in place_of:
            place = place_of[part.step_id]
            shares[place] = shares.get(place, 0.0) + part.seconds
    columns: Columns = {
        "id": [texts.place(step_id) for step_id in timeline.step_ids],
        "parents": [list(parents) for parents in timeline.data_parents],
        "critical": [[place, seconds] for place, seconds in shares.items()],
    }
    # What most runs have nothing of is left out whole.
    sparse: Columns = {
        "status": [
            [place, texts.place(text)] for place, text in enumerate(_status_texts(timeline)) if text != SUCCEEDED
        ],
        "order": [[place, list(parents)] for place, parents in enumerate(timeline.order_parents) if parents],
        "nested": [[place, caller] for place, caller in enumerate(timeline.nested_in) if caller >= 0],
        "needs": [
            [place, texts.place(", ".join(f"{units:g} {name}" for name, units in needs.items()))]
            for place, needs in enumerate(timeline.needs)
            if needs
        ],
        # Documents of some makers also say what a step is about.
        "description": [
            [place, texts.place(str(step["description"]))]
            for place, step in enumerate(steps)
            if step.get("description")
        ],
        "tool": [[place, texts.place(str(step["tool"]))] for place, step in enumerate(steps) if step.get("tool")],
        **{name: _previews(steps, name, limit) for name, limit in limits.items()},
    }
    return {**columns, **{name: values for name, values in sparse.items() if values}}


def _previews(steps: Sequence[dict[str, Any]], name: str, limit: int) -> list[Any]:
    if not limit:
        return []
    return [[place, shown_value(step[name], limit)] for place, step in enumerate(steps) if step[name] is not None]


def _attempts(timeline: Timeline, lane_of: Sequence[int], texts: Texts, reasons: dict[str, int]) -> Columns:
    names = ("step", "ready", "granted", "started", "ended", "known", "released", "cpu")
    columns: Columns = {name: [] for name in names}
    columns["lane"] = list(lane_of)
    sparse: Columns = {name: [] for name in ("number", "outcome", "waits", "waited", "blocked")}
    parts = parts_allowed(len(timeline.attempts))
    place_of = {step_id: place for place, step_id in enumerate(timeline.step_ids)}
    ready_before = 0
    for place, attempt in enumerate(timeline.attempts):
        columns["step"].append(attempt.index)
        columns["ready"].append(attempt.ready - ready_before)
        columns["granted"].append(attempt.granted - attempt.ready)
        columns["started"].append(_difference(attempt.started, attempt.granted))
        columns["ended"].append(_difference(attempt.ended, _last_known(attempt.started, attempt.granted)))
        columns["known"].append(
            _difference(attempt.known, _last_known(attempt.ended, attempt.started, attempt.granted))
        )
        columns["released"].append(_released(attempt, timeline.data_parents[attempt.index], place_of))
        columns["cpu"].append(None if attempt.cpu_seconds is None else round(attempt.cpu_seconds * 1e6))
        ready_before = attempt.ready
        if attempt.attempt != 1:
            sparse["number"].append([place, attempt.attempt])
        if attempt.outcome != SUCCEEDED:
            sparse["outcome"].append([place, texts.place(attempt.outcome)])
        _add_intervals(sparse, place, attempt, reasons, parts)
    if all(cpu is None for cpu in columns["cpu"]):
        del columns["cpu"]
    return {**columns, **{name: values for name, values in sparse.items() if values}}


def _released(attempt: Attempt, parents: Sequence[int], place_of: dict[str, int]) -> int:
    """Who released it: 0 no step; n the n-th data dependency; -n the step at place n - 1."""
    place = place_of.get(attempt.released_by or "")
    if place is None:
        return 0
    return parents.index(place) + 1 if place in parents[:4] else -place - 1


def _add_intervals(sparse: Columns, place: int, attempt: Attempt, reasons: dict[str, int], parts: int) -> None:
    waits, totals = drawn_waits(attempt, parts)
    if len(waits) == 1 and (waits[0].start, waits[0].end) == (attempt.ready, attempt.granted):
        sparse["waits"].append([place, reasons[waits[0].reason]])
    elif waits:
        numbers = [number for wait in waits for number in _placed(wait.reason, wait.start, wait.end, attempt, reasons)]
        sparse["waits"].append([place, *numbers])
    if totals:
        sparse["waited"].append([place, *(number for name, time in totals.items() for number in (reasons[name], time))])
    if attempt.blocked:
        numbers = [number for start, end in attempt.blocked for number in (start - attempt.ready, end - start)]
        sparse["blocked"].append([place, *numbers])


def _placed(reason: str, start: int, end: int, attempt: Attempt, reasons: dict[str, int]) -> tuple[int, int, int]:
    return reasons[reason], start - attempt.ready, end - start


def _difference(later: int | None, earlier: int) -> int | None:
    return None if later is None else later - earlier


def _last_known(*times: int | None) -> int:
    return next(time for time in times if time is not None)
