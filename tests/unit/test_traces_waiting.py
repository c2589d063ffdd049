"""Spans that only wait are no work: the path goes through the work that they wait for, and nothing is advised there."""

from __future__ import annotations

import pytest

from harness.analysis import summary
from harness.traces import ForeignRun
from harness.traces.diagnosis.diagnosis import diagnose
from tests.unit.traces_by_hand import codes, edges_of, run_of, span


def path(run: ForeignRun) -> list[str]:
    return [one.step_id for one in summary(run.timeline, foreign=True).critical_path]


def waiting(run: ForeignRun) -> dict[str, str]:
    return {step_id: why for step_id, why in zip(run.timeline.step_ids, run.waiting, strict=True) if why is not None}


def polls(count: int, *, first: float = 10, every: float = 100, lasting: float = 5) -> list[dict[str, object]]:
    return [
        span("GET /jobs/7", first + n * every, first + n * every + lasting, "run", key=f"poll {n}")
        for n in range(count)
    ]


def test_polls_beside_the_work_are_left_out_and_the_path_goes_through_the_work() -> None:
    run = run_of(
        span("run", 0, 600), span("submit", 0, 10, "run"), span("job", 5, 500, "submit", service="worker"),
        *polls(6), span("fetch", 520, 600, "run"),
    )  # fmt: skip
    assert run.timeline.step_ids == ["submit", "job", "fetch"]
    assert codes(run)["waits_left_out"] == 6
    assert ("job", "fetch") in edges_of(run)
    assert path(run)[-2:] == ["job", "fetch"]


def test_polls_for_something_that_is_not_in_the_trace_stay_and_are_marked() -> None:
    run = run_of(span("run", 0, 700), *polls(6), span("fetch", 600, 700, "run"))
    assert len(waiting(run)) == 6
    assert set(waiting(run).values()) == {"polls"}
    assert "fetch" not in waiting(run)


def test_queries_in_a_row_are_no_polls() -> None:
    run = run_of(span("run", 0, 700), *polls(10, every=6, lasting=5), *polls(0))
    assert waiting(run) == {}


def test_calls_in_a_row_with_uneven_pauses_are_no_polls() -> None:
    begins = [0, 50, 300, 340, 900, 1500]
    run = run_of(span("run", 0, 2000), *[span("call", t, t + 5, "run", key=str(t)) for t in begins])
    assert waiting(run) == {}


def test_the_turns_of_a_loop_are_no_polls() -> None:
    spans = [span("run", 0, 2000)]
    for turn in range(8):
        spans.append(span("chat", turn * 200, turn * 200 + 120, "run", key=f"c{turn}"))
        spans.append(span("tool", turn * 200 + 121, turn * 200 + 126, "run", key=f"t{turn}"))
    assert waiting(run_of(*spans)) == {}


@pytest.mark.parametrize(
    "name", ["sleep", "time.sleep", "asyncio.sleep", "wait_for_job", "backoff", "sleep(5)", "retry backoff", "wait"]
)
def test_a_sleep_is_known_by_its_name(name: str) -> None:
    run = run_of(span("run", 0, 30), span("a", 0, 10, "run"), span(name, 10, 20, "run"), span("b", 20, 30, "run"))
    assert set(waiting(run).values()) == {"sleeps"}


@pytest.mark.parametrize(
    "name", ["sleepy", "await_result_of_model", "write", "waiter", "GET /sleep/7/data", "pollution"]
)
def test_a_name_that_only_looks_like_a_wait_is_none(name: str) -> None:
    run = run_of(span("run", 0, 30), span("a", 0, 10, "run"), span(name, 10, 20, "run"), span("b", 20, 30, "run"))
    assert waiting(run) == {}


def test_a_sleep_beside_work_is_left_out() -> None:
    run = run_of(span("run", 0, 40), span("work", 0, 19, "run"), span("sleep", 1, 20, "run"), span("b", 20, 30, "run"))
    assert run.timeline.step_ids == ["work", "b"]
    assert edges_of(run) == {("work", "b"): ("assumed", "observed order")}


