"""Small timelines, worked out by hand. One second of the drawings is one nanosecond of the timeline."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource
from executor.record.timeline import Attempt, Interval, Timeline, Wait
from harness.analysis import RunAnalysis, overhead_nanoseconds, summary


class Draw:
    """Builds a timeline step by step, times in nanoseconds."""

    def __init__(self, workers=2, resources=None, policy="dataflow", backend="threads"):
        self.ids, self.data, self.order, self.statuses, self.nested, self.needs = [], [], [], [], [], []
        self.attempts = []
        self.workers, self.resources, self.policy, self.backend = workers, resources or {}, policy, backend

    def step(self, step_id, data=(), order=(), status="succeeded", nested_in=None, needs=None):
        self.ids.append(step_id)
        self.data.append(tuple(data))
        self.order.append(tuple(order))
        self.statuses.append(status)
        self.nested.append(nested_in)
        self.needs.append(needs)
        return self

    def run(
        self, step_id, ready, granted, started, ended, known=None, *, by=None, attempt=1, waits=None, blocked=(), **more
    ):
        index = self.ids.index(step_id)
        one = Attempt(index, step_id, attempt, ready, granted, by, self.nested[index], waits)
        one.started, one.ended, one.known = started, ended, ended if known is None else known
        one.blocked = tuple(Interval(*pair) for pair in blocked)
        one.outcome = more.pop("outcome", "succeeded")
        for name, value in more.items():
            setattr(one, name, value)
        self.attempts.append(one)
        return self

    def timeline(self):
        place = {step_id: index for index, step_id in enumerate(self.ids)}
        return Timeline(
            step_ids=self.ids,
            data_parents=[tuple(place[parent] for parent in parents) for parents in self.data],
            order_parents=[tuple(place[parent] for parent in parents) for parents in self.order],
            statuses=self.statuses,
            attempts=sorted(self.attempts, key=lambda one: one.granted),
            workers=self.workers,
            nested_in=[-1 if parent is None else place[parent] for parent in self.nested],
            needs=self.needs,
            resources=self.resources,
            policy=self.policy,
            backend=self.backend,
        )


def path(timeline):
    return [tuple(part) for part in RunAnalysis(timeline).critical_path.parts]


def test_an_empty_run_has_makespan_zero_and_null_ratios():
    figures = summary(Draw().timeline())
    assert figures.makespan_seconds == 0
    assert figures.work_seconds == 0
    assert figures.critical_path == ()
    assert figures.lower_bound_seconds == 0
    assert figures.lost_seconds == {}
    assert figures.concurrency_max == 0
    assert [
        figures.concurrency_mean, figures.schedule_efficiency_ratio, figures.overhead_seconds_per_step,
        figures.binding_bound, figures.largest_lost_cause,
    ] == [None] * 5  # fmt: skip


def test_a_chain_is_its_own_critical_path_and_loses_only_the_gaps():
    timeline = (
        Draw().step("a").step("b", ["a"]).step("c", ["b"])
        .run("a", 0, 0, 1, 11, 12)
        .run("b", 12, 12, 12, 32, 33, by="a")
        .run("c", 33, 33, 35, 65, 65, by="b")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("a", 10), ("b", 20), ("c", 30)]
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 60, "overhead": 5}
    assert RunAnalysis(timeline).lower_bound.terms == {"critical_path": 60, "work": 30}
    assert RunAnalysis(timeline).overhead_nanoseconds_per_step == pytest.approx(5 / 3)


def test_a_fork_join_waits_for_its_slowest_branch():
    timeline = (
        Draw().step("a").step("b", ["a"]).step("c", ["a"]).step("d", ["b", "c"])
        .run("a", 0, 0, 0, 5)
        .run("b", 5, 5, 5, 8, by="a")
        .run("c", 5, 5, 5, 12, by="a")
        .run("d", 12, 12, 12, 13, by="c")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("a", 5), ("c", 7), ("d", 1)]
    assert RunAnalysis(timeline).work_nanoseconds == 16
    levels = RunAnalysis(timeline).concurrency
    assert levels.mean == pytest.approx(16 / 13)
    assert levels.maximum == 2
    assert levels.nanoseconds_at == {1: 10, 2: 3}
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 13}
    assert RunAnalysis(timeline).lower_bound.binding == "critical_path"


def test_too_few_workers_cost_time_and_bind_the_bound():
    timeline = (
        Draw(workers=1).step("a").step("b").step("c")
        .run("a", 0, 0, 0, 4)
        .run("b", 0, 4, 4, 8, waits="worker")
        .run("c", 0, 8, 8, 12, waits="worker")
        .timeline()
    )  # fmt: skip
    bound = RunAnalysis(timeline).lower_bound
    assert (bound.nanoseconds, bound.binding) == (12, "work")
    assert RunAnalysis(timeline).lost_nanoseconds == {"worker": 8, "running": 4}
    assert RunAnalysis(timeline).overhead_nanoseconds_per_step == 0


def test_a_limit_binds_where_its_units_are_the_scarcest():
    timeline = (
        Draw(workers=4, resources={"llm": Resource(capacity=3)})
        .step("a", needs={"llm": 2}).step("b", needs={"llm": 2}).step("c")
        .run("a", 0, 0, 0, 10)
        .run("b", 0, 10, 10, 20, waits="resource.llm")
        .run("c", 0, 0, 0, 3)
        .timeline()
    )  # fmt: skip
    # 2 units × 20 ns ÷ 3 units, rounded up: the run as a whole could not show that only one fits at a time.
    assert RunAnalysis(timeline).lower_bound.terms == {"critical_path": 10, "work": 6, "resource.llm": 14}
    assert RunAnalysis(timeline).lower_bound.binding == "resource.llm"
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 10, "resource.llm": 10}


def test_a_rate_binds_by_attempts_beyond_its_burst():
    minute = 60_000_000_000
    draw = Draw(workers=9, resources={"api": Resource(rate_per_minute=6.0, burst=2)})
    for number in range(4):
        draw.step(f"s{number}", needs={"api": 1})
    timeline = (
        draw.run("s0", 0, 0, 0, 1).run("s1", 0, 0, 0, 1)
        .run("s2", 0, minute // 6, minute // 6, minute // 6 + 1, waits="rate.api")
        .run("s3", 0, minute // 3, minute // 3, minute // 3 + 1, waits="rate.api")
        .timeline()
    )  # fmt: skip
    assert RunAnalysis(timeline).lower_bound.terms["rate.api"] == minute // 3
    assert RunAnalysis(timeline).lower_bound.binding == "rate.api"
    assert RunAnalysis(timeline).lost_nanoseconds == {"rate.api": minute // 3, "running": 1}


def test_tokens_count_as_the_smaller_of_estimate_and_usage():
    minute = 60_000_000_000
    timeline = (
        Draw(resources={"llm": Resource(tokens_per_minute=100.0, token_burst=10)})
        .step("over", needs={"llm": 1}).step("under", needs={"llm": 1}).step("unknown", needs={"llm": 1})
        .run("over", 0, 0, 0, minute, tokens_reserved=10, tokens_used=500)
        .run("under", 0, 0, 0, minute, tokens_reserved=50, tokens_used=20)
        .run("unknown", 0, 0, 0, minute, tokens_reserved=5)
        .timeline()
    )  # fmt: skip
    # 10 + 20 + 5 tokens, of which the bucket held 10; 25 more take a quarter of a minute.
    assert RunAnalysis(timeline).lower_bound.terms["tokens.llm"] == minute // 4


def test_tokens_without_a_burst_hold_one_minutes_worth():
    minute = 60_000_000_000
    timeline = (
        Draw(resources={"llm": Resource(tokens_per_minute=100.0)}).step("a", needs={"llm": 1})
        .run("a", 0, 0, 0, 5 * minute, tokens_reserved=300, tokens_used=300)
        .timeline()
    )  # fmt: skip
    assert RunAnalysis(timeline).lower_bound.terms["tokens.llm"] == 2 * minute


def test_a_lock_makes_an_order_edge_that_the_critical_path_follows():
    timeline = (
        Draw().step("a").step("b").step("c", order=["a"])
        .run("a", 0, 0, 0, 6)
        .run("b", 0, 0, 0, 4)
        .run("c", 0, 6, 6, 11, waits="lock.report")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("a", 6), ("c", 5)]
    # The walk stays in c: it was ready at 0, and the lock is why it waited.
    assert RunAnalysis(timeline).lost_nanoseconds == {"lock.report": 6, "running": 5}


def test_mixed_waits_are_split_by_reason_and_the_rest_is_overhead():
    timeline = (
        Draw().step("a")
        .run("a", 0, 10, 12, 20, 21, waits=[Wait("barrier", 0, 3), Wait("lock.x", 3, 5), Wait("worker", 6, 10)])
        .timeline()
    )  # fmt: skip
    assert RunAnalysis(timeline).lost_nanoseconds == {
        "running": 8,
        "worker": 4,
        "barrier": 3,
        "overhead": 3,
        "lock.x": 2,
    }
    assert overhead_nanoseconds(timeline.attempts[0]) == 4


def test_retries_count_with_all_attempts_and_served_backoffs():
    timeline = (
        Draw().step("a").step("b", ["a"])
        .run("a", 0, 0, 0, 5, 6, outcome="failed")
        .run("a", 6, 13, 13, 15, 15, attempt=2, waits=[Wait("backoff", 6, 10), Wait("worker", 10, 13)])
        .run("b", 15, 15, 15, 16, by="a")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("a", 5 + 4 + 2), ("b", 1)]
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 8, "backoff": 4, "worker": 3, "overhead": 1}
    assert RunAnalysis(timeline).work_nanoseconds == 8


def test_a_backoff_that_no_attempt_followed_is_not_served():
    timeline = Draw().step("a", status="failed").run("a", 0, 0, 0, 5, outcome="failed").timeline()
    assert path(timeline) == [("a", 5)]


def nested_run():
    """p runs [0,4], calls p/1 and then p/2 side by side in [4,14], waits to go on until 16, runs [16,19]."""
    return (
        Draw().step("p").step("q", ["p"]).step("p/1", nested_in="p").step("p/2", nested_in="p")
        .run("p", 0, 0, 0, 19, 19, blocked=[(4, 14)], waits=[Wait("worker", 14, 15), Wait("resuming", 15, 16)])
        .run("p/1", 4, 4, 5, 9, by="p")
        .run("p/2", 4, 6, 6, 12, 13, by="p", waits="worker")
        .run("q", 19, 19, 19, 21, by="p")
        .timeline()
    )  # fmt: skip


def test_a_nested_call_splits_its_parent_at_the_call():
    timeline = nested_run()
    assert path(timeline) == [("p", 4), ("p/2", 6), ("p", 3), ("q", 2)]
    assert RunAnalysis(timeline).critical_path.nanoseconds == 15


def test_a_blocked_interval_is_walked_through_the_last_ended_child():
    assert RunAnalysis(nested_run()).lost_nanoseconds == {
        "running": 2 + 3 + 6 + 4,
        "worker": 1 + 2,  # to go on, and p/2
        "resuming": 1,
        "blocked": 1,  # 13 to 14
        "overhead": 1,  # p/2 ended at 12, known at 13
    }


def test_blocked_and_resuming_attempts_neither_run_nor_count_as_concurrent():
    timeline = nested_run()
    assert RunAnalysis(timeline).work_nanoseconds == 7 + 4 + 6 + 2
    # p/1 [5,9] and p/2 [6,12] overlap for 3; idle are [4,5] and [12,16].
    assert RunAnalysis(timeline).concurrency.nanoseconds_at == {0: 5, 1: 13, 2: 3}


def test_several_blocked_intervals_each_lead_through_their_own_children():
    timeline = (
        Draw().step("p").step("p/1", nested_in="p").step("p/2", ["p/1"], nested_in="p").step("p/3", nested_in="p")
        .run("p", 0, 0, 0, 30, blocked=[(2, 10), (12, 13), (14, 25)])
        .run("p/1", 2, 2, 2, 5, by="p")
        .run("p/2", 5, 5, 5, 10, by="p/1")
        .run("p/3", 14, 15, 15, 25, by="p", waits="worker")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("p", 2), ("p/1", 3), ("p/2", 5), ("p", 3), ("p/3", 10), ("p", 5)]
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 28, "blocked": 1, "worker": 1}


def test_calls_within_calls_are_followed_to_the_bottom():
    timeline = (
        Draw().step("p").step("p/1", nested_in="p").step("p/1/1", nested_in="p/1")
        .run("p", 0, 0, 0, 20, blocked=[(1, 18)])
        .run("p/1", 1, 1, 2, 18, by="p", blocked=[(4, 15)])
        .run("p/1/1", 4, 5, 5, 15, by="p/1", waits="worker")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("p", 1), ("p/1", 2), ("p/1/1", 10), ("p/1", 3), ("p", 2)]
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 18, "overhead": 1, "worker": 1}


def test_a_blocked_interval_without_a_child_attempt_is_blocked():
    timeline = Draw().step("p").run("p", 0, 0, 0, 10, blocked=[(3, 7)]).timeline()
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 6, "blocked": 4}


def test_a_child_that_outlived_its_call_belongs_to_no_blocked_interval():
    timeline = (
        Draw().step("p", status="failed").step("p/1", status="cancelled", nested_in="p")
        .run("p", 0, 0, 0, 8, blocked=[(2, 8)], outcome="worker_died")
        .run("p/1", 2, 2, 2, 9, by="p", outcome="cancelled")
        .timeline()
    )  # fmt: skip
    # The child ended last; it was released by its parent at the beginning of the call.
    assert path(timeline) == [("p", 2), ("p/1", 7)]
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 9}


def test_a_retried_parent_keeps_the_children_of_each_attempt_apart():
    timeline = (
        Draw().step("p").step("p/1", nested_in="p").step("p/2", nested_in="p")
        .run("p", 0, 0, 0, 6, blocked=[(1, 5)], outcome="failed")
        .run("p/1", 1, 1, 1, 5, by="p")
        .run("p", 6, 9, 9, 17, attempt=2, waits="backoff", blocked=[(10, 15)])
        .run("p/2", 10, 10, 10, 15, by="p")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("p", 1), ("p/1", 4), ("p", 1 + 3 + 1), ("p/2", 5), ("p", 2)]
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 14, "backoff": 3}


def test_a_failure_ends_a_chain_and_what_it_skipped_adds_nothing():
    timeline = (
        Draw().step("a", status="failed").step("b", ["a"], status="skipped").step("c")
        .run("a", 0, 0, 0, 7, outcome="failed")
        .run("c", 0, 0, 0, 3)
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("a", 7)]
    assert summary(timeline).steps_run == 2


def test_steps_of_no_length_make_a_run_of_no_length():
    timeline = (
        Draw().step("a").step("b", ["a"]).run("a", 0, 0, 0, 0).run("b", 0, 0, 0, 0, by="a").timeline()
    )  # fmt: skip
    figures = summary(timeline)
    assert figures.lost_seconds == {}
    assert [part.step_id for part in figures.critical_path] == ["a"]
    assert figures.critical_path[0].share_ratio is None
    assert figures.schedule_efficiency_ratio is None


def test_a_step_of_no_length_stands_on_the_path_between_others():
    timeline = (
        Draw().step("a").step("b", ["a"]).step("c", ["b"])
        .run("a", 0, 0, 0, 4).run("b", 4, 4, 4, 4, by="a").run("c", 4, 4, 4, 9, by="b")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("a", 4), ("b", 0), ("c", 5)]
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 9}


def test_calls_of_no_length_at_one_instant_do_not_confuse_the_walk():
    timeline = (
        Draw().step("p").step("p/1", nested_in="p").step("p/2", ["p/1"], nested_in="p").step("p/3", nested_in="p")
        .run("p", 0, 0, 0, 9, blocked=[(0, 5), (5, 5), (5, 9)])
        .run("p/1", 0, 0, 0, 5, by="p")
        .run("p/2", 5, 5, 5, 5, by="p/1")  # of the first call, though the others hold it too
        .run("p/3", 5, 5, 5, 9, by="p")
        .timeline()
    )  # fmt: skip
    assert RunAnalysis(timeline).critical_path.nanoseconds == 9
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 9}


def test_an_order_edge_between_children_of_one_instant_makes_no_cycle():
    # p/1 has no length and ends where the first call ends; the second call holds it too. p/2 follows it in the first.
    timeline = (
        Draw().step("p").step("p/0", nested_in="p").step("p/1", ["p/0"], nested_in="p")
        .step("p/2", order=["p/1"], nested_in="p").step("p/3", nested_in="p")
        .run("p", 0, 0, 0, 7, blocked=[(0, 4), (4, 7)])
        .run("p/0", 0, 0, 0, 4, by="p")
        .run("p/1", 4, 4, 4, 4, by="p/0")
        .run("p/2", 0, 4, 4, 4, by="p", waits="lock.x")
        .run("p/3", 4, 4, 4, 7, by="p")
        .timeline()
    )  # fmt: skip
    assert RunAnalysis(timeline).critical_path.nanoseconds == 7
    # p/0 and p/2 ended last in the first call, both at 4: the earlier-listed one is walked.
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 7}


@pytest.mark.parametrize(
    ("status", "edge_in", "edge_out", "follows"),
    [
        ("skipped", "data", "data", True),
        ("skipped", "data", "order", True),
        ("skipped", "order", "order", True),
        ("skipped", "order", "data", False),
        ("cancelled", "order", "order", True),
        ("cancelled", "data", "order", False),
        ("cancelled", "order", "data", False),
        ("cancelled", "data", "data", False),
        ("waiting", "data", "data", False),
    ],
)
def test_a_chain_goes_through_a_step_that_never_ran_only_where_it_had_to_wait(status, edge_in, edge_out, follows):
    timeline = (
        Draw().step("a").step("s", status=status, **{edge_in: ["a"]}).step("c", **{edge_out: ["s"]})
        .run("a", 0, 0, 0, 5).run("c", 5, 5, 5, 8, by="a")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == ([("a", 5), ("c", 3)] if follows else [("a", 5)])


def test_chains_of_both_kinds_through_skipped_steps_are_kept_apart():
    # long →order s, short →data s: c follows s over data, d over order.
    timeline = (
        Draw(workers=4).step("long").step("short").step("s", ["short"], order=["long"], status="skipped")
        .step("c", ["s"]).step("d", order=["s"])
        .run("long", 0, 0, 0, 20).run("short", 0, 0, 0, 2)
        .run("c", 2, 2, 2, 12, by="short").run("d", 0, 20, 20, 21, waits="lock.x")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("long", 20), ("d", 1)]


def test_a_step_that_ran_and_was_cancelled_is_followed_over_any_edge():
    timeline = (
        Draw().step("a").step("b", ["a"], status="cancelled").step("c", order=["b"])
        .run("a", 0, 0, 0, 5).run("b", 5, 5, 5, 7, by="a", outcome="cancelled").run("c", 0, 7, 7, 8, waits="lock.x")
        .timeline()
    )  # fmt: skip
    assert path(timeline) == [("a", 5), ("b", 2), ("c", 1)]


def test_a_step_that_nobody_released_arrived_late():
    timeline = Draw().step("a").step("late").run("a", 0, 0, 0, 3).run("late", 8, 9, 9, 12).timeline()
    assert RunAnalysis(timeline).lost_nanoseconds == {"arrival": 8, "running": 3, "overhead": 1}


def test_ties_at_the_end_go_to_the_earliest_listed_step():
    timeline = (
        Draw().step("a").step("b")
        .run("b", 0, 0, 0, 9).run("a", 0, 4, 4, 9, waits="worker")
        .timeline()
    )  # fmt: skip
    assert RunAnalysis(timeline).lost_nanoseconds == {"running": 5, "worker": 4}


def test_a_foreign_trace_is_walked_over_the_data_dependency_that_ended_last():
    draw = Draw().step("a").step("b").step("c", ["a", "b"])
    draw.run("a", 0, 0, 0, 4).run("b", 0, 0, 0, 6).run("c", 7, 7, 7, 10)
    assert RunAnalysis(draw.timeline(), foreign=True).lost_nanoseconds == {"running": 9, "overhead": 1}
    assert RunAnalysis(draw.timeline()).lost_nanoseconds == {"arrival": 7, "running": 3}


def test_overlapping_edges_of_a_foreign_trace_are_found_and_the_parts_still_sum():
    timeline = (
        Draw().step("a").step("b", ["a"])
        .run("a", 0, 0, 0, 8).run("b", 5, 5, 5, 10)
        .timeline()
    )  # fmt: skip
    assert RunAnalysis(timeline, foreign=True).lost_nanoseconds == {"running": 10}
    (caution,) = summary(timeline, foreign=True).cautions
    assert (caution.step_id, caution.depends_on, caution.count) == ("b", "a", 1)
    assert summary(timeline).cautions == ()


def test_attempts_that_never_ended_or_never_started_are_no_work():
    draw = Draw().step("a").step("b").step("c", status="running")
    draw.run("a", 0, 0, 0, 4).run("b", 0, 1, None, 6, outcome="cancelled").run("c", 0, 0, 0, 1)
    draw.attempts[-1].ended = draw.attempts[-1].known = None
    timeline = draw.timeline()
    assert RunAnalysis(timeline).work_nanoseconds == 4
    assert RunAnalysis(timeline).lost_nanoseconds == {"overhead": 6}


def test_a_cycle_is_named_not_followed_for_ever():
    timeline = Draw().step("a", ["b"]).step("b", ["a"]).run("a", 0, 0, 0, 1).run("b", 0, 0, 0, 1).timeline()
    with pytest.raises(ValueError, match="step 'a' form a cycle"):
        summary(timeline)
