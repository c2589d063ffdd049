"""The analysis of a trace grows with its spans, whatever their shape: no worse than n log n."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from harness.report.terminal.analysis_text import analysis_lines
from harness.traces import foreign_run
from harness.traces.diagnosis import advice
from harness.traces.diagnosis.advice import side_by_side
from harness.traces.diagnosis.diagnosis import diagnose
from harness.traces.diagnosis.trace_groups import digest_of
from tests.unit.trace_making import run_of
from tests.unit.trace_shapes import SHAPES, Spans, shaped

SMALL, LARGE = 400, 1_600
# Four times the spans: n log n makes less than five of it, n² sixteen. Between them is a margin for a busy machine.
AT_MOST = 9.0


@contextmanager
def without_collection() -> Iterator[None]:
    """No collection of garbage: one takes as long as everything that all tests before have left."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def cpu_seconds(shape: Callable[[int], Spans], count: int) -> float:
    trace = shaped(shape, count)
    with without_collection():
        began = time.process_time()
        run = foreign_run(trace)
        list(analysis_lines(diagnose(run)))
        digest_of(run)
        return time.process_time() - began


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.__name__))
def test_four_times_the_spans_take_about_four_times_as_long(shape: Callable[[int], Spans]) -> None:
    cpu_seconds(shape, 20)  # what is made once
    small = min(cpu_seconds(shape, SMALL) for _ in range(2))
    found = cpu_seconds(shape, LARGE) / small
    if found > AT_MOST:  # another process was in the way, or it is true
        found = min(cpu_seconds(shape, LARGE) for _ in range(2)) / small
    assert found <= AT_MOST


def row_and_one_after(calls: int) -> dict[str, tuple[float, float]]:
    return {**{f"call {n}": (float(n), n + 0.9) for n in range(calls)}, "after": (float(calls), calls + 1.0)}


def lines_of_advice(calls: int) -> int:
    """How many lines of Python the search for steps side by side runs: the same on every machine."""
    run = run_of(row_and_one_after(calls), names={f"call {n}": "call" for n in range(calls)})
    lines = 0

    def counted(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return counted

    before = sys.gettrace()
    sys.settrace(counted)
    try:
        sets, _ = side_by_side(run)
    finally:
        sys.settrace(before)
    assert [len(one.steps) for one in sets] == [calls]
    return lines


def test_thirty_calls_in_a_row_and_one_step_after_are_no_more_paths_than_calls() -> None:
    # Each pair of calls is tried once, and a trial visits each call: n³. All paths would be 2²⁰ times as many.
    assert lines_of_advice(30) <= 3**3 * lines_of_advice(10)


def test_a_budget_covers_all_trials_of_steps_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[int] = []
    saved = advice._Groups._saved

    def counted(groups: advice._Groups, caller: int, *more: dict[int, Sequence[int]]) -> int:
        before = groups.visits_left
        found = saved(groups, caller, *more)  # type: ignore[arg-type] # as it was called
        visited.append(before - groups.visits_left)
        return found

    monkeypatch.setattr(advice._Groups, "_saved", counted)
    count = 3_000
    times = {f"call {n}": (float(n), n + 0.9) for n in range(count)}
    times |= {f"long {n}": (count + 40.0 * n, count + 40.0 * n + 39) for n in range(40)}
    run = run_of(times)
    _, pairs = side_by_side(run)
    assert pairs
    assert sum(visited) <= advice._BUDGET + advice._BUDGET_PER_SPAN * (count + 40) + count + 40