def test_a_servers_own_receiving_and_sending_is_no_step() -> None:
    run = run_of(
        span("GET /x", 0, 30, kind=2), span("GET /x http receive", 0, 29, "GET /x"),
        span("query", 5, 20, "GET /x", kind=3), span("GET /x http send", 21, 22, "GET /x"),
    )  # fmt: skip
    assert run.timeline.step_ids == ["query"]


def test_a_call_that_covers_another_services_work_beside_it_becomes_its_parent() -> None:
    run = run_of(
        span("run", 0, 40), span("send_message", 0, 30, "run"),
        span("agent turn", 1, 29, "run", service="agent", kind=2), span("b", 30, 40, "run"),
    )  # fmt: skip
    assert run.timeline.step_ids == ["send_message", "agent turn", "b"]
    assert list(run.timeline.nested_in) == [-1, 0, -1]
    assert waiting(run) == {"send_message": "covers the work of others"}
    assert codes(run)["covers_work"] == 1
    assert path(run) == ["send_message", "agent turn", "send_message", "b"]


def test_a_call_that_covers_little_of_others_work_is_work_itself() -> None:
    run = run_of(
        span("run", 0, 40), span("send_message", 0, 30, "run"),
        span("agent turn", 1, 9, "run", service="agent", kind=2), span("b", 30, 40, "run"),
    )  # fmt: skip
    assert waiting(run) == {}


def test_work_of_the_same_service_side_by_side_is_left_alone() -> None:
    run = run_of(
        span("run", 0, 40), span("call a", 0, 30, "run", kind=3), span("call b", 1, 29, "run", kind=3),
        span("c", 30, 40, "run"),
    )  # fmt: skip
    assert waiting(run) == {}
    assert list(run.timeline.nested_in) == [-1, -1, -1]


def test_two_calls_of_a_server_one_after_the_other_are_no_waits() -> None:
    run = run_of(
        span("run", 0, 40),
        span("GET a", 0, 20, "run", kind=3), span("a", 1, 19, "GET a", service="server", kind=2),
        span("GET b", 20, 40, "run", kind=3), span("b", 21, 39, "GET b", service="server", kind=2),
    )  # fmt: skip
    assert waiting(run) == {}
    assert edges_of(run) == {("GET a", "GET b"): ("assumed", "observed order")}


@pytest.mark.parametrize("name", ["Sleep 10s", "Sleep ${t}", "sleep for 5 seconds", "Wait: 2.5 min", "sleep(${delay})"])
def test_a_sleep_that_says_how_long_is_a_sleep(name: str) -> None:
    run = run_of(span("run", 0, 30), span("a", 0, 10, "run"), span(name, 10, 20, "run"), span("b", 20, 30, "run"))
    assert set(waiting(run).values()) == {"sleeps"}


@pytest.mark.parametrize("name", ["wait list 5", "sleep study 10", "delay 5 flights", "Sleepy ${t}"])
def test_a_name_with_a_number_that_only_looks_like_a_sleep_is_none(name: str) -> None:
    run = run_of(span("run", 0, 30), span("a", 0, 10, "run"), span(name, 10, 20, "run"), span("b", 20, 30, "run"))
    assert waiting(run) == {}


def test_a_call_with_a_short_child_of_its_own_covers_another_services_work_all_the_same() -> None:
    run = run_of(
        span("run", 0, 12000), span("send_message", 0, 9900, "run", kind=3), span("encode", 0, 0.1, "send_message"),
        span("b", 9900, 12000, "run"),
        span("agent turn", 50, 9850, "run", service="agent", kind=2),
    )  # fmt: skip
    assert codes(run)["covers_work"] == 1
    assert waiting(run)["send_message"] == "covers the work of others"
    assert path(run)[-3:] == ["agent turn", "send_message", "b"]


