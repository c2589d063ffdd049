"""A run document in forms that others read: a trace for Perfetto, CSV for spreadsheets, Markdown for people.

Rules of this module:
- Pure: a document in, text out; the caller writes the file.
- Text from runs stays text in every form: Markdown marks are escaped. A CSV field that a spreadsheet would take for a
  formula gets an apostrophe before it; the JSON document has it unchanged.

Source of the trace: the Trace Event Format of Chrome, as Perfetto reads it; times are microseconds.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from executor.record.timeline import Attempt
from harness.plain_text import duration_text
from harness.report.html.gantt import bar_of, worker_lanes
from harness.report.html.report_cells import Cell, cells_of, headline, parameters_text
from harness.report.html.safe_text import ratio_text, share_text, visible

Table = Literal["cells", "steps", "attempts"]
Event = dict[str, Any]

_MICROSECOND: Final = 1000
_MARKS: Final = str.maketrans(
    {**{sign: f"\\{sign}" for sign in "\\`*_{}[]#|~!"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")
_PATH_SHOWN: Final = 12


def chrome_trace(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as an object of the Trace Event Format: a process for each cell, a thread for each lane of a worker.

    Attempts are slices, with what they were blocked on inside; waits are asynchronous slices; dependencies are flows;
    ``running`` is a counter.

    Raises:
        DocumentError: it is no ``makespan.run/1`` document.

    """
    events: list[Event] = []
    for number, cell in enumerate(cells_of([document])):
        events += _cell_events(cell, number + 1, first_flow=len(events))
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"run_id": str(document["run_id"]), "scenario": str(document["scenario"])},
    }


def _cell_events(cell: Cell, process: int, *, first_flow: int) -> Iterator[Event]:
    timeline = cell.timeline
    lanes = worker_lanes(timeline)
    critical = {part.step_id for part in cell.summary.critical_path}
    yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": cell.label}}
    for lane, label in enumerate(lanes.labels):
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": lane + 1, "args": {"name": visible(label)}}
    last: dict[int, tuple[Attempt, int]] = {}
    first: dict[int, tuple[Attempt, int]] = {}
    for place, attempt in enumerate(timeline.attempts):
        track = {"pid": process, "tid": lanes.lane_of[place] + 1}
        yield from _attempt_events(attempt, place, track, timeline.makespan_nanoseconds, attempt.step_id in critical)
        first.setdefault(attempt.index, (attempt, track["tid"]))
        last[attempt.index] = (attempt, track["tid"])
    yield from _flows(cell, process, first, last, first_flow)
    yield from _running(cell, process)


def _attempt_events(
    attempt: Attempt, place: int, track: Mapping[str, int], makespan: int, critical: bool
) -> Iterator[Event]:
    start, end = bar_of(attempt, makespan)
    name = visible(attempt.step_id)
    yield {
        "ph": "X", "cat": "attempt", "name": name if attempt.attempt == 1 else f"{name} #{attempt.attempt}", **track,
        "ts": start / _MICROSECOND, "dur": (end - start) / _MICROSECOND,
        "args": {
            "step_id": name, "attempt": attempt.attempt, "outcome": attempt.outcome, "critical": critical,
            "worker": None if attempt.worker is None else visible(attempt.worker),
            "released_by": None if attempt.released_by is None else visible(attempt.released_by),
            "ready_us": attempt.ready / _MICROSECOND, "granted_us": attempt.granted / _MICROSECOND,
            "cpu_seconds": attempt.cpu_seconds,
        },
    }  # fmt: skip
    for blocked in attempt.blocked:
        yield {
            "ph": "X", "cat": "blocked", "name": "blocked on calls", **track,
            "ts": blocked.start / _MICROSECOND, "dur": (min(blocked.end, end) - blocked.start) / _MICROSECOND,
        }  # fmt: skip
    for number, (reason, begin, until) in enumerate(attempt.waits):
        wait = {"cat": "wait", "name": f"waiting: {visible(reason)}", "id": f"{track['pid']}.{place}.{number}", **track}
        yield {"ph": "b", "ts": begin / _MICROSECOND, "args": {"step_id": name}, **wait}
        yield {"ph": "e", "ts": until / _MICROSECOND, **wait}


