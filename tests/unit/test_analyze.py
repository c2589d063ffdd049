"""What a trace says of its run, by hand: lost time, barriers, gaps, queues, retries, and what could run together."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from executor.model.workflow import Resource
from harness.report.html import report_html
from harness.report.terminal.analysis_text import analysis_lines, many_lines
from harness.simulation.what_if import Rerun
from harness.traces import ForeignRun, foreign_run
from harness.traces.diagnosis.analysis_document import run_documents, trace_document
from harness.traces.diagnosis.diagnosis import Diagnosis, diagnose
from harness.traces.diagnosis.trace_groups import digest_of, groups_of
from harness.traces.prediction.flat_graph import WORKER, Flat, finish, flat_timeline, longest_chain
from harness.traces.prediction.list_scheduling import enough_workers, list_schedule
from harness.traces.prediction.predicted_makespans import Limit
from harness.traces.prediction.trace_subject import subject_of_trace
from tests.unit.trace_making import BEGIN, SECOND, langgraph, run_of, trace

MODEL = {"gen_ai.operation.name": "chat"}


def text_of(diagnosis: Diagnosis) -> str:
    return "\n".join(line.text for line in analysis_lines(diagnosis))


def names(diagnosis: Diagnosis, steps: Any) -> list[str]:
    return [diagnosis.name(step) for step in steps]


def test_lost_time_sums_to_the_makespan_and_what_no_span_covers_is_a_gap() -> None:
    run = run_of(
        {"fetch": (0, 2), "agent": (2.5, 8), "ask": (3, 5), "tool": (6, 7.5)},
        parents={"ask": "agent", "tool": "agent"},
    )
    found = diagnose(run)
    assert found.lost_seconds == pytest.approx({"running": 5.5, "gap": 2.5})
    assert sum(found.lost_seconds.values()) == found.figures.makespan_seconds == 8
    longest = found.gaps[0]
    assert (found.name(longest.step), longest.start_seconds, longest.seconds) == ("agent", 5, 1)
    assert longest.on_the_way
    between = next(gap for gap in found.gaps if gap.step < 0)
    assert (between.start_seconds, between.seconds) == (2, 0.5)
    assert found.gap_seconds == 2.5
    assert "1 s inside 'agent', from 5 s" in text_of(found)


def test_steps_that_only_ran_in_a_row_could_run_together_and_what_is_assumed_is_said() -> None:
    certain = diagnose(
        run_of({"a": (0, 2), "b": (2, 5), "c": (5, 6), "d": (6, 7)}, links={"b": ["a"], "c": ["a"], "d": ["b", "c"]})
    )
    assert [(names(certain, one.steps), one.gain_seconds, one.assumed) for one in certain.pairs] == [
        (["b", "c"], 1, False)
    ]
    assert "--edges" not in text_of(certain)
    assumed = diagnose(run_of({"a": (0, 2), "b": (2, 5)}))
    assert [(names(assumed, one.steps), one.gain_seconds, one.assumed) for one in assumed.pairs] == [
        (["a", "b"], 2, True)
    ]
    assert "--edges FILE" in text_of(assumed)


def test_three_posts_that_follow_an_article_one_by_one_are_one_set() -> None:
    found = diagnose(
        run_of(
            {"article": (0, 8), "summary": (8, 12), "twitter": (12, 14), "linkedin": (14, 17)},
            links={"summary": ["article"], "twitter": ["article"], "linkedin": ["article"]},
        )
    )
    (together,) = found.together
    assert names(found, together.steps) == ["summary", "twitter", "linkedin"]
    assert together.gain_seconds == 5
    assert found.predictions.by_workers["4"].makespan_seconds == 12
    assert found.predictions.by_workers["2"].makespan_seconds == 13
    assert found.predictions.by_workers["unlimited"].without_assumed_seconds is None
    assert "5 s (29%)  summary, twitter, linkedin" in text_of(found)


def test_calls_of_one_name_in_a_loop_are_one_set_though_the_trace_does_not_say_that_they_are_independent() -> None:
    times = {f"call {number}": (number, number + 1.0) for number in range(5)}
    found = diagnose(run_of({**times, "end": (5, 6)}, names=dict.fromkeys(times, "GET /item")))
    (together,) = found.together
    assert (len(together.steps), together.gain_seconds, together.assumed) == (5, 4, True)


def test_several_tools_in_a_row_are_one_set_though_the_trace_does_not_say_that_they_are_independent() -> None:
    times = {
        f"execute_tool {tool}": (2.0 * number + 1, 2.0 * number + 3) for number, tool in enumerate(("a", "b", "c"))
    }
    found = diagnose(run_of({"chat": (0, 1), **times, "chat again": (7, 10)}))
    sets = {tuple(names(found, one.steps)): (one.gain_seconds, one.assumed) for one in found.together}
    assert sets[tuple(times)] == (4, True)


def test_a_pair_that_runs_together_moves_what_follows_only_as_far_as_its_order_allows() -> None:
    # c ran after b, and it is unknown whether it needs b: it stays behind everything that was before it.
    found = diagnose(run_of({"a": (0, 4), "x": (4, 5), "b": (5, 7), "c": (7, 8)}, links={"x": ["a"], "c": ["x", "b"]}))
    gains = {tuple(names(found, one.steps)): one.gain_seconds for one in found.pairs}
    assert gains == {("a", "b"): 2, ("x", "b"): 1}


def test_pairs_inside_a_call_gain_for_the_run_only_what_the_caller_holds_up() -> None:
    inside = {"agent": (0, 4), "ask": (0, 2), "look": (2, 4)}
    parents = {"ask": "agent", "look": "agent"}
    alone = diagnose(run_of(inside, parents=parents))
    assert [one.gain_seconds for one in alone.pairs] == [2]
    beside = diagnose(run_of({**inside, "long": (0, 3)}, parents=parents))
    assert [one.gain_seconds for one in beside.pairs] == [1]


def test_what_only_waits_is_never_advised() -> None:
    found = diagnose(run_of({"a": (0, 2), "time.sleep": (2, 4), "b": (4, 5)}))
    advised = {name for one in (*found.pairs, *found.together) for name in names(found, one.steps)}
    assert advised == {"a", "b"}


def barrier_run(*triggers: str) -> ForeignRun:
    return run_of(
        {"plan": (0, 1), "slow": (1, 5), "quick": (1, 2), "after": (5, 8)},
        attributes={
            "plan": langgraph(1, "plan", "__start__"),
            "slow": langgraph(2, "slow", "branch:to:slow"),
            "quick": langgraph(2, "quick", "branch:to:quick"),
            "after": langgraph(3, "after", *triggers),
        },
    )


def test_a_superstep_that_waits_for_its_slowest_is_a_barrier_with_its_cost() -> None:
    found = diagnose(barrier_run("branch:quick:condition:after"))
    (barrier,) = found.barriers
    assert names(found, barrier.waiting) == ["after"]
    assert found.name(barrier.slowest) == "slow"
    assert (barrier.lost_seconds, barrier.waited_seconds, barrier.certain) == (3, 3, True)
    assert found.lost_seconds == pytest.approx({"running": 5, "barrier": 3})
    assert found.predictions.by_workers["unlimited"].makespan_seconds == 5
    assert "after waited until 'slow' had ended, and does not need it: that cost 3 s" in text_of(found)


def test_a_trigger_that_names_nobody_makes_a_barrier_that_may_have_cost_something() -> None:
    found = diagnose(barrier_run("branch:to:after"))
    (barrier,) = found.barriers
    assert (barrier.lost_seconds, barrier.certain) == (3, False)
    assert found.predictions.by_workers["unlimited"].makespan_seconds == 8
    assert "it cost up to 3 s (--edges FILE settles it)" in text_of(found)


def test_retries_are_attempts_of_one_step_with_what_went_by_between_them() -> None:
    found = diagnose(
        run_of(
            {"send 1": (0, 1), "send 2": (3, 4), "end": (4, 5)},
            names={"send 1": "send", "send 2": "send"}, failed=["send 1"],
        )
    )  # fmt: skip
    (retried,) = found.retries
    assert (found.name(retried.step), retried.attempts) == ("send", 2)
    assert (retried.failed_seconds, retried.backoff_seconds) == (1, 2)
    assert found.lost_seconds["backoff"] == 2
    assert found.predictions.by_workers["2"].makespan_seconds == 5


def test_calls_that_begin_as_others_end_stand_in_a_queue() -> None:
    times = {f"call {number}": (number // 3 * 1.0, number // 3 + 1.0) for number in range(12)}
    found = diagnose(run_of(times, names=dict.fromkeys(times, "chat")))
    (queue,) = found.queues
    assert (queue.name, queue.steps, queue.at_once, queue.waited_seconds) == ("chat", 12, 3, 3 * (1 + 2 + 3))


def pool_of_three(**more: tuple[float, float]) -> Diagnosis:
    """Twelve calls of a second through three places, and others beside them."""
    times = {f"call {number}": (number // 3 * 1.0, number // 3 + 1.0) for number in range(12)} | more
    return diagnose(run_of(times, names={key: "collect" if key == "collect" else "chat" for key in times}))


def test_a_limit_that_shows_is_raised_by_itself() -> None:
    found = pool_of_three()
    gains = [(one.queue.at_once, one.at_once, one.makespan_seconds, one.gain_seconds) for one in found.raised]
    assert gains == [(3, 6, 2, 2), (3, None, 1, 3)]
    assert "if that is a limit, raising it by itself gains: 6 at once 2 s (50%), without it 3 s (75%)" in text_of(found)


def test_one_other_call_of_the_name_hides_no_pool() -> None:
    found = pool_of_three(**{"one more": (4.5, 5)})
    (queue,) = found.queues
    assert (queue.steps, queue.at_once) == (12, 3)
    assert [one.gain_seconds for one in found.raised] == [2, 3]
    before = diagnose(
        run_of(
            {"alone": (0, 0.4), **{f"c{n}": (1 + n // 2 * 1.0, 2 + n // 2 * 1.0) for n in range(6)}},
            names=dict.fromkeys(("alone", *(f"c{n}" for n in range(6))), "chat"),
        )
    )  # fmt: skip
    assert [(one.steps, one.at_once) for one in before.queues] == [(6, 2)]


def test_a_pool_whose_calls_have_several_names_is_one_pool() -> None:
    lengths = [3, 5, 7, 4, 6, 5, 3, 8]
    times, free = {}, [0.0, 0.0, 0.0]
    for number, length in enumerate(lengths):
        begin = min(free)
        free[free.index(begin)] = begin + length
        times[f"{'aab'[number % 3]}{number}"] = (begin, begin + length)
    found = diagnose(run_of(times, names={key: key[0] for key in times}))
    assert [(one.steps, one.at_once) for one in found.queues] == [(8, 3)]


def test_supersteps_of_several_nodes_are_no_pool() -> None:
    times = {f"{'abc'[n % 3]}{n}": (n // 3 * 5.0, n // 3 * 5 + 3.0 + n % 3) for n in range(12)}
    assert diagnose(run_of(times, names={key: key[0] for key in times})).queues == []


def test_what_follows_a_pool_still_follows_all_of_it() -> None:
    found = pool_of_three(collect=(4, 6))
    assert [one.makespan_seconds for one in found.raised] == [4, 3]


def test_limits_of_a_service_make_predictions_of_their_own() -> None:
    run = run_of(
        {"a": (0, 1), "b": (1, 2), "c": (2, 3), "d": (3, 4)},
        links={"d": ["a", "b", "c"], "b": [], "c": []},
        attributes=dict.fromkeys("abcd", MODEL),
    )
    found = diagnose(run, limits=[Limit("llm", capacity=1), Limit("llm", rate_per_minute=30)])
    assert found.predictions.services == {"llm": 4}
    (_, one_at_once), (_, slow) = found.predictions.limited
    assert found.predictions.by_workers["16"].makespan_seconds == 2
    assert one_at_once.makespan_seconds == 4
    assert slow.makespan_seconds == 7  # a call every two seconds: the fourth begins at 6
    assert "16, llm 30 calls a minute" in text_of(found)


def test_predictions_hold_the_assumed_order_and_say_beside_it_what_there_is_without() -> None:
    found = diagnose(run_of({"a": (0, 2), "b": (2, 5)}))
    predicted = found.predictions.by_workers["2"]
    assert (predicted.makespan_seconds, predicted.without_assumed_seconds) == (5, 3)


def test_time_between_the_outermost_spans_and_of_callers_is_spent_again() -> None:
    run = run_of(
        {"a": (0, 2), "b": (3, 6), "ask": (3.5, 4.5), "look": (5, 5.5)}, parents={"ask": "b", "look": "b"},
        links={"b": ["a"]},
    )  # fmt: skip
    found = diagnose(run)
    predicted = found.predictions.by_workers["4"]
    assert predicted.makespan_seconds == 6
    # The caller's own time remains: half a second before its calls, one after them, and the longer call.
    assert predicted.without_assumed_seconds == 2 + 1 + 0.5 + 1 + 1


def test_time_after_the_last_step_belongs_to_the_run_too() -> None:
    made = trace({"a": (0, 2), "b": (2, 3)})
    made.spans[0].end = BEGIN + 10 * SECOND
    found = diagnose(foreign_run(made))
    assert found.figures.makespan_seconds == 10
    assert found.lost_seconds == {"gap": 7, "running": 3}
    assert (found.gaps[0].start_seconds, found.gaps[0].seconds, found.gap_seconds) == (3, 7, 7)
    assert found.predictions.by_workers["2"].makespan_seconds == 10
    assert found.predictions.by_workers["2"].without_assumed_seconds == 9


def test_names_with_terminal_codes_and_markup_are_shown_harmless() -> None:
    bad = "\x1b[31mred\x07 [bold]x[/bold]"
    found = diagnose(run_of({bad: (0, 2), "b": (2, 5)}, root="\x1b]0;title\x07root"))
    text = text_of(found)
    assert "\x1b" not in text
    assert "\x07" not in text


def test_a_step_that_began_late_for_no_reason_that_one_can_see_begins_as_late_in_what_is_sure() -> None:
    found = diagnose(run_of({"a": (0, 3), "b": (2, 5)}))
    assert [one.code for one in found.run.findings] == ["late_start"]
    predicted = found.predictions.by_workers["2"]
    assert (predicted.makespan_seconds, predicted.without_assumed_seconds) == (5, 3)
    assert "if nothing held them back, there is more to gain" in text_of(found)
    declared = diagnose(run_of({"a": (0, 1), "b": (0, 3), "c": (1.5, 4)}, links={"c": ["a"]}))
    assert [one.code for one in declared.run.findings] == []


def test_what_another_span_covers_is_no_gap_and_no_sure_gain() -> None:
    found = diagnose(run_of({"a": (0, 0.6), "b": (0.55, 1)}))
    assert (found.gaps, found.gap_seconds) == ([], 0)
    assert found.lost_seconds == pytest.approx({"late_start": 0.55, "running": 0.45})
    predicted = found.predictions.by_workers["unlimited"]
    assert (predicted.makespan_seconds, predicted.without_assumed_seconds) == pytest.approx((1, 0.6))
    assert "no span covers" not in text_of(found)


def test_only_what_nobody_covers_of_a_wait_is_a_gap() -> None:
    found = diagnose(run_of({"a": (0, 1), "b": (1.5, 4), "c": (3, 5)}))
    assert found.lost_seconds == pytest.approx({"late_start": 1.5, "running": 3, "gap": 0.5})


def test_a_reader_that_begins_with_the_first_part_of_a_stream_leaves_no_gap() -> None:
    found = diagnose(run_of({"stream": (0, 1), "reader": (0.2, 1.02)}))
    assert found.gap_seconds == 0


def test_what_began_in_a_span_and_goes_on_after_it_begins_no_sooner_than_that_span() -> None:
    times = {"send": (0.0, 1.0), "receive": (1.2, 1.5), "process": (1.3, 4.0)}
    found = diagnose(run_of(times, parents={"receive": "send", "process": "receive"}))
    assert found.name(found.run.begun_in[2]) == "receive"
    assert ("send", "process") in {(found.name(one.before), found.name(one.after)) for one in found.run.edges}
    assert not found.together
    assert not found.pairs
    for predicted in found.predictions.by_workers.values():
        assert predicted.makespan_seconds == pytest.approx(4)
        assert predicted.without_assumed_seconds is None


def test_a_descendant_that_outlasts_its_parent_moves_with_what_that_needs() -> None:
    found = diagnose(
        run_of(
            {"x": (0, 2), "y": (0, 3), "p": (3, 5), "c": (4, 9)},
            parents={"c": "p"}, links={"p": ["x"], "y": []},
        )
    )  # fmt: skip
    # p could have begun at 2, and so c at 3.
    assert found.predictions.by_workers["unlimited"].makespan_seconds == 8


def test_a_critical_path_of_many_short_steps_shows_its_first_ones_and_how_many_more() -> None:
    times = {f"s{number}": (float(number), number + 1.0) for number in range(300)}
    found = diagnose(run_of(times, links={f"s{number}": [f"s{number - 1}"] for number in range(1, 300)}))
    assert "s0 1 s (0%) → s1 1 s (0%)" in text_of(found)
    assert "→ … 290 more = 300 s" in text_of(found)


def test_a_trace_without_spans_that_work_is_no_traceback() -> None:
    found = diagnose(run_of({"http receive": (0, 0)}))
    assert found.figures.makespan_seconds == 0
    assert text_of(found)


def test_the_quick_scheduler_of_large_traces_does_what_the_production_scheduler_does() -> None:
    for seed in range(100):
        draw = random.Random(seed)
        flat = Flat()
        for unit in range(draw.randrange(1, 40)):
            before = sorted(draw.sample(range(unit), min(unit, draw.choice((0, 1, 1, 2, 3)))))
            delay = draw.choice((0, 0, draw.randrange(1, 9) * SECOND))
            flat.add(draw.randrange(1, 9) * SECOND + unit, before, draw.choice((None, "llm")), delay)
        finish(flat)
        again = Rerun(flat_timeline(flat))
        for workers in (1, 2, 4):
            slots, resources = (100, {WORKER: Resource(capacity=workers)}) if flat.delays else (workers, {})
            resources["llm"] = Resource()
            again_nanoseconds = again.run(workers=slots, resources=resources).makespan_nanoseconds
            assert list_schedule(flat, workers) == again_nanoseconds, (seed, workers)
            assert workers < enough_workers(flat) or again_nanoseconds == longest_chain(flat)
            for at_once in (1, 2):
                limit = {**resources, "llm": Resource(capacity=at_once)}
                again_nanoseconds = again.run(workers=slots, resources=limit).makespan_nanoseconds
                limited = [unit for unit, service in enumerate(flat.services) if service is not None]
                quick = list_schedule(flat, workers, limited=limited, at_once=at_once)
                assert quick == again_nanoseconds, (seed, workers, at_once)
        resources = {"llm": Resource(), **({WORKER: Resource(capacity=100)} if flat.delays else {})}
        assert longest_chain(flat) == again.run(workers=100, resources=resources).makespan_nanoseconds


def test_deep_nesting_is_diagnosed_without_recursion() -> None:
    depth = 3000
    times = {f"s{level}": (level * 1e-3, 10 - level * 1e-3) for level in range(depth)}
    found = diagnose(run_of(times, parents={f"s{level}": f"s{level - 1}" for level in range(1, depth)}))
    assert sum(found.lost_seconds.values()) == pytest.approx(10)
    assert found.predictions.by_workers["2"].makespan_seconds == pytest.approx(10)


def test_the_headline_says_what_is_sure_what_is_possible_and_what_would_settle_it() -> None:
    assumed = diagnose(run_of({"a": (0, 2), "b": (2, 5)}))
    assert (assumed.headline.sure_gain_seconds, assumed.headline.possible_gain_seconds) == (0, 2)
    assert "nothing for sure, at most 2 s (40%); to know: say whether the assumed edge is real" in text_of(assumed)
    known = diagnose(run_of({"a": (0, 2), "b": (2, 5), "c": (5, 6)}, links={"b": [], "c": ["a", "b"]}))
    assert "to gain         2 s (33%) for sure, nothing more by another schedule" in text_of(known)
    late = diagnose(run_of({"a": (0, 0.6), "b": (0.55, 1)}))
    assert "at most 400 ms (40%); to know: find out what held back 1 step that began late" in text_of(late)
    pool = pool_of_three()
    assert pool.headline.sure_gain_seconds == 0
    assert "raise the limit of 3 that 'chat' seems to have, and measure" in text_of(pool)


def test_each_advice_says_whether_it_is_sure_and_on_what_evidence() -> None:
    text = text_of(diagnose(run_of({"a": (0, 2), "b": (2, 5), "c": (5, 6)}, links={"b": [], "c": ["a"]})))
    assert "a, b * (assumed: observed order alone is between them)" in text
    known = diagnose(run_of({"x": (0, 1), "a": (1, 3), "b": (3, 5)}, links={"a": ["x"], "b": ["x"]}))
    assert "a, b (sure: what the later ones need is stated by links)" in text_of(known)
    assert "To check what is sure: `--scenario FILE`" in text_of(known)


def test_no_advice_contradicts_the_edges_that_the_user_states(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text("a -> b\nb -> c\n")
    made = trace({"a": (0, 2), "b": (2, 5), "c": (5, 6)})
    found = diagnose(foreign_run(made, edges_file=tmp_path / "edges.txt"))
    assert not found.pairs
    assert not found.together
    assert found.headline.possible_gain_seconds == 0


def test_the_page_of_a_trace_concludes_as_the_text_does() -> None:
    found = diagnose(run_of({"a": (0, 2), "b": (2, 5)}))
    page = report_html(run_documents([found]), [trace_document(found)])
    assert "another schedule gains nothing for sure, and at most 2 s (40%)." in page
    assert "of it the lower bound" not in page
    assert "say whether the assumed edge is real" in page


def test_groups_come_in_order_of_the_time_that_their_traces_took() -> None:
    short = [digest_of(run_of({"a": (0, 1)}, trace_id=f"{n:032x}", root="often")) for n in range(1, 6)]
    long = digest_of(run_of({"a": (0, 100), "b": (100, 130)}, root="once"))
    assert [group.workflow for group in groups_of([*short, long])] == ["once", "often"]


def test_a_median_of_no_time_is_no_zero_times() -> None:
    digests = [digest_of(run_of({"a": (0, length)}, trace_id=f"{n:032x}")) for n, length in enumerate((0, 0, 0, 5), 1)]
    text = "\n".join(line.text for line in many_lines(groups_of(digests), {}))
    assert "0.00×" not in text
    assert "took 5 s, where the median is no time at all" in text


def test_one_other_call_beside_a_pool_is_no_place_of_it() -> None:
    lengths, free, times = [20, 100, 400, 10, 20, 1000, 300], [0, 0, 0], {}
    for number, length in enumerate(lengths):
        begin = min(free)
        free[free.index(begin)] = begin + length
        times[f"chat {number}"] = (begin, begin + length)
    found = diagnose(run_of({**times, "parse": (0, 1000)}, names={key: key.split()[0] for key in times}))
    assert [(one.name, one.at_once, one.steps) for one in found.queues] == [("chat", 3, 7)]


def test_a_sleep_that_ends_after_all_that_it_could_wait_for_binds_by_itself() -> None:
    found = diagnose(run_of({"sleep": (0, 6), "a": (0, 4), "b": (0, 1), "c": (1, 5), "d": (4, 4.3)}))
    assert found.gap_seconds == 0
    assert found.predictions.by_workers["unlimited"].without_assumed_seconds == 6


def test_what_is_simulated_of_a_trace_with_late_starts_says_that_nothing_holds_them_back() -> None:
    assert "possible and not sure" in subject_of_trace(run_of({"a": (0, 3), "b": (2, 5)})).notes[-1]
    assert subject_of_trace(run_of({"a": (0, 3), "b": (0, 5)})).notes == []
