"""Where things are in a report: lanes, rows, levels, the graph, ticks."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from executor.record.timeline import Attempt, Wait
from harness.report.html.charts import time_ticks, values
from harness.report.html.gantt import drawn_waits, step_rows, waited_by_reason, worker_lanes
from harness.report.html.palette import HATCHES, KINDS, kind_of
from harness.report.html.plan_section import NODE_HEIGHT, edges_of, layout, levels_of
from harness.result import DocumentError
from tests.unit.reporting import Drawing, fork_join, nested


def test_each_worker_has_a_lane_and_they_count_as_people_do():
    drawing = Drawing()
    for number in (10, 2, 1):
        drawing.step(f"s{number}").run(f"s{number}", 0, 0, 1, worker=f"thread-{number}")
    assert worker_lanes(drawing.timeline()).labels == ("thread-1", "thread-2", "thread-10")


def test_what_one_worker_did_at_once_gets_lanes_of_its_own():
    drawing = Drawing()
    for step, (start, end) in {"a": (0, 4), "b": (1, 2), "c": (2, 3)}.items():
        drawing.step(step).run(step, start, start, end, worker="loop")
    lanes = worker_lanes(drawing.timeline())
    assert lanes.labels == ("loop", "loop (2)")
    assert lanes.lane_of == (0, 1, 1)


def test_no_two_attempts_of_a_lane_overlap():
    dice = random.Random(4)
    drawing = Drawing()
    for number in range(300):
        start = dice.uniform(0, 50)
        drawing.step(f"s{number}").run(f"s{number}", start, start, start + dice.uniform(0, 5), worker=f"w{number % 3}")
    timeline = drawing.timeline()
    lanes = worker_lanes(timeline)
    for lane in range(len(lanes.labels)):
        bars = sorted(
            (one.started, one.ended) for one, its in zip(timeline.attempts, lanes.lane_of, strict=True) if its == lane
        )
        assert all(end <= start for (_, end), (start, _) in pairwise(bars))


def test_rows_are_in_order_of_readiness_with_calls_below_their_caller():
    assert step_rows(nested()) == [(0, 0), (1, 1), (2, 1)]
    drawing = Drawing().step("never", status="skipped").step("late").step("early")
    drawing.run("late", 2, 2, 3).run("early", 0, 0, 1)
    assert step_rows(drawing.timeline()) == [(2, 0), (1, 0), (0, 0)]


def test_a_level_is_the_longest_chain_before_a_step():
    timeline = fork_join()
    assert levels_of(4, edges_of(timeline)) == [0, 1, 1, 2]


def test_an_edge_stands_once_and_data_counts_before_order():
    drawing = Drawing().step("a").step("b", ["a"], ["a"]).step("c", [], ["b"])
    assert edges_of(drawing.timeline()) == [(0, 1, "data"), (1, 2, "order")]


def test_a_cycle_of_edges_is_refused():
    with pytest.raises(DocumentError, match="cycle"):
        levels_of(2, [(0, 1, "data"), (1, 0, "data")])


def test_no_two_steps_of_a_drawing_overlap_and_edges_run_to_the_right():
    dice = random.Random(7)
    edges = [(dice.randrange(step), step, "data") for step in range(1, 120) for _ in range(2)]
    levels = levels_of(120, edges)
    drawing = layout(levels, edges)
    for level in set(levels):
        ys = sorted(place.y for place in drawing.places if place.step >= 0 and place.level == level)
        assert all(upper + NODE_HEIGHT <= lower for upper, lower in pairwise(ys))
    for edge in drawing.edges:
        assert drawing.places[edge.source].x < drawing.places[edge.target].x
    assert all(
        place.y - place.height / 2 >= 0 and place.y + place.height / 2 <= drawing.height for place in drawing.places
    )


def test_an_edge_over_several_levels_bends_through_each():
    drawing = layout([0, 1, 2], [(0, 1, "data"), (1, 2, "data"), (0, 2, "data")])
    bends = drawing.edges[2].places
    assert [drawing.places[bend].level for bend in bends] == [1]
    assert drawing.places[bends[0]].y != drawing.places[1].y


def test_few_waits_are_drawn_as_they_were():
    one = Attempt(0, "a", 1, 0, 10, None, None, [Wait("worker", 0, 4), Wait("resource.x", 4, 10)])
    assert drawn_waits(one, 4) == (one.waits, {})


def test_many_waits_become_few_with_exact_totals():
    waits = [Wait("worker" if number % 10 == 0 else "resource.x", number, number + 1) for number in range(100)]
    drawn, totals = drawn_waits(Attempt(0, "a", 1, 0, 100, None, None, waits), 4)
    assert drawn == [Wait("resource.x", 0, 100)]
    assert totals == {"worker": 10, "resource.x": 90}
    assert waited_by_reason([Attempt(0, "a", 1, 0, 100, None, None, waits)]) == [
        ("resource.x", 1, 90),
        ("worker", 1, 10),
    ]


def test_few_parts_tile_the_wait_without_gaps():
    waits = [Wait("ab"[number // 7 % 2], number, number + 1) for number in range(97)]
    drawn, _ = drawn_waits(Attempt(0, "a", 1, 0, 97, None, None, waits), 10)
    assert (drawn[0].start, drawn[-1].end) == (0, 97)
    assert all(one.end == other.start for one, other in pairwise(drawn))


def test_each_kind_of_wait_has_its_own_pattern_and_letter():
    assert len({kind.hatch for kind in KINDS}) == len(KINDS)
    letters = [kind.letter for kind in KINDS if kind.letter]
    assert len(set(letters)) == len(letters) == len(KINDS) - 1
    assert {kind.hatch for kind in KINDS} <= set(HATCHES)
    assert KINDS[kind_of("lock.a.b")].key == "lock"
    assert KINDS[kind_of("something else")].key == "overhead"


def test_ticks_are_round_and_inside():
    assert values(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert [tick.text for tick in time_ticks(0, 0.01, 5)] == ["0 ms", "2 ms", "4 ms", "6 ms", "8 ms", "10 ms"]
    assert values(3, 3) == [3]
