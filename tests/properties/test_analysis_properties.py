"""The analysis, judged on random runs.

The runs come from a small list-scheduling simulator of this file's own: it knows nothing of the executor's scheduler
and nothing of the analysis, only the rules for data and order edges, limits, retries, nested calls and skipping.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from executor.model.workflow import Resource
from executor.record.timeline import Attempt, Interval, Timeline, Wait
from harness.analysis import RunAnalysis, summary
from harness.result import Repetition, result_document, timeline_from_document
from tests.properties.effort import examples

FINAL = ("succeeded", "failed", "skipped", "cancelled")


# --- What a random run is made of ------------------------------------------------------------------------------------


@dataclass
class Try:
    """One attempt: its run times, with a call between each two of them."""

    segments: list[int]
    calls: list[list[Spec]]
    backoff: int = 0
    start_delay: int = 0
    report_delay: int = 0


@dataclass
class Spec:
    """A step: ``data`` are places before it in the order in which it is declared."""

    data: list[int]
    writes: str | None
    tries: list[Try]
    fails: bool
    when: bool
    needs: dict[str, int] | None
    arrives: int = 0


@dataclass
class World:
    specs: list[Spec]
    listed: list[int]  # file order: a permutation of the places
    workers: int
    resources: dict[str, Resource]
    cancelled: dict[int, int] = field(default_factory=dict)  # place → when


short = st.integers(0, 4)


@st.composite
def tries(draw, depth, ideal):
    calls = []
    if depth < 2 and draw(st.integers(0, 3)) == 0:
        for _ in range(draw(st.integers(1, 3))):
            children = draw(st.integers(0, 3))
            calls.append([draw(specs(place, depth + 1, ideal)) for place in range(children)])
    delay = st.just(0) if ideal else st.integers(0, 1)
    return Try([draw(short) for _ in range(len(calls) + 1)], calls, draw(short), draw(delay), draw(delay))


@st.composite
def specs(draw, place, depth, ideal):
    return Spec(
        data=sorted(draw(st.sets(st.integers(0, place - 1), max_size=3))) if place else [],
        writes=draw(st.sampled_from([None, None, "x", "y"])) if depth == 0 else draw(st.sampled_from([None, "x"])),
        tries=[draw(tries(depth, ideal)) for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3])))],
        fails=draw(st.integers(0, 5)) == 0,
        when=draw(st.integers(0, 4)) > 0,
        needs=None if ideal else draw(st.sampled_from([None, None, {"r": 1}, {"r": 2}, {"s": 1, "r": 1}])),
        arrives=0 if ideal else draw(st.sampled_from([0, 0, 0, 3])),
    )


@st.composite
def worlds(draw, ideal=False):
    size = draw(st.integers(1, 7))
    return World(
        specs=[draw(specs(place, 0, ideal)) for place in range(size)],
        listed=draw(st.permutations(range(size))),
        workers=10_000 if ideal else draw(st.integers(1, 3)),
        resources={} if ideal else {"r": Resource(capacity=draw(st.integers(2, 3))), "s": Resource(capacity=1)},
        cancelled={} if ideal else draw(st.dictionaries(st.integers(0, size - 1), st.integers(0, 6), max_size=2)),
    )


# --- The simulator ---------------------------------------------------------------------------------------------------


class Job:
    """A step in the simulator."""

    def __init__(self, spec, index, step_id, parent, call, data, order):
        self.spec, self.index, self.step_id, self.parent, self.call = spec, index, step_id, parent, call
        self.data, self.order = data, order
        self.depth = 0 if parent is None else parent.depth + 1
        self.status = "waiting"
        self.spoiled = False  # failed, or skipped for such a reason
        self.cause = None  # the step that a dependant names as its releaser
        self.final_order = -1
        self.attempts = []
        self.calls_made = 0
        self.children_left = 0
        self.number = 0  # the next child's id
        self.ready = 0
        self.eligible = 0
        self.releaser = None
        self.wait = None  # (reason, since)
        self.waits = []
        self.blocked = []
        self.stage = 0

    @property
    def ran(self):
        return bool(self.attempts)

    @property
    def final(self):
        return self.status in FINAL

    def settled(self):
        """Whether an order edge to this step is satisfied."""
        return self.final and (self.ran or all(other.settled() for other in self.order))


class Simulator:
    def __init__(self, world):
        self.world = world
        self.now = 0
        self.jobs = []
        self.events = []
        self.tick = count()
        self.finals = count()
        self.free_workers = world.workers
        self.free = {name: resource.capacity for name, resource in world.resources.items()}
        self.attempts = []
        self.writers = {}

    def at(self, time, action, *arguments):
        heapq.heappush(self.events, (time, next(self.tick), action, arguments))

    def run(self):
        self.add_all()
        while self.events:
            self.now = self.events[0][0]
            while self.events and self.events[0][0] == self.now:
                _, _, action, arguments = heapq.heappop(self.events)
                action(*arguments)
            self.decide_fates()
            self.start_what_can()
        assert all(job.final for job in self.jobs), "the simulator itself is stuck"
        return self.timeline()

    def add_all(self):
        world = self.world
        place_in_file = {place: index for index, place in enumerate(world.listed)}
        self.jobs = [None] * len(world.specs)
        for place, spec in enumerate(world.specs):
            index = place_in_file[place]
            data = [self.jobs[place_in_file[parent]] for parent in spec.data]
            self.jobs[index] = self.make(spec, index, f"s{index}", None, -1, data)
            if place in world.cancelled:
                self.at(world.cancelled[place], self.cancel, self.jobs[index])
        for time in {spec.arrives for spec in world.specs} | {0}:
            self.at(time, lambda: None)

    def make(self, spec, index, step_id, parent, call, data):
        key = (parent.index if parent else None, spec.writes)
        order = [self.writers[key]] if spec.writes and key in self.writers else []
        job = Job(spec, index, step_id, parent, call, data, order)
        if spec.writes:
            self.writers[key] = job
        return job

    def decide_fates(self):
        changed = True
        while changed:
            changed = False
            for job in self.jobs:
                arrived = job.parent is not None or job.spec.arrives <= self.now
                if job.status == "waiting" and arrived and all(other.final for other in job.data):
                    self.decide(job)
                    changed = True

    def decide(self, job):
        last = max(job.data, key=lambda other: other.final_order, default=None)
        cause = last.cause if last is not None else None
        if last is not None and job.parent is not None and last.final_order < job.added_after:
            cause = None
        job.releaser = cause or (job.parent.step_id if job.parent is not None else None)
        if any(other.spoiled for other in job.data):
            job.spoiled = True
            self.finish(job, "skipped", job.releaser)
        elif any(other.status == "cancelled" for other in job.data):
            self.finish(job, "cancelled", job.releaser)
        elif not job.spec.when:
            self.finish(job, "skipped", job.releaser)
        else:
            job.status = "ready"
            job.ready = job.eligible = self.now
            job.waits = []

    def cancel(self, job):
        if job.status == "waiting":
            self.finish(job, "cancelled", None)

    def finish(self, job, status, cause):
        job.status = status
        job.cause = cause
        job.final_order = next(self.finals)
        parent = job.parent
        if parent is not None:
            parent.children_left -= 1
            if parent.children_left == 0:
                self.at(self.now, self.unblock, parent)

    def lacking(self, job):
        """The reason why a job may not be granted now, or None."""
        if job.status == "ready" and not all(other.settled() for other in job.order):
            return f"lock.{job.spec.writes}"
        for name, units in (job.spec.needs or {}).items():
            if self.free[name] < units:
                return f"resource.{name}"
        return "worker" if self.free_workers == 0 else None

    def start_what_can(self):
        waiting = [job for job in self.jobs if job.status in ("ready", "resuming") and job.eligible <= self.now]
        waiting.sort(key=lambda job: (job.status != "resuming", -job.depth, job.index))
        for job in waiting:
            reason = self.lacking(job)
            if job.wait is None and (reason is not None or job.status == "resuming"):
                job.wait = (reason or "resuming", max(job.ready, job.eligible) if job.status == "ready" else self.now)
            if reason is None:
                self.end_wait(job, None)
                self.take(job, -1)
                self.resume(job) if job.status == "resuming" else self.grant(job)
            elif job.wait[0] != reason:
                self.end_wait(job, reason)

    def end_wait(self, job, next_reason):
        if job.wait is not None:
            reason, since = job.wait
            if self.now > since:
                job.waits.append(Wait(reason, since, self.now))
            job.wait = None if next_reason is None else (next_reason, self.now)

    def take(self, job, sign):
        self.free_workers += sign
        for name, units in (job.spec.needs or {}).items():
            self.free[name] += sign * units

    def grant(self, job):
        plan = job.spec.tries[len(job.attempts)]
        parent = job.parent.step_id if job.parent is not None else None
        attempt = Attempt(
            job.index, job.step_id, len(job.attempts) + 1, job.ready, self.now, job.releaser, parent, job.waits
        )
        attempt.started = self.now + plan.start_delay
        job.attempts.append(attempt)
        self.attempts.append(attempt)
        job.status, job.stage, job.blocked = "running", 0, []
        self.at(attempt.started + plan.segments[0], self.segment_over, job)

    def segment_over(self, job):
        plan = job.spec.tries[len(job.attempts) - 1]
        if job.stage == len(plan.calls):
            attempt = job.attempts[-1]
            attempt.ended = self.now
            self.at(self.now + plan.report_delay, self.attempt_over, job)
            return
        children = plan.calls[job.stage]
        job.status = "blocked"
        job.blocked.append(self.now)
        self.take(job, +1)
        added = []
        already_final = next(self.finals)
        for spec in children:
            job.number += 1
            data = [added[place] for place in spec.data]
            child = self.make(spec, len(self.jobs), f"{job.step_id}/{job.number}", job, job.calls_made, data)
            child.added_after = already_final
            self.jobs.append(child)
            added.append(child)
        job.calls_made += 1
        job.children_left = len(children)
        if not children:
            self.at(self.now, self.unblock, job)

    def unblock(self, job):
        job.blocked[-1] = Interval(job.blocked[-1], self.now)
        job.status = "resuming"

    def resume(self, job):
        plan = job.spec.tries[len(job.attempts) - 1]
        job.attempts[-1].waits = tuple(job.waits)
        job.status = "running"
        job.stage += 1
        self.at(self.now + plan.segments[job.stage], self.segment_over, job)

    def attempt_over(self, job):
        plan = job.spec.tries[len(job.attempts) - 1]
        attempt = job.attempts[-1]
        attempt.known = self.now
        attempt.waits = tuple(job.waits)
        attempt.blocked = tuple(job.blocked)
        self.take(job, +1)
        again = len(job.attempts) < len(job.spec.tries)
        attempt.outcome = "failed" if again or job.spec.fails else "succeeded"
        if again:
            job.status, job.ready, job.eligible = "ready", self.now, self.now + plan.backoff
            job.waits = [Wait("backoff", self.now, job.eligible)] if plan.backoff else []
            self.at(job.eligible, lambda: None)
        else:
            job.spoiled = job.spec.fails
            self.finish(job, "failed" if job.spec.fails else "succeeded", job.step_id)

    def timeline(self):
        return Timeline(
            step_ids=[job.step_id for job in self.jobs],
            data_parents=[tuple(other.index for other in job.data) for job in self.jobs],
            order_parents=[tuple(other.index for other in job.order) for job in self.jobs],
            statuses=[job.status for job in self.jobs],
            attempts=self.attempts,
            workers=self.world.workers,
            nested_in=[-1 if job.parent is None else job.parent.index for job in self.jobs],
            needs=[job.spec.needs for job in self.jobs],
            resources=self.world.resources,
            backend="virtual",
        )


# --- The longest chain once more, by plain recursion over what the simulator knows ---------------------------------


class Chains:
    """Lengths of chains; None is "no chain". Children are assigned to the calls that truly made them."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.children = {}
        for job in jobs:
            if job.parent is not None and job.ran:
                self.children.setdefault((job.parent.index, job.call), []).append(job)
        self.known = {}

    def longest(self):
        return max((self.points(job)[-1] for job in self.jobs if job.ran), default=0)

    def points(self, job):
        """Chain length at each call that the job makes, and at its end."""
        if job.index not in self.known:
            self.known[job.index] = self.walk(job, self.entering(job), None)
        return self.known[job.index]

    def entering(self, job):
        lengths = [self.out(other, "data") for other in job.data] + [self.out(other, "order") for other in job.order]
        if job.parent is not None:
            lengths.append(self.points_until(job.parent, job.call))
        return max((length for length in lengths if length is not None), default=0)

    def points_until(self, job, call):
        """The chain length where the job makes one of its calls (its later children are not asked)."""
        return self.walk(job, self.entering(job), call)[-1]

    def walk(self, job, value, until):
        points, call = [], 0
        for number, _ in enumerate(job.attempts):
            plan = job.spec.tries[number]
            if number:
                value += job.spec.tries[number - 1].backoff
            for place, segment in enumerate(plan.segments):
                value += segment
                if place < len(plan.calls):
                    points.append(value)
                    if call == until:
                        return points
                    for child in self.children.get((job.index, call), ()):
                        value = max(value, self.points(child)[-1])
                    call += 1
        return [*points, value]

    def out(self, job, kind):
        if job.ran:
            return self.points(job)[-1]
        by_data = [self.out(other, "data") for other in job.data]
        by_order = [self.out(other, "order") for other in job.order]
        if job.status == "cancelled":
            by_data = []
        ways = by_data + by_order if kind == "order" else by_data
        return max((length for length in ways if length is not None), default=None)