def test_the_innermost_call_that_holds_the_work_covers_it() -> None:
    run = run_of(
        span("run", 0, 200), span("send_message", 0, 100, "run"), span("POST", 2, 98, "send_message", kind=3),
        span("agent turn", 5, 95, "run", service="agent", kind=2), span("b", 100, 200, "run"),
    )  # fmt: skip
    assert waiting(run) == {"POST": "covers the work of others"}
    assert run.timeline.step_ids[run.timeline.nested_in[run.timeline.step_ids.index("agent turn")]] == "POST"


def test_a_call_whose_own_children_do_the_work_covers_nobody() -> None:
    run = run_of(
        span("run", 0, 100), span("send_message", 0, 90, "run"), span("think", 2, 88, "send_message"),
        span("agent turn", 5, 85, "run", service="agent", kind=2), span("b", 90, 100, "run"),
    )  # fmt: skip
    assert waiting(run) == {}


def long_polls(name: str, *lengths: float) -> list[dict[str, object]]:
    made, at = [], 0.0
    for number, length in enumerate(lengths):
        made.append(span(name, at, at + length, "run", key=f"{name} {number}"))
        at += length + 0.2
    return made


def test_polls_in_a_row_without_pauses_are_no_work() -> None:
    run = run_of(
        span("run", 0, 2000), *long_polls("EventQueue.dequeue_event", 500, 500, 500, 400),
        span("work", 0, 1895, "run", service="agent", kind=2),
    )  # fmt: skip
    assert run.timeline.step_ids == ["work"]
    alone = diagnose(run_of(span("run", 0, 2000), *long_polls("EventQueue.dequeue_event", 500, 500, 500, 400)))
    assert set(alone.run.waiting) == {"polls"}
    assert not alone.together


def test_calls_as_long_as_each_other_are_long_polls_where_the_last_ends_with_the_work_of_another_service() -> None:
    work = span("work", 0, 1895, "run", service="agent", kind=2)
    beside = run_of(span("run", 0, 2000), *long_polls("GET /jobs/7", 500, 501, 499, 396), work)
    assert beside.timeline.step_ids == ["work"]
    assert waiting(run_of(span("run", 0, 2000), *long_polls("GET /jobs/7", 500, 501, 499, 396))) == {}
    assert waiting(run_of(span("run", 0, 2000), *long_polls("GET /jobs/7", 500, 301, 499, 396), work)) == {}
    assert waiting(run_of(span("run", 0, 2000), *long_polls("GET /jobs/7", 500, 501, 499, 500), work)) == {}


def test_polls_take_no_worker() -> None:
    work = [span("a", 0, 1000, "run"), span("b", 0, 1000, "run"), span("c", 1000, 1100, "run")]
    run = run_of(span("run", 0, 2000), *work, *long_polls("dequeue_event", 300, 300, 300))
    assert diagnose(run).predictions.by_workers["2"].makespan_seconds == pytest.approx(2, abs=0.01)


def test_a_loop_that_hands_on_what_comes_in_waits_like_the_polls_in_it_beside_work_of_many_spans() -> None:
    """What a2a-sdk's server says of an agent: its loop and its consumer wait as long as the agent works."""
    run = run_of(
        span("handle", 0, 1000),
        span("EventQueue._dispatch_loop", 5, 1000, "handle", key="loop"),
        span("put", 10, 20, "loop"),
        span("EventQueue.dequeue_event", 15, 995, "handle", key="dequeue"),
        span("agent", 20, 990, "handle"),
        *(span(f"node {n}", 20 + 190 * n, 210 + 190 * n, "agent") for n in range(5)),
    )
    assert not any("dequeue" in name or "loop" in name for name in run.names)
    assert {"node 0", "node 4", "put"} <= set(run.names)


def test_a_loop_that_works_itself_is_no_wait() -> None:
    run = run_of(
        span("handle", 0, 1000),
        span("event_loop", 0, 1000, "handle", key="loop"),
        *(span(f"work {n}", 100 * n, 100 * n + 90, "loop") for n in range(10)),
        span("log", 0, 900, "handle"),
    )
    assert "event_loop" in run.names
