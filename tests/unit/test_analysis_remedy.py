"""What the analysis says to a person: remedies and cautions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from executor.model.workflow import Resource
from executor.record.timeline import NANOSECONDS, Attempt, Timeline, Wait
from harness.analysis import CpuBoundThreads, TooFewCores, remedy, summary


def independent(*lengths, wait=None, starts=None, cpu=None, workers=4, backend="threads", policy="dataflow", **more):
    """Independent steps, in seconds; each waits from 0 to its start for ``wait``."""
    ids = [f"s{number}" for number in range(len(lengths))]
    attempts = []
    for number, length in enumerate(lengths):
        start = (starts[number] if starts else 0) * NANOSECONDS
        waits = [Wait(wait, 0, start)] if wait and start else None
        attempt = Attempt(number, ids[number], 1, 0, start, waits=waits)
        attempt.started, attempt.outcome = start, "succeeded"
        attempt.ended = attempt.known = start + int(length * NANOSECONDS)
        attempt.cpu_seconds = None if cpu is None else cpu[number]
        attempts.append(attempt)
    empty = [()] * len(ids)
    statuses = ["succeeded"] * len(ids)
    return Timeline(ids, empty, empty, statuses, attempts, workers, backend=backend, policy=policy, **more)


def advice(timeline):
    return remedy(summary(timeline), timeline)


def test_waiting_for_a_limit_names_it_with_its_capacity():
    resources = {"llm": Resource(capacity=2)}
    text = advice(independent(3, 3, starts=[0, 2], wait="resource.llm", resources=resources))
    assert text.startswith("2 s waiting for llm, capacity 2: raise it if what it protects can take more, or ")


def test_waiting_for_a_worker_says_how_many_would_have_been_enough():
    text = advice(independent(3, 3, 3, starts=[0, 3, 3], wait="worker", workers=1))
    assert "3 s waiting for a free worker (1 worker)" in text
    assert "2 more workers would have taken every waiting step at once" in text
    assert "at least 3 s" in text


def test_a_serial_run_is_told_to_use_another_executor():
    assert "another executor" in advice(independent(1, 1, starts=[0, 1], wait="worker", workers=1, backend="serial"))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("barrier", "use policy dataflow"),
        ("backoff", "find out why attempts fail"),
        ("lock.report", "the state 'report'"),
        ("rate.llm", "rate_per_minute 60 and tokens_per_minute 900: raise it"),
        ("rate.unknown", "waiting for the rate of unknown: raise it"),
        ("resource.unknown", "waiting for unknown: raise it"),
        ("resuming", "nested calls"),
        ("novel", "1 s waiting for novel."),
    ],
)
def test_every_cause_has_its_sentence(reason, words):
    resources = {"llm": Resource(rate_per_minute=60.0, tokens_per_minute=900.0)}
    assert words in advice(independent(1, starts=[1], wait=reason, resources=resources))


def test_overhead_and_arrival_have_their_sentences():
    late = independent(1, starts=[1])
    assert "1 s of overhead" in advice(late)
    late.attempts[0].ready = NANOSECONDS
    assert "sooner" in advice(late)


def test_a_blocked_parent_without_children_has_its_sentence():
    timeline = independent(2)
    timeline.attempts[0].blocked = [(0, NANOSECONDS)]
    assert "1 s blocked after the last nested call" in advice(timeline)


def test_where_running_dominates_the_longest_step_of_the_critical_path_is_named():
    text = advice(independent(1, 5, 2))
    assert text.startswith("100% of the makespan is running, and the critical path of 5 s is the limit")
    assert "speed up step 's1' (5 s of it)" in text


def test_a_small_loss_is_not_blamed():
    assert "critical path" in advice(independent(95, starts=[5], wait="worker"))
    assert "free worker" in advice(independent(85, starts=[15], wait="worker"))


def test_at_a_bound_that_the_critical_path_sets_no_limit_is_to_be_raised():
    """The walk back may lead through a wait where another path, without one, is as long."""
    resources = {"llm": Resource(capacity=1)}
    timeline = independent(97, 40, starts=[0, 60], wait="resource.llm", resources=resources)
    figures = summary(timeline)
    assert figures.largest_lost_cause == "resource.llm"
    assert figures.schedule_efficiency_ratio > 0.95
    assert "the critical path of 97 s is the limit" in remedy(figures, timeline)
    timeline = independent(94, 40, starts=[0, 60], wait="resource.llm", resources=resources)
    assert "waiting for llm" in advice(timeline)


@pytest.mark.parametrize(("reason", "words"), [("backoff", "find out why attempts fail"), ("lock.report", "the state")])
def test_waits_that_make_the_critical_path_longer_are_named_even_at_the_bound(reason, words):
    timeline = independent(3, 3, starts=[0, 3], wait=reason)
    figures = replace(summary(timeline), schedule_efficiency_ratio=1.0, binding_bound="critical_path")
    assert words in remedy(figures, timeline)


def test_a_bound_that_a_limit_sets_is_the_limits_affair():
    resources = {"llm": Resource(capacity=1)}
    needs = [{"llm": 1}, {"llm": 1}]
    timeline = independent(3, 3, starts=[0, 3], wait="resource.llm", resources=resources, needs=needs)
    figures = summary(timeline)
    assert (figures.schedule_efficiency_ratio, figures.binding_bound) == (1, "resource.llm")
    assert "capacity 1: raise it" in remedy(figures, timeline)


def test_a_slowdown_has_its_sentence_even_at_the_bound():
    timeline = independent(4)
    figures = replace(summary(timeline), lost_seconds={"running": 3.0, "slowdown": 1.0}, largest_lost_cause="slowdown")
    assert remedy(figures, timeline).startswith("1 s because steps ran longer than in the serial run: ")


def test_a_run_of_no_length_has_nothing_to_gain():
    assert "nothing to gain" in advice(independent(0))
    assert "nothing to gain" in advice(Timeline([], [], [], [], [], 1))


def test_cpu_bound_threads_are_told_to_use_processes():
    timeline = independent(4, 4, 4, 4, cpu=[1, 1, 1, 1])
    (caution,) = summary(timeline).cautions
    assert caution == CpuBoundThreads(cpu_seconds=4, run_seconds=16)
    assert "use `processes`" in str(caution)


@pytest.mark.parametrize(
    ("lengths", "cpu", "backend"),
    [
        ([4, 4, 4, 4], [0.01] * 4, "threads"),  # they wait
        ([4, 4, 4, 4], [4] + [0.01] * 3, "threads"),  # one computes, alone
        ([4, 4, 4, 4], [3.9] * 4, "threads"),  # the interpreter lock was released
        ([4, 4, 4, 4], [1] * 4, "processes"),  # no lock to share, cores unknown
        ([4, 4, 4, 4], None, "threads"),  # not measured
        ([4], [1], "threads"),  # nothing beside it
    ],
)
def test_no_caution_where_the_cpu_seconds_do_not_show_it(lengths, cpu, backend):
    assert summary(independent(*lengths, cpu=cpu, backend=backend)).cautions == ()


def test_more_computing_workers_than_cores_are_told_so():
    timeline = independent(4, 4, 4, 4, cpu=[2, 2, 2, 2], backend="processes")
    assert summary(timeline).cautions == ()
    (caution,) = summary(timeline, usable_cores=2).cautions
    assert isinstance(caution, TooFewCores)
    assert "2 cores for 4 workers" in str(caution)
    assert summary(timeline, usable_cores=4).cautions == ()


def test_the_summary_is_in_seconds_and_ratios():
    figures = summary(independent(3, 3, 3, starts=[0, 3, 3], wait="worker", workers=2, cpu=[0.5, 0.5, 0.25]))
    assert figures.makespan_seconds == 6
    assert figures.work_seconds == 9
    assert figures.concurrency_mean == 1.5
    assert figures.concurrency_seconds == {1: 3, 2: 3}
    assert figures.lower_bound_seconds == 4.5
    assert figures.binding_bound == "work"
    assert figures.schedule_efficiency_ratio == 0.75
    assert figures.lost_seconds == {"running": 3, "worker": 3}
    assert figures.largest_lost_cause == "worker"
    assert figures.cpu_seconds == 1.25
    assert (figures.steps_run, figures.attempts) == (3, 3)
    assert figures.critical_path[0].share_ratio == 1