# --- The properties --------------------------------------------------------------------------------------------------

many = settings(max_examples=examples(100), deadline=None)
some = settings(max_examples=examples(40), deadline=None)


@many
@given(worlds())
def test_lost_time_sums_to_the_makespan_exactly(world):
    timeline = Simulator(world).run()
    lost = RunAnalysis(timeline).lost_nanoseconds
    assert sum(lost.values()) == timeline.makespan_nanoseconds
    assert all(part > 0 for part in lost.values())


@some
@given(worlds())
def test_no_part_of_lost_time_exceeds_all_there_was_of_it(world):
    timeline = Simulator(world).run()
    waited = {}
    for attempt in timeline.attempts:
        for reason, start, end in attempt.waits:
            waited[reason] = waited.get(reason, 0) + end - start
    lost = RunAnalysis(timeline).lost_nanoseconds
    assert lost.pop("running", 0) <= RunAnalysis(timeline).work_nanoseconds
    for cause in ("overhead", "arrival"):
        lost.pop(cause, None)
    # A call lasts until its last child is known, and every one of its children belongs to it: nothing is left over,
    # except where it had no child that ran.
    if all(status == "succeeded" for status in timeline.statuses):
        assert "blocked" not in lost
    lost.pop("blocked", None)
    assert all(part <= waited[cause] for cause, part in lost.items())