def _flows(
    cell: Cell,
    process: int,
    first: Mapping[int, tuple[Attempt, int]],
    last: Mapping[int, tuple[Attempt, int]],
    number: int,
) -> Iterator[Event]:
    timeline = cell.timeline
    makespan = timeline.makespan_nanoseconds
    for kind, edges in (("depends_on", timeline.data_parents), ("order_after", timeline.order_parents)):
        for step, parents in enumerate(edges):
            for parent in parents:
                if parent not in last or step not in first:
                    continue
                (source, source_lane), (target, target_lane) = last[parent], first[step]
                begin, end = bar_of(source, makespan)
                number += 1
                flow = {"cat": kind, "name": kind, "id": number, "pid": process}
                # A flow starts inside its slice: at the very end it would belong to the next one.
                yield {"ph": "s", "tid": source_lane, "ts": max(begin, end - 1) / _MICROSECOND, **flow}
                yield {
                    "ph": "f",
                    "bp": "e",
                    "tid": target_lane,
                    "ts": bar_of(target, makespan)[0] / _MICROSECOND,
                    **flow,
                }


def _running(cell: Cell, process: int) -> Iterator[Event]:
    changes: dict[int, int] = {}
    for attempt in cell.index.ended:
        for start, end in cell.index.run_segments(attempt):
            changes[start] = changes.get(start, 0) + 1
            changes[end] = changes.get(end, 0) - 1
    level = 0
    for time in sorted(changes):
        level += changes[time]
        yield {
            "ph": "C",
            "name": "running",
            "pid": process,
            "tid": 0,
            "ts": time / _MICROSECOND,
            "args": {"attempts": level},
        }


def csv_text(document: Mapping[str, Any], table: Table = "attempts") -> str:
    """A table of the document as CSV (RFC 4180): ``cells``, ``steps`` or ``attempts``, each row with its cell's name.

    Times are seconds.

    Raises:
        DocumentError: it is no ``makespan.run/1`` document.

    """
    rows = {"cells": _cell_rows, "steps": _step_rows, "attempts": _attempt_rows}[table]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    for row in rows(cells_of([document])):
        writer.writerow([_field(value) for value in row])
    return stream.getvalue()


