"""Clocks of workers: shifted by seconds, drifting, set; the true time is known, and lies within the stated error."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.backends.clocks.cluster_clocks import ClusterClocks
from executor.backends.clocks.worker_clock import MOST_DRIFT_PARTS_PER_MILLION, RoundTrip, WorkerClock
from tests.properties.effort import examples

SECOND = 1_000_000_000
MOST = settings(max_examples=examples(150), deadline=None, database=None)
drifts = st.integers(-MOST_DRIFT_PARTS_PER_MILLION, MOST_DRIFT_PARTS_PER_MILLION)


class SimulatedClock:
    """A clock that is ``offset`` ahead of the true one at first, and gains by another drift (ppm) every second."""

    def __init__(self, offset: int, gains: list[int]) -> None:
        self._offset = offset
        self._gains = gains
        self._begins = [0, *accumulate(SECOND + gain * 1_000 for gain in gains)]

    def at(self, true_time: int) -> int:
        second = min(true_time // SECOND, len(self._gains) - 1)
        passed = true_time - second * SECOND
        return self._offset + self._begins[second] + passed + passed * self._gains[second] // 1_000_000

    def true_time(self, shown: int) -> int:
        """The same back, to the nanosecond."""
        since = shown - self._offset
        second = min(bisect_right(self._begins, since) - 1, len(self._gains) - 1)
        passed = since - self._begins[second]
        return second * SECOND + passed * 1_000_000 // (1_000_000 + self._gains[second])


def trips_of(clock: SimulatedClock, seed: int, count: int, until: int) -> list[RoundTrip]:
    """Round trips of any delay there, any delay back, and any time spent on the worker."""
    source = random.Random(seed)
    trips = []
    for sent in sorted(source.randrange(until) for _ in range(count)):
        there, spent, back = (source.choice((10_000, 1_000_000, 300_000_000)) for _ in range(3))
        received = sent + source.randrange(there)
        answered = received + source.randrange(spent)
        trips.append(RoundTrip(sent, clock.at(received), clock.at(answered), answered + source.randrange(back)))
    return trips


@MOST
@given(st.integers(-10 * SECOND, 10 * SECOND), st.lists(drifts, min_size=1, max_size=40), st.integers(), st.data())
def test_the_true_time_lies_within_the_stated_error(
    offset: int, gains: list[int], seed: int, data: st.DataObject
) -> None:
    clock = SimulatedClock(offset, gains)
    until = len(gains) * SECOND
    first, *rest = trips_of(clock, seed, data.draw(st.integers(1, 30)), until)
    known = WorkerClock(first)
    source = random.Random(seed + 1)
    for trip in [first, *rest]:
        known.add(trip)
        for true in [source.randrange(until) for _ in range(5)]:
            found = known.on_driver(clock.at(true))
            # The simulated clock itself is cut to whole nanoseconds.
            assert found.earliest - 3 <= true <= found.latest + 3
            assert abs(found.middle - true) <= found.error + 3
    assert known.reading().resets == 0


@MOST
@given(st.integers(-10 * SECOND, 10 * SECOND), drifts, st.integers())
def test_later_on_the_worker_is_never_earlier_on_the_driver(offset: int, drift: int, seed: int) -> None:
    clock = SimulatedClock(offset, [drift] * 10)
    first, *rest = trips_of(clock, seed, 10, 10 * SECOND)
    known = WorkerClock(first)
    for trip in rest:
        known.add(trip)
    times = sorted(random.Random(seed).randrange(20 * SECOND) + offset - 5 * SECOND for _ in range(60))
    near = sorted(trip.received + step for trip in rest for step in range(-2, 3))
    for found in (list(map(known.on_driver, times)), list(map(known.on_driver, near))):
        for before, after in pairwise(found):
            assert before.earliest <= after.earliest
            assert before.latest <= after.latest


@MOST
@given(st.integers(-10 * SECOND, 10 * SECOND), drifts, st.integers(0, 2**32))
def test_more_round_trips_never_make_the_error_after_them_larger(offset: int, drift: int, seed: int) -> None:
    clock = SimulatedClock(offset, [drift] * 10)
    first, *rest = trips_of(clock, seed, 12, 10 * SECOND)
    known = WorkerClock(first)
    time = clock.at(20 * SECOND)
    errors = [known.on_driver(time).error]
    for trip in rest:
        known.add(trip)
        errors.append(known.on_driver(time).error)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("drift", [-200, 0, 35])
def test_offset_and_drift_are_found(drift: int) -> None:
    clock = SimulatedClock(-3 * SECOND, [drift] * 60)
    known = None
    for sent in range(0, 60 * SECOND, SECOND):
        trip = RoundTrip(sent, clock.at(sent + 200_000), clock.at(sent + 300_000), sent + 450_000)
        known = known or WorkerClock(trip)
        known.add(trip)
    assert known is not None
    reading = known.reading()
    assert reading.drift_ratio is not None
    assert reading.drift_ratio * 1e6 == pytest.approx(drift, abs=10)
    now = 59 * SECOND + 300_000
    assert abs(reading.offset_nanoseconds - (clock.at(now) - now)) <= reading.error_nanoseconds < 500_000


def test_a_clock_that_was_set_is_learnt_anew() -> None:
    before, after = SimulatedClock(SECOND, [0] * 10), SimulatedClock(4 * SECOND, [0] * 10)
    known = WorkerClock(trips_of(before, 1, 1, SECOND)[0])
    sent = 5 * SECOND
    known.add(RoundTrip(sent, after.at(sent + 1_000), after.at(sent + 2_000), sent + 3_000))
    assert known.reading().resets == 1
    assert abs(known.on_driver(after.at(6 * SECOND)).middle - 6 * SECOND) <= 1_000_000


def test_a_round_trip_that_ends_before_it_begins_is_refused() -> None:
    for trip in (RoundTrip(5, 0, 0, 4), RoundTrip(0, 5, 4, 9)):
        with pytest.raises(ValueError, match="ends before it begins"):
            WorkerClock(RoundTrip(0, 0, 0, 1)).add(trip)


@MOST
@given(st.lists(st.tuples(st.integers(-10 * SECOND, 10 * SECOND), drifts), min_size=1, max_size=3), st.integers())
def test_what_machines_did_is_placed_within_the_error_that_the_record_states(
    shown: list[tuple[int, int]], seed: int
) -> None:
    machines = [SimulatedClock(offset, [drift] * 30) for offset, drift in shown]
    source = random.Random(seed)
    clocks = ClusterClocks()
    now = 0
    truth: dict[str, list[tuple[tuple[int, int], tuple[int, int]]]] = {}
    for _ in range(25):
        number = source.randrange(len(machines))
        sent = now + source.randrange(1_000_000)
        at = sent
        spans = []
        for _ in range(source.choice((1, 1, 3))):
            began = at + source.randrange(source.choice((1_000, 100_000_000)))
            at = began + source.randrange(source.choice((1_000, 500_000_000)))
            spans.append((began, at))
        returned = now = at + source.randrange(source.choice((1_000, 100_000_000)))
        measured = [(machines[number].at(began), machines[number].at(ended)) for began, ended in spans]
        found = clocks.on_driver(f"m{number}", f"w{number}", measured, sent=sent, returned=returned)
        flat = [sent, *(time for span in found for time in span), returned]
        assert flat == sorted(flat)
        truth.setdefault(f"w{number}", []).extend(zip(spans, found, strict=True))
    for worker, reading in clocks.readings().items():
        for (began, ended), (placed_began, placed_ended) in truth[worker]:
            assert abs(placed_began - began) <= reading.error_nanoseconds + 3
            assert abs(placed_ended - ended) <= reading.error_nanoseconds + 3
        in_order = [time for _, span in truth[worker] for time in span]
        assert in_order == sorted(in_order)


def test_threads_of_one_worker_may_overlap() -> None:
    clocks = ClusterClocks()
    for _ in range(2):
        clocks.learn("m", RoundTrip(0, 1_000, 1_001, 1))
    [first] = clocks.on_driver("m", "w", [(1_100, 1_900)], sent=50, returned=1_000)
    [second] = clocks.on_driver("m", "w", [(1_200, 1_950)], sent=60, returned=1_010)
    assert second[0] < first[1]