@many
@given(worlds())
def test_no_term_of_the_lower_bound_exceeds_the_makespan(world):
    timeline = Simulator(world).run()
    bound = RunAnalysis(timeline).lower_bound
    assert bound.nanoseconds == max(bound.terms.values())
    assert all(term <= timeline.makespan_nanoseconds for term in bound.terms.values()), bound


@many
@given(worlds())
def test_the_critical_path_is_the_longest_chain(world):
    simulator = Simulator(world)
    timeline = simulator.run()
    path = RunAnalysis(timeline).critical_path
    assert path.nanoseconds == Chains(simulator.jobs).longest()
    assert path.nanoseconds == sum(part.nanoseconds for part in path.parts)


@many
@given(worlds(ideal=True))
def test_a_run_that_lacks_nothing_takes_as_long_as_its_critical_path(world):
    timeline = Simulator(world).run()
    assert RunAnalysis(timeline).critical_path.nanoseconds == timeline.makespan_nanoseconds
    causes = set(RunAnalysis(timeline).lost_nanoseconds)
    assert all(cause in ("running", "backoff") or cause.startswith("lock.") for cause in causes), causes


@some
@given(worlds())
def test_concurrency_integrates_to_the_work_over_the_makespan(world):
    timeline = Simulator(world).run()
    analysis = RunAnalysis(timeline)
    levels = analysis.concurrency
    assert sum(level * length for level, length in levels.nanoseconds_at.items()) == analysis.work_nanoseconds
    assert sum(levels.nanoseconds_at.values()) == timeline.makespan_nanoseconds
    assert levels.maximum <= world.workers