def _field(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if value.startswith(_FORMULA_SIGNS) else text


def _cell_rows(cells: Sequence[Cell]) -> Iterator[Sequence[object]]:
    causes = list(dict.fromkeys(cause for cell in cells for cause in cell.summary.lost_seconds))
    yield (
        "cell", "scenario", "executor", "workers", "policy", "parameters", "repetitions", "makespan_seconds",
        "makespan_low_seconds", "makespan_high_seconds", "speedup_ratio", "speedup_low_ratio", "speedup_high_ratio",
        "speedup_verdict", "efficiency_ratio", "work_seconds", "critical_path_seconds", "lower_bound_seconds",
        "schedule_efficiency_ratio", "concurrency_mean", *(f"lost_{cause}_seconds" for cause in causes),
    )  # fmt: skip
    for cell in cells:
        result = cell.result
        yield (
            cell.label, cell.scenario, result["executor"], result["workers"], result["policy"],
            parameters_text(result["parameters"]), result["repetitions"], *_estimate(result["makespan_seconds"]),
            *_estimate(result["speedup_ratio"]), result["speedup_verdict"], result["efficiency_ratio"],
            result["work_seconds"], result["critical_path_seconds"], result["lower_bound_seconds"],
            result["schedule_efficiency_ratio"], result["concurrency"]["mean"],
            *(cell.summary.lost_seconds.get(cause, 0.0) for cause in causes),
        )  # fmt: skip


def _estimate(estimate: Mapping[str, Any] | None) -> tuple[object, object, object]:
    if estimate is None:
        return None, None, None
    low, high = estimate["ci95"] or (None, None)
    return estimate["median"], low, high


def _step_rows(cells: Sequence[Cell]) -> Iterator[Sequence[object]]:
    yield (
        "cell", "step_id", "status", "attempts", "run_seconds", "waited_seconds", "critical_path_seconds", "depends_on",
        "order_after", "nested_in", "error",
    )  # fmt: skip
    for cell in cells:
        share: dict[str, float] = {}
        for part in cell.summary.critical_path:
            share[part.step_id] = share.get(part.step_id, 0.0) + part.seconds
        for step, tries in zip(cell.result["steps"], cell.index.tries, strict=True):
            waited = sum(wait.end - wait.start for attempt in tries for wait in attempt.waits)
            yield (
                cell.label, step["step_id"], step["status"], len(step["attempts"]),
                sum(map(cell.index.run_nanoseconds, tries)) / 1e9, waited / 1e9, share.get(step["step_id"]),
                " ".join(step["depends_on"]), " ".join(step["order_after"]), step["nested_in"], step["error"],
            )  # fmt: skip


def _attempt_rows(cells: Sequence[Cell]) -> Iterator[Sequence[object]]:
    fields = (
        "step_id", "attempt", "parent", "ready", "granted", "started", "ended", "known", "released_by", "worker",
        "cpu_seconds", "tokens_reserved", "tokens_used", "outcome",
    )  # fmt: skip
    yield ("cell", *fields, "waits", "blocked")
    for cell in cells:
        for step in cell.result["steps"]:
            for attempt in step["attempts"]:
                waits = " ".join(f"{one['reason']}:{one['from']:.9f}-{one['to']:.9f}" for one in attempt["waits"])
                blocked = " ".join(f"{one['from']:.9f}-{one['to']:.9f}" for one in attempt["blocked"])
                yield (cell.label, *(attempt[field] for field in fields), waits, blocked)


def markdown(document: Mapping[str, Any]) -> str:
    """A summary for a pull request or a wiki: the cells, and lost time and critical path of the headline cell.

    Raises:
        DocumentError: it is no ``makespan.run/1`` document.

    """
    cells = cells_of([document])
    chosen = headline(cells)
    figures = chosen.summary
    lines = [
        f"## {_plain(str(document['scenario']))}",
        "",
        f"**{_plain(chosen.label)}**: {_plain(chosen.remedy)}",
        "",
        "| cell | makespan | speedup | efficiency | lower bound | largest lost cause |",
        "|---|---:|---:|---:|---:|---|",
        *(_markdown_row(cell) for cell in cells),
        "",
        f"Lost time of {_plain(chosen.label)} (the parts sum to the makespan):",
        "",
        "| cause | time | share |",
        "|---|---:|---:|",
    ]
    whole = sum(figures.lost_seconds.values())
    for cause, seconds in figures.lost_seconds.items():
        share = share_text(seconds / whole if whole else None)
        lines.append(f"| {_plain(cause)} | {duration_text(seconds)} | {share} |")
    path = [f"{_plain(part.step_id)} {duration_text(part.seconds)}" for part in figures.critical_path]
    more = f" → … {len(path) - _PATH_SHOWN} more" if len(path) > _PATH_SHOWN else ""
    total = duration_text(figures.critical_path_seconds)
    lines += ["", f"Critical path: {' → '.join(path[:_PATH_SHOWN])}{more} = {total}" if path else "Nothing ran."]
    lines += [f"\n> {_plain(str(caution))}" for caution in chosen.result["cautions"]]
    return "\n".join(lines) + "\n"


def _markdown_row(cell: Cell) -> str:
    figures = cell.summary
    cause = figures.largest_lost_cause
    lost = "–" if cause is None else f"{_plain(cause)} {duration_text(figures.lost_seconds[cause])}"
    makespan = _with_ends(duration_text(cell.makespan_seconds), cell.result["makespan_seconds"]["ci95"], duration_text)
    speedup = "–"
    if cell.speedup is not None:
        speedup = _with_ends(ratio_text(cell.speedup["median"]), cell.speedup["ci95"], ratio_text)
    return (
        f"| {_plain(cell.label)} | {makespan} | {speedup} | {share_text(cell.result['efficiency_ratio'])} "
        f"| {duration_text(figures.lower_bound_seconds)} | {lost} |"
    )


def _with_ends(text: str, ends: Sequence[float] | None, words: Callable[[float], str]) -> str:
    return text if ends is None else f"{text} ({words(ends[0])} to {words(ends[1])})"


def _plain(text: str) -> str:
    return visible(text).translate(_MARKS)


def _trace_text(document: Mapping[str, Any]) -> str:
    return json.dumps(chrome_trace(document), ensure_ascii=True, separators=(",", ":")) + "\n"


# By the name that a person gives: how the document becomes text.
FORMATS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "perfetto": _trace_text,
    "csv": csv_text,
    "markdown": markdown,
}
