"""What a faster step of a foreign trace saves for sure, and what only if the observed order holds. Milliseconds."""

from __future__ import annotations

from typing import Any

import pytest

from executor.record.timeline import NANOSECONDS
from harness.report.terminal.simulation_text import simulation_lines
from harness.simulation import simulate
from harness.simulation.changes import Change, speed_up
from harness.traces.diagnosis.diagnosis import diagnose
from harness.traces.prediction.trace_subject import subject_of_trace
from harness.traces.trace_model import ForeignRun
from tests.unit.traces_by_hand import run_of, span


def sure(run: ForeignRun, step_id: str, divisor: float = 2.0) -> float:
    """Of the step so many times as fast."""
    subject = subject_of_trace(run)
    assert subject.sure_gain_nanoseconds is not None
    return 1000 * subject.sure_gain_nanoseconds(Change("", {step_id: divisor})) / NANOSECONDS


def test_the_next_line_of_code_moves_with_a_faster_step() -> None:
    run = run_of(span("run", 0, 300), span("one", 0, 200, "run"), span("two", 200, 300, "run"))
    assert sure(run, "one") == 100
    assert sure(run, "two") == 50


def test_a_step_that_began_after_a_pause_may_have_waited_for_a_timer() -> None:
    run = run_of(span("run", 0, 400), span("one", 0, 200, "run"), span("two", 300, 400, "run"))
    assert sure(run, "one") == 0
    assert sure(run, "two") == 50


def test_a_step_that_began_as_another_ended_while_a_third_ran_may_have_waited_for_a_place() -> None:
    spans = [span("run", 0, 300), span("long", 0, 250, "run"), span("one", 0, 100, "run"), span("two", 100, 300, "run")]
    assert sure(run_of(*spans), "one") == 0
    assert sure(run_of(*spans), "two") == 25  # it may have waited inside until the long one ended
    declared = [*spans[:3], span("two", 100, 300, "run", links=("one",))]
    assert sure(run_of(*declared), "one") == 50


def test_a_reader_that_began_within_a_stream_waits_for_its_end_inside() -> None:
    run = run_of(span("run", 0, 600), span("stream", 0, 300, "run"), span("reader", 100, 600, "run"))
    assert sure(run, "reader") == 150
    assert sure(run, "reader", float("inf")) == 300


def test_calls_of_one_name_side_by_side_may_wait_for_each_other_inside() -> None:
    calls = [span("chat", 0, end, "run", key=f"chat {end}") for end in (100, 200, 300)]
    assert sure(run_of(span("run", 0, 300), *calls), "chat#3") == 50
    others = [span(name, 0, end, "run") for name, end in (("search", 100), ("chat", 200), ("rank", 300))]
    assert sure(run_of(span("run", 0, 300), *others), "rank") == 100


def test_code_after_the_last_call_moves_with_it() -> None:
    run = run_of(
        span("run", 0, 500), span("agent", 0, 300, "run"), span("chat", 0, 200, "agent"), span("end", 300, 500, "run")
    )
    assert sure(run, "chat") == 100


def test_a_superstep_begins_when_all_of_the_one_before_have_ended() -> None:
    def node(name: str, level: int, start: float, end: float, **more: Any) -> dict[str, Any]:
        words = {"langgraph_step": level, "langgraph_node": name, "langgraph_triggers": more.pop("triggers", [])}
        return span(name, start, end, "graph", values={"metadata": words}, **more)

    run = run_of(
        span("run", 0, 500),
        span("graph", 0, 500, "run"),
        node("slow", 1, 0, 300),
        node("other", 1, 0, 280),
        node("after", 2, 300, 500, triggers=["join:slow:after"]),
    )
    assert ("slow", "after") in {(run.names[e.before], run.names[e.after]) for e in run.edges}
    assert sure(run, "slow") == 20


def test_what_only_waits_is_not_made_faster() -> None:
    run = run_of(span("run", 0, 300), span("sleep 200ms", 0, 200, "run"), span("two", 200, 300, "run"))
    assert sure(run, "sleep 200ms") == 0


def test_a_simulated_trace_says_beside_each_gain_how_much_of_it_is_sure() -> None:
    run = run_of(span("run", 0, 400), span("one", 0, 200, "run"), span("two", 300, 400, "run"))
    subject = subject_of_trace(run)
    found = simulate(subject, [speed_up("one=2x", subject.steps), speed_up("two=2x", subject.steps)])
    gains = {one.label: (one.gain_seconds, one.sure_gain_seconds) for one in found.gains}
    assert gains["step one 2× as fast"] == pytest.approx((0.1, 0.0))
    assert gains["step two 2× as fast"] == pytest.approx((0.05, 0.05))
    lines = [line.text for line in simulation_lines(found, [None])]
    assert [line.split()[-1] for line in lines if "as fast" in line] == ["nothing", "all"]
    assert any("for sure" in line for line in lines)
    assert any("possible if the observed order holds" in line for line in lines)


def test_a_raised_limit_lets_calls_begin_in_the_order_in_which_they_asked() -> None:
    lengths = [100, 100, 100, 100, 400]  # the longest asked last: with four places it begins as the first ones end
    free = [0, 0]
    calls = []
    for number, length in enumerate(lengths):
        place = free.index(min(free))
        calls.append(span("ask", free[place], free[place] + length, "run", key=f"ask {number}"))
        free[place] += length
    diagnosis = diagnose(run_of(span("run", 0, max(free)), *calls))
    gains = {one.at_once: round(1000 * one.makespan_seconds) for one in diagnosis.raised}
    assert gains == {4: 500, None: 400}


def test_polls_are_no_queue() -> None:
    polls = [span("get task", 100 * n, 100 * n + 10, "run", key=f"poll {n}", kind=3) for n in range(6)]
    work = [span("render", 0, 250, "run", service="other"), span("rank", 250, 500, "run", service="other")]
    assert diagnose(run_of(span("run", 0, 510), *polls, *work)).queues == []