@some
@given(worlds())
def test_work_is_what_was_planned_to_run(world):
    simulator = Simulator(world)
    timeline = simulator.run()
    planned = sum(sum(plan.segments) for job in simulator.jobs for plan in job.spec.tries[: len(job.attempts)])
    assert RunAnalysis(timeline).work_nanoseconds == planned


@st.composite
def rough_timelines(draw, longest=12):
    """Records that keep the order of an attempt's times and nothing else: releases, calls and edges may be absurd."""
    size = draw(st.integers(1, 6))
    time = st.integers(0, longest)
    step_ids = [f"s{index}" for index in range(size)]
    nested_in = [draw(st.integers(-1, index - 1)) for index in range(size)]
    attempts = []
    for index in range(size):
        for number in range(draw(st.integers(0, 3))):
            ready, granted, started, ended, known = sorted(draw(time) for _ in range(5))
            cuts = sorted(draw(time) for _ in range(draw(st.integers(0, 4)) * 2))
            released_by = draw(st.sampled_from([None, *step_ids]))
            attempt = Attempt(index, step_ids[index], number + 1, ready, granted, released_by)
            attempt.started, attempt.ended, attempt.known = started, draw(st.sampled_from([ended, ended, None])), known
            pairs = list(zip(cuts[::2], cuts[1::2], strict=True))
            attempt.blocked = tuple(Interval(*pair) for pair in pairs[::2])
            attempt.waits = tuple(Wait(draw(st.sampled_from(["worker", "rate.r"])), *pair) for pair in pairs[1::2])
            attempt.tokens_reserved = draw(st.none() | st.integers(0, 9))
            attempt.cpu_seconds = draw(st.none() | st.floats(0, 10))
            attempts.append(attempt)
    return Timeline(
        step_ids=step_ids,
        data_parents=[tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=2)))) if index else () for index in
                      range(size)],
        order_parents=[()] * size,
        statuses=[draw(st.sampled_from(["succeeded", "skipped", "cancelled", "running"])) for _ in range(size)],
        attempts=attempts,
        workers=draw(st.integers(1, 3)),
        nested_in=nested_in,
        needs=[draw(st.none() | st.just({"r": 1})) for _ in range(size)],
        resources={"r": Resource(capacity=1, tokens_per_minute=100.0)},
        startup_seconds=draw(st.floats(0, 100)),
        backend="rough",
    )  # fmt: skip


