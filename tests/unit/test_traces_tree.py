"""What a trace lacks or has wrong: each defect is mended in a stated way, and the figures stay sensible."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from harness.analysis import summary
from harness.traces import ForeignRun, foreign_run
from harness.traces.prediction.trace_subject import subject_of_trace
from tests.unit.traces_by_hand import (
    BEGIN,
    MILLISECOND,
    TRACE,
    codes,
    edges_of,
    read,
    request,
    run_of,
    span,
    span_id,
    waits_of,
)  # fmt: skip


def times(run: ForeignRun) -> dict[str, tuple[float, float]]:
    """By step id, when its first attempt started and its last one ended, in milliseconds."""
    found: dict[str, tuple[float, float]] = {}
    for one in run.timeline.attempts:
        begin = found.get(one.step_id, ((one.started or 0) / MILLISECOND, 0))[0]
        found[one.step_id] = (begin, (one.ended or 0) / MILLISECOND)
    return found


def nesting(run: ForeignRun) -> dict[str, str | None]:
    ids = run.timeline.step_ids
    return {ids[step]: None if above < 0 else ids[above] for step, above in enumerate(run.timeline.nested_in)}


def path(run: ForeignRun) -> list[tuple[str, float]]:
    """The critical path in milliseconds."""
    return [(one.step_id, round(one.seconds * 1000, 6)) for one in summary(run.timeline, foreign=True).critical_path]


def test_the_root_that_holds_all_is_an_envelope_and_no_step() -> None:
    run = run_of(span("run", 0, 10), span("a", 1, 4, "run"), span("b", 5, 9, "run"))
    assert [one.name for one in run.envelopes] == ["run"]
    assert times(run) == {"a": (1, 4), "b": (5, 9)}
    assert run.workflow == "run"
    assert run.origin == BEGIN
    assert not run.findings


def test_a_span_alone_is_a_step() -> None:
    run = run_of(span("only", 0, 10))
    assert times(run) == {"only": (0, 10)}
    assert run.timeline.makespan_seconds == 0.010


def test_wrappers_within_wrappers_are_envelopes_while_they_fill_each_other() -> None:
    run = run_of(
        span("server", 0, 100),
        span("handler", 1, 99, "server"),
        span("a", 2, 50, "handler"),
        span("b", 50, 98, "handler"),
    )
    assert [one.name for one in run.envelopes] == ["server", "handler"]
    assert set(times(run)) == {"a", "b"}


def test_a_span_with_children_is_blocked_while_they_run() -> None:
    run = run_of(
        span("run", 0, 20), span("node", 0, 10, "run"), span("call", 2, 5, "node"), span("again", 6, 9, "node"),
        span("last", 10, 20, "run"),
    )  # fmt: skip
    [node] = [one for one in run.timeline.attempts if one.step_id == "node"]
    assert [(a / MILLISECOND, b / MILLISECOND) for a, b in node.blocked] == [(2, 5), (6, 9)]
    assert nesting(run) == {"node": None, "call": "node", "again": "node", "last": None}
    assert path(run) == [("node", 2), ("call", 3), ("node", 1), ("again", 3), ("node", 1), ("last", 10)]


def test_time_that_no_child_covers_is_a_gap() -> None:
    run = run_of(span("run", 0, 20), span("a", 2, 5, "run"), span("b", 9, 20, "run"))
    assert waits_of(run, "a") == [("gap", 0, 2)]
    assert waits_of(run, "b") == [("gap", 5, 9)]
    assert summary(run.timeline, foreign=True).lost_seconds == {"running": 0.014, "gap": 0.006}


def test_those_that_wait_for_the_slowest_of_a_level_wait_at_a_barrier() -> None:
    run = run_of(
        span("run", 0, 30), span("fast", 0, 4, "run"), span("slow", 0, 10, "run"),
        span("after fast", 10, 20, "run", links=("fast",)), span("after slow", 10, 20, "run", links=("slow",)),
    )  # fmt: skip
    assert waits_of(run, "after fast") == [("barrier", 4, 10)]
    assert waits_of(run, "after slow") == []


def test_those_that_wait_while_others_run_one_by_one_wait_for_a_worker() -> None:
    run = run_of(
        span("run", 0, 30), span("a", 0, 10, "run"), span("b", 10, 20, "run", links=("a",)),
        span("c", 20, 30, "run", links=("a",)),
    )  # fmt: skip
    assert waits_of(run, "c") == [("worker", 10, 20)]


def test_children_may_stand_before_their_parents() -> None:
    spans = [span("run", 0, 10), span("a", 1, 4, "run"), span("b", 5, 9, "run")]
    assert times(run_of(*reversed(spans))) == times(run_of(*spans))


def test_orphans_stand_beside_the_root_and_are_counted() -> None:
    run = run_of(span("root", 0, 10), span("child", 1, 4, "root"), span("orphan", 5, 20, "gone"))
    assert codes(run) == {"missing_parent": 1, "late_start": 1}
    assert nesting(run) == {"root": None, "child": "root", "orphan": None}
    assert run.timeline.makespan_seconds == 0.020


def test_without_any_root_everything_is_counted() -> None:
    run = run_of(span("a", 0, 5, "gone"), span("b", 5, 9, "gone"))
    assert codes(run) == {"missing_parent": 2, "no_root": 1}
    assert times(run) == {"a": (0, 5), "b": (5, 9)}


def test_of_several_roots_everything_is_counted() -> None:
    run = run_of(span("one", 0, 5), span("in one", 1, 4, "one"), span("two", 5, 9), span("in two", 6, 8, "two"))
    assert codes(run) == {"several_roots": 2}
    assert set(times(run)) == {"one", "in one", "two", "in two"}
    assert run.envelopes == []


def test_a_span_that_was_exported_twice_counts_once() -> None:
    run = run_of(span("run", 0, 10), span("a", 1, 4, "run"), span("a", 1, 4, "run"), span("b", 5, 9, "run"))
    assert codes(run) == {"duplicate_span": 1}
    assert set(times(run)) == {"a", "b"}


def test_spans_that_share_an_id_are_both_kept() -> None:
    run = run_of(
        span("run", 0, 10), span("a", 1, 4, "run", key="x"), span("b", 5, 9, "run", key="x"), span("c", 2, 3, "x")
    )
    assert codes(run) == {"duplicate_id": 1}
    assert nesting(run) == {"a": None, "c": "a", "b": None}


def test_a_parent_that_is_its_own_child_stands_at_the_top() -> None:
    run = run_of(span("a", 0, 10, "a"), span("b", 1, 4, "a"))
    assert codes(run) == {"own_parent": 1, "no_root": 1}
    assert set(times(run)) == {"b"}


def test_spans_that_are_each_others_ancestors_are_cut_apart() -> None:
    run = run_of(span("a", 0, 10, "c"), span("b", 1, 9, "a"), span("c", 2, 8, "b"), span("d", 3, 4, "c"))
    assert codes(run)["parent_cycle"] == 1
    assert set(times(run)) <= {"a", "b", "c", "d"}
    assert run.timeline.makespan_seconds > 0


def test_a_span_without_an_end_ends_with_its_last_child() -> None:
    run = run_of(span("run", 0, 20), span("open", 1, None, "run"), span("in it", 2, 8, "open"), span("b", 9, 12, "run"))
    assert codes(run) == {"no_end": 1}
    assert times(run)["open"] == (1, 8)


def test_a_childless_span_without_an_end_takes_no_time() -> None:
    run = run_of(span("run", 0, 20), span("open", 1, None, "run"), span("b", 9, 12, "run"))
    assert times(run)["open"] == (1, 1)


def test_a_negative_duration_counts_as_none() -> None:
    run = run_of(span("run", 0, 20), span("odd", 5, 2, "run"), span("b", 9, 12, "run"))
    assert codes(run) == {"negative_duration": 1}
    assert times(run)["odd"] == (5, 5)


def test_spans_of_no_length_at_one_instant_make_no_cycle() -> None:
    run = run_of(
        span("run", 0, 10), *[span(f"s{n}", 5, 5, "run", links=(f"s{(n + 1) % 5}",)) for n in range(5)]
    )  # fmt: skip
    assert summary(run.timeline, foreign=True).makespan_seconds == 0.005
    assert codes(run)["contradicted_edge"] == 4


def test_work_that_goes_on_after_its_parent_counts_beside_it() -> None:
    run = run_of(
        span("run", 0, 30), span("submit", 0, 5, "run"), span("job", 1, 20, "submit"), span("get", 20, 25, "run")
    )
    assert codes(run) == {"outlasts_parent": 1}
    assert nesting(run) == {"submit": None, "job": None, "get": None}
    assert ("job", "get") in edges_of(run)


def test_work_that_begins_after_its_parent_follows_it() -> None:
    run = run_of(span("run", 0, 30), span("submit", 0, 5, "run"), span("job", 8, 20, "submit"))
    assert codes(run) == {"after_parent": 1}
    assert nesting(run) == {"submit": None, "job": None}
    assert edges_of(run) == {("submit", "job"): ("inferred", "span tree")}


def test_a_server_that_closes_its_span_when_the_caller_has_the_answer_is_still_the_call() -> None:
    run = run_of(
        span("run", 0, 300), span("call", 0, 100, "run", kind=3), span("serve", 1, 108, "call", kind=2),
        span("send", 90, 107, "serve"), span("after", 110, 300, "run"),
    )  # fmt: skip
    assert nesting(run) == {"call": None, "serve": "call", "send": "serve", "after": None}
    assert codes(run) == {"child_outside_parent": 1}
    late = run_of(span("run", 0, 300), span("call", 0, 100, "run", kind=3), span("serve", 1, 200, "call", kind=2))
    assert nesting(late) == {"call": None, "serve": None}


def test_a_child_that_ends_a_moment_after_its_parent_is_still_its_call() -> None:
    run = run_of(
        span("run", 0, 30), span("node", 0, 10, "run"), span("call", 1, 10.05, "node"), span("b", 11, 20, "run")
    )
    assert nesting(run)["call"] == "node"
    assert times(run)["call"] == (1, 10)
    assert not run.findings


def skewed(offset: float) -> ForeignRun:
    """A client with three calls of a server whose clock is ahead by so many milliseconds."""
    calls = []
    for n in range(3):
        begin = n * 20
        calls.append(span(f"call {n}", begin, begin + 10, "run", kind=3))
        calls.append(
            span(f"serve {n}", begin + 2 + offset, begin + 8 + offset, f"call {n}", service="server", kind=2)
        )  # fmt: skip
    return run_of(span("run", 0, 60), *calls)


@pytest.mark.parametrize("offset", [-5000, -7, 7, 5000])
def test_clocks_that_differ_are_put_right_and_said(offset: float) -> None:
    run, straight = skewed(offset), skewed(0)
    assert times(run) == times(straight)
    assert nesting(run) == nesting(straight)
    assert codes(run) == {"clock_skew": 3}
    assert "server" in str(run.findings[0])


def test_clocks_that_agree_are_left_alone() -> None:
    assert not skewed(0).findings
    assert not skewed(1.5).findings


def test_a_child_before_its_parent_on_one_clock_is_only_said() -> None:
    run = run_of(span("run", 0, 30), span("node", 10, 20, "run"), span("early", 5, 15, "node"))
    assert codes(run) == {"child_outside_parent": 1}


def test_a_retry_is_a_further_attempt_and_its_pause_a_backoff() -> None:
    run = run_of(
        span("run", 0, 30), span("call", 0, 5, "run", key="1", error=True),
        span("call", 8, 12, "run", key="2", error=True),
        span("call", 15, 20, "run", key="3"), span("b", 20, 30, "run"),
    )  # fmt: skip
    tries = [one for one in run.timeline.attempts if one.step_id == "call"]
    assert [(one.attempt, one.outcome) for one in tries] == [(1, "failed"), (2, "failed"), (3, "succeeded")]
    assert [[(wait.reason, wait.end - wait.start) for wait in one.waits] for one in tries] == [
        [], [("backoff", 3 * MILLISECOND)], [("backoff", 3 * MILLISECOND)],
    ]  # fmt: skip
    assert run.timeline.statuses[0] == "succeeded"
    assert [one.span_id for one in run.spans[0]] == [span_id(key) for key in "123"]


def test_a_failed_call_and_one_for_something_else_are_two_steps() -> None:
    run = run_of(
        span("run", 0, 30), span("GET", 0, 5, "run", key="1", error=True, values={"url.full": "http://a"}),
        span("GET", 8, 12, "run", key="2", values={"url.full": "http://b"}),
    )  # fmt: skip
    assert run.timeline.step_ids == ["GET", "GET#2"]


def test_names_that_recur_are_numbered() -> None:
    run = run_of(*[span("a", n, n + 1, key=str(n)) for n in range(3)], span("a#2", 5, 6))
    assert run.timeline.step_ids == ["a", "a#2", "a#3", "a#2#2"]


@pytest.mark.slow
def test_a_hundred_thousand_spans_within_each_other_are_read() -> None:
    depth = 100_000
    spans: list[dict[str, Any]] = [
        {
            "traceId": TRACE, "spanId": f"{n + 1:016x}", "name": "deep",
            "startTimeUnixNano": str(BEGIN + n), "endTimeUnixNano": str(BEGIN + 3 * depth - n),
            **({"parentSpanId": f"{n:016x}"} if n else {}),
            **({"links": [{"spanId": f"{n // 2 + 1:016x}"}]} if n % 100 == 0 else {}),
        }
        for n in range(depth)
    ]  # fmt: skip
    random.Random(1).shuffle(spans)
    begin = time.perf_counter()
    [trace] = read(request(*spans))
    run = foreign_run(trace)
    # The envelopes fill each other; the rest is a chain.
    assert len(run.names) + len(run.envelopes) == depth
    assert summary(run.timeline, foreign=True).makespan_seconds > 0
    assert time.perf_counter() - begin < 120


def test_links_from_the_depths_are_edges_between_those_at_the_top() -> None:
    spans = [span("run", 0, 100)]
    for top in ("a", "b"):
        begin = 0 if top == "a" else 50
        spans.append(span(top, begin, begin + 40, "run"))
        for n in range(1, 30):
            parent = top if n == 1 else f"{top}{n - 1}"
            links = ("a17",) if (top, n) == ("b", 23) else ()
            spans.append(span(f"{top}{n}", begin + n / 2, begin + 40 - n / 2, parent, links=links))
    assert edges_of(run_of(*spans)) == {("a", "b"): ("declared", "links")}


def test_a_trace_in_which_nothing_can_be_a_step_has_none() -> None:
    run = run_of(span("run", 0, 10), span("GET / http send", 1, 2, "run"))
    assert run.timeline.makespan_seconds >= 0


@pytest.mark.parametrize("seed", range(60))
def test_any_trace_gives_a_run_whose_parts_fit_together(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randint(1, 40)
    spans = []
    for n in range(count):
        begin = chance.choice([0, 5, chance.randint(0, 100)])
        parent = chance.choice([None, f"s{chance.randrange(count)}", "gone", f"s{n}"])
        links = tuple(f"s{chance.randrange(count + 1)}" for _ in range(chance.choice([0, 0, 1, 3])))
        end = chance.choice([None, begin, begin + chance.randint(-3, 60)])
        spans.append(
            span(
                chance.choice(["work", "poll", f"n{n}"]), begin, end, parent,
                key=f"s{chance.choice([n, n, n, n // 2])}", links=links, error=chance.random() < 0.2,
                kind=chance.randint(0, 5), service=chance.choice(["app", "db", "web"]),
            )
        )  # fmt: skip
    run = run_of(*spans)
    timeline = run.timeline
    figures = summary(timeline, foreign=True)
    assert figures.critical_path_seconds <= figures.makespan_seconds + 1e-9
    assert sum(figures.lost_seconds.values()) == pytest.approx(figures.makespan_seconds)
    assert len(run.names) == len(run.spans) == len(run.waiting) == len(timeline.step_ids)
    assert len(set(timeline.step_ids)) == len(timeline.step_ids)
    for one in timeline.attempts:
        assert one.started is not None
        assert one.ended is not None
        assert 0 <= one.ready <= one.granted <= one.started <= one.ended
    for edge in run.edges:
        assert timeline.nested_in[edge.before] == timeline.nested_in[edge.after]
        assert edge.before in timeline.data_parents[edge.after]


def test_a_child_that_begins_before_its_parent_is_listed_after_it_and_can_run_again() -> None:
    run = run_of(
        span("run", 0, 100), span("parent", 20, 60, "run"), span("child", 10, 50, "parent"), span("b", 60, 100, "run")
    )
    assert run.timeline.step_ids == ["parent", "child", "b"]
    assert subject_of_trace(run).rerun.run().makespan_nanoseconds > 0
