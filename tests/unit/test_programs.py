"""Random programs with known truth: they play as they are written, and what is wrong with an analysis is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.testing.programs import scoring
from harness.testing.programs.known_truth import Truth
from harness.testing.programs.playing import Change, play
from harness.testing.programs.program import (
    Program,
    ProgramError,
    Statement,
    program_from_data,
    program_to_data,
    read_program,
)
from harness.testing.programs.program_drawing import STATEMENTS, TRACING, draw_program
from harness.testing.programs.program_fuzzing import BREAKS, examine_program, fuzz_programs, replay_program
from harness.testing.programs.program_shrinking import shrink_program
from harness.testing.programs.span_emission import emitted, otlp_document
from harness.testing.programs.virtual_clock import DeadlockError, Event, VirtualClock
from harness.traces import Span, read_traces

MILLISECOND = 1_000_000
DRAWN = 200


def work(key: int, milliseconds: int, *uses: int, name: str = "work") -> Statement:
    return Statement(key, "work", name, milliseconds * MILLISECOND, uses=uses)


def program(*statements: Statement, **words: Any) -> Program:
    return Program(Statement(0, "block", "run", children=statements), **words)


def makespan(played: Program, **change: Any) -> float:
    return play(played, Change(**change)).makespan / MILLISECOND


def times(played: Program, key: int) -> list[tuple[float, float]]:
    return [
        (span.start / MILLISECOND, span.end / MILLISECOND) for span in play(played).spans if span.statement == key
    ]  # fmt: skip


def test_a_row_takes_the_sum_and_a_gather_the_longest() -> None:
    assert makespan(program(work(1, 10), work(2, 30))) == 40
    assert makespan(program(Statement(9, "gather", children=(work(1, 10), work(2, 30))))) == 30


def test_a_pool_lets_so_many_through_in_the_order_of_the_text() -> None:
    pool = program(Statement(9, "pool", limit=2, children=(work(1, 10), work(2, 30), work(3, 10), work(4, 10))))
    assert [times(pool, key)[0] for key in (1, 2, 3, 4)] == [(0, 10), (0, 30), (10, 20), (20, 30)]
    assert makespan(pool, limits={9: 4}) == 30
    assert play(pool).waited == {9: 30 * MILLISECOND}


def test_the_span_of_a_pools_member_may_open_before_it_has_its_place() -> None:
    pool = program(Statement(9, "pool", limit=1, waits_inside=True, children=(work(1, 10), work(2, 10))))
    assert times(pool, 2) == [(0, 20)]


def test_workers_take_a_queue_in_order() -> None:
    queue = program(Statement(9, "queue", limit=2, children=(work(1, 10), work(2, 30), work(3, 10))))
    assert times(queue, 3) == [(10, 20)]


def test_a_worker_of_a_queue_may_have_a_span_around_what_it_takes() -> None:
    items = (work(1, 10), work(2, 30), work(3, 10))
    queue = program(Statement(9, "queue", limit=2, children=items, worker_spans=True))
    assert times(queue, 9) == [(0, 20), (0, 30)]
    assert [span.parent for span in play(queue).spans if span.statement in (1, 2, 3)] == [1, 2, 1]


def test_a_client_may_have_a_child_of_its_own_before_its_server() -> None:
    call = Statement(9, "call", "POST", children=(work(1, 10),), pause_nanoseconds=2 * MILLISECOND, connects=True)
    assert [span.name for span in play(program(call)).spans[1:4]] == ["POST", "connect", "POST handler"]
    assert times(program(call), 9) == [(0, 14), (0, 2), (2, 12)]


def test_polls_go_on_until_one_of_them_comes_after_the_end() -> None:
    poll = Statement(9, "poll", "get task", 5 * MILLISECOND, (work(1, 12),), pause_nanoseconds=20 * MILLISECOND)
    assert times(program(poll), 9) == [(0, 5), (25, 30)]


def test_a_long_poll_is_answered_at_the_end_of_what_it_asks_for() -> None:
    poll = Statement(9, "poll", "get task", 10 * MILLISECOND, (work(1, 12),))
    assert times(program(poll), 9) == [(0, 10), (10, 12)]


def test_a_retry_fails_waits_and_succeeds() -> None:
    retry = Statement(9, "retry", "fetch", 10 * MILLISECOND, failures=2, pause_nanoseconds=5 * MILLISECOND)
    spans = play(program(retry)).spans[1:]
    assert times(program(retry), 9) == [(0, 10), (15, 25), (35, 45)]
    assert [span.failed for span in spans] == [True, True, False]


def test_a_call_stands_around_its_server_and_the_way_there_and_back() -> None:
    call = Statement(9, "call", "POST", children=(work(1, 10),), pause_nanoseconds=2 * MILLISECOND, service="store")
    assert times(program(call), 9) == [(0, 14), (2, 12)]
    client, server = [span for span in play(program(call)).spans if span.statement == 9]
    assert (client.service, client.kind, server.service, server.kind) == ("app", "client", "store", "server")


def test_a_reader_begins_with_the_first_part_of_a_stream_and_ends_after_it() -> None:
    stream = Statement(9, "stream", "chat", 100 * MILLISECOND, (work(1, 5),), pause_nanoseconds=20 * MILLISECOND)
    assert times(program(stream), 1) == [(20, 105)]


def test_what_is_detached_outlasts_its_parent_or_begins_after_it() -> None:
    late = Statement(9, "detached", children=(work(1, 10),), pause_nanoseconds=50 * MILLISECOND)
    assert times(program(late, work(2, 20)), 0) == [(0, 20)]
    assert times(program(late, work(2, 20)), 1) == [(50, 60)]


def test_two_together_end_sooner_unless_the_one_uses_the_other() -> None:
    assert makespan(program(work(1, 10), work(2, 30)), together=(1, 2)) == 30
    assert makespan(program(work(1, 10), work(2, 30, 1)), together=(1, 2)) == 40
    assert makespan(program(work(1, 10), work(2, 30, 1), work(3, 5, 1)), dataflow=True) == 40


def test_a_statement_twice_as_fast_takes_half_as_long() -> None:
    assert makespan(program(work(1, 10), work(2, 30)), faster={2: 2.0}) == 25


def test_what_is_needed_goes_through_values_and_through_what_stands_around() -> None:
    truth = Truth(program(work(1, 1), Statement(5, "block", "b", children=(work(2, 1),), uses=(1,)), work(3, 1, 2)))
    assert truth.needs(1, 2)
    assert truth.needs(1, 3)
    assert truth.needs(5, 3)
    assert not truth.needs(3, 5)
    assert truth.uses(5, 3)
    assert not truth.uses(1, 3)


def test_a_clock_whose_tasks_wait_for_nothing_that_comes_says_so() -> None:
    def task() -> Any:
        yield Event()

    clock = VirtualClock()
    clock.start(task())
    with pytest.raises(DeadlockError, match="1 tasks wait"):
        clock.run()


def test_the_same_seed_draws_the_same_program_and_every_pattern_is_drawn() -> None:
    drawn = [draw_program(seed) for seed in range(DRAWN)]
    assert drawn == [draw_program(seed) for seed in range(DRAWN)]
    assert {statement.kind for one in drawn for statement in one.root.walk()} == set(STATEMENTS)
    assert {one.contents for one in drawn} == {"none", "used", "everything"}
    assert any(one.clocks for one in drawn)
    assert any(one.lost for one in drawn)


def whole(_drawn: Program) -> Change:
    return Change(dataflow=True)


def first_and_last(drawn: Program) -> Change:
    return Change(together=(drawn.root.children[0].key, drawn.root.children[-1].key))


@pytest.mark.parametrize("change_of", [lambda _drawn: Change(), whole, first_and_last])
def test_whatever_is_changed_a_statement_waits_for_what_it_uses(change_of: Callable[[Program], Change]) -> None:
    for seed in range(DRAWN):
        drawn = draw_program(seed)
        statements, spans = drawn.statements(), play(drawn, change_of(drawn)).spans
        begun: dict[int, int] = {}
        ended: dict[int, int] = {}
        for span in spans:
            begun.setdefault(span.statement, span.start)
            ended[span.statement] = max(ended.get(span.statement, 0), span.end)
        for key, start in begun.items():
            for used in statements[key].uses:
                assert ended.get(used, 0) <= start, (seed, used, key)


def test_what_is_read_back_plays_as_what_was_written() -> None:
    for seed in range(DRAWN):
        drawn = draw_program(seed)
        assert program_from_data(json.loads(json.dumps(program_to_data(drawn)))) == drawn


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "cannot be read"), ("[]", "is no program"), ('{"schema": "makespan.program/1"}', "is no program: KeyError")],
)
def test_a_file_that_is_no_program_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "program.json"
    path.write_text(text)
    with pytest.raises(ProgramError, match=says):
        read_program(path)


def test_the_spans_are_those_that_a_file_of_otlp_holds(tmp_path: Path) -> None:
    for seed in range(20):
        drawn = draw_program(seed)
        trace = emitted(drawn, play(drawn))
        path = tmp_path / "trace.json"
        path.write_text(json.dumps(otlp_document(trace)))
        (read,) = read_traces([str(path)])

        def facts(span: Span) -> tuple[Any, ...]:
            return span.span_id, span.parent_id, span.name, span.start, span.end, span.kind, span.service, span.status

        assert sorted(map(facts, read.spans)) == sorted(map(facts, trace.spans))


def test_what_is_left_out_of_the_patterns_is_not_drawn() -> None:
    for seed in range(DRAWN):
        drawn = draw_program(seed, patterns=["gather"])
        assert {one.kind for one in drawn.root.walk()} <= {"work", "gather", "block"}
        assert (drawn.contents, dict(drawn.clocks), drawn.lost) == ("none", {}, ())
    drawn_with_all = [draw_program(seed, patterns=["call", *TRACING]) for seed in range(DRAWN)]
    assert {one.contents for one in drawn_with_all} == {"none", "used", "everything"}


def test_clocks_shift_spans_and_lost_ones_are_not_there() -> None:
    call = Statement(9, "call", "POST", children=(work(1, 10), work(2, 10)), service="store")
    plain, shifted = program(call), program(call, clocks={"store": 7 * MILLISECOND}, lost=(2,))
    begin = {span.name + span.service: span.start for span in emitted(plain, play(plain)).spans}
    trace = emitted(shifted, play(shifted))
    assert len(trace.spans) == 4
    assert all(
        span.start - begin[span.name + span.service] == (7 * MILLISECOND if span.service == "store" else 0)
        for span in trace.spans
        if span.name != "work"
    )


# ------------------------------------------------------------------ what is wrong with an analysis is found


def test_nothing_is_wrong_about_calls_in_a_row_and_side_by_side() -> None:
    report = fuzz_programs(60, patterns=["gather", "block", "sequence", "values"], seed=3)
    assert report.ok
    assert report.programs == 60
    assert not report.faults
    assert report.critical_named[0] == report.critical_named[1] > 0


def test_a_false_edge_is_found_and_its_program_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_to_last(steps: Any) -> list[tuple[int, int]]:
        return [(0, len(steps.members) - 1)] if len(steps.members) > 1 else []

    monkeypatch.setattr("harness.traces.edges.edge_finding.data_flow", first_to_last)
    report = fuzz_programs(20, patterns=["work", "gather"], seed=1, shrink_seconds=3)
    assert not report.ok
    failure = next(one for one in report.failures if one.kind == "false edge (data flow)")
    assert len(failure.smallest.statements()) == 3
    assert "are true, not 99.5 %" in report.missed[0]


def test_a_sure_gain_that_is_not_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    diagnose = scoring.diagnose

    def hopeful(run: Any) -> Any:
        found = diagnose(run)
        unlimited = found.predictions.by_workers["unlimited"]
        found.predictions.by_workers["unlimited"] = replace(
            unlimited, makespan_seconds=unlimited.makespan_seconds * 0.8
        )  # fmt: skip
        return found

    monkeypatch.setattr(scoring, "diagnose", hopeful)
    found = examine_program(program(work(1, 10), work(2, 30, 1)))
    assert [fault.kind for fault in found.faults] == ["sure gain too high (dataflow)"]
    assert found.claims[0].ratio == pytest.approx(0.8)


def test_an_analysis_that_raises_is_a_fault_and_the_next_program_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(_run: Any) -> Any:
        raise ZeroDivisionError("no spans")

    monkeypatch.setattr(scoring, "diagnose", breaking)
    report = fuzz_programs(3, patterns=["work"], shrink_seconds=0.1)
    assert report.faults == {BREAKS: 3}
    assert not report.ok
    assert replay_program(report.failures[0].smallest).faults == {BREAKS: 1}


def test_a_limit_that_nobody_names_and_one_that_does_not_hold_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.traces.diagnosis.diagnosis.queues_of", lambda _run: [])
    pool = Statement(9, "pool", limit=2, children=tuple(work(key, 10 * key) for key in range(1, 7)))
    assert [fault.kind for fault in examine_program(program(pool)).faults] == ["limit missed"]


def test_the_smallest_program_still_fails() -> None:
    def fails(one: Program) -> bool:
        return any(statement.kind == "pool" and len(statement.children) > 2 for statement in one.root.walk())

    big = next(drawn for drawn in map(draw_program, range(DRAWN)) if fails(drawn))
    small = shrink_program(big, fails)
    assert fails(small)
    assert len(small.statements()) == 5


def test_several_jobs_score_the_same_programs() -> None:
    one, two = (fuzz_programs(120, seed=2, size=6, jobs=jobs, shrink_seconds=0.01) for jobs in (1, 2))
    assert one.edges == two.edges
    assert one.claims == two.claims
    assert one.faults == two.faults


# ------------------------------------------------------------------ the command


def test_the_command_prints_the_scores_and_keeps_what_it_found(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["fuzz", "--analysis", "--dags", "30", "--features", "work,gather,block", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith("30 programs in ")
    assert "foretold ÷ true makespan of the changed program" in done.output


def test_the_command_plays_a_program_again(tmp_path: Path) -> None:
    path = tmp_path / "one.program.json"
    path.write_text(json.dumps(program_to_data(program(work(1, 10), work(2, 20, 1)))))
    done = CliRunner().invoke(app, ["fuzz", "--analysis", "--replay", str(path)])
    assert done.exit_code == 0, done.output
    assert "nothing is wrong with it" in done.output
    assert "[2] work work: 10.0 to 30.0 ms, uses 1" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--features", "nothing"), "no such pattern: nothing"),
        (("--backend", "threads"), "--backend plays workflows"),
        (("--target", "a:b"), "--target plays workflows"),
        (("--replay", "nowhere.json"), "cannot be read"),
    ],
)
def test_what_cannot_be_played_is_refused(arguments: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(app, ["fuzz", "--analysis", *arguments])
    assert done.exit_code == 2
    assert says in done.output