@many
@given(rough_timelines(), st.booleans())
def test_even_for_absurd_records_the_walk_ends_and_sums(timeline, foreign):
    lost = RunAnalysis(timeline, foreign=foreign).lost_nanoseconds
    assert sum(lost.values()) == timeline.makespan_nanoseconds
    analysis = RunAnalysis(timeline)
    levels = analysis.concurrency
    assert sum(level * length for level, length in levels.nanoseconds_at.items()) == analysis.work_nanoseconds


def facts(timeline):
    """Everything that a timeline says."""
    return (
        list(timeline.step_ids), [tuple(parents) for parents in timeline.data_parents],
        [tuple(parents) for parents in timeline.order_parents], list(timeline.statuses), timeline.workers,
        list(timeline.nested_in), list(timeline.needs), dict(timeline.resources), timeline.policy, timeline.backend,
        timeline.startup_seconds,
        [
            (
                attempt.index, attempt.step_id, attempt.attempt, attempt.parent, attempt.ready, attempt.granted,
                attempt.started, attempt.ended, attempt.known, tuple(attempt.waits), tuple(attempt.blocked),
                attempt.released_by, attempt.worker, attempt.cpu_seconds, attempt.outcome, attempt.tokens_reserved,
                attempt.tokens_used,
            )
            for attempt in timeline.attempts
        ],
    )  # fmt: skip


def there_and_back(timeline):
    document = result_document([Repetition(timeline)])
    return timeline_from_document(json.loads(json.dumps(document, allow_nan=False)))


@some
@given(worlds())
def test_a_timeline_survives_the_document(world):
    timeline = Simulator(world).run()
    again = there_and_back(timeline)
    assert facts(again) == facts(timeline)
    assert summary(again) == summary(timeline)


TWENTY_DAYS = 20 * 24 * 3600 * 1_000_000_000


@some
@given(worlds(), st.integers(0, TWENTY_DAYS), st.integers(0, 999))
def test_every_nanosecond_of_twenty_days_survives_the_document(world, later, odd):
    timeline = Simulator(world).run()
    for attempt in timeline.attempts:
        waits = tuple(Wait(reason, start + later, end + later + odd) for reason, start, end in attempt.waits)
        attempt.blocked = tuple(Interval(start + later, end + later) for start, end in attempt.blocked)
        for name in ("ready", "granted", "started", "ended", "known"):
            setattr(attempt, name, getattr(attempt, name) + later + odd)
        attempt.waits = waits
    assert facts(there_and_back(timeline)) == facts(timeline)
