"""Comparisons: what is real, whose it is, what is refused, and how it is shown."""

from __future__ import annotations

import json
import math
import random

import pytest

from harness.compare import (
    CompareError,
    ThresholdError,
    against,
    compare,
    comparison_document,
    fail_if,
    markdown,
    parse_against,
    text,
)
from harness.statistics import Drift
from tests.unit.run_documents import document, result


def times(seed, center=1.0, count=10, spread=0.01):
    source = random.Random(seed)
    return [center * math.exp(source.gauss(0, spread)) for _ in range(count)]


def changed(before, after, **more):
    (one,) = compare(document(before, run_id="a"), document(after, run_id="b"), **more).cells
    return one


def test_a_step_made_slower_is_real_and_put_down_to_the_work():
    one = changed(result(times(1)), result(times(2, 1.3)))
    assert one.verdict == "slower"
    assert one.put_down_to == "the work's"
    assert one.change is not None
    assert one.change.ratio.low is not None
    assert 1.25 < one.change.ratio.low < one.change.ratio.median < 1.35
    assert one.work_seconds == pytest.approx(one.seconds)
    assert one.ours_seconds == pytest.approx(0)
    assert [step.step_id for step in one.steps] == ["fetch"]
    assert one.steps[0].seconds == pytest.approx(one.seconds, rel=0.2)
    assert next(iter(one.lost_seconds)) == "running"


def test_overhead_that_grew_is_put_down_to_us():
    one = changed(result(times(1)), result(times(2), overheads=times(3, 0.4)))
    assert one.verdict == "slower"
    assert one.put_down_to == "ours"
    assert next(iter(one.lost_seconds)) == "overhead"
    assert one.steps == ()


def test_a_change_of_both_is_put_down_to_both():
    one = changed(result(times(1)), result(times(2, 1.2), overheads=times(3, 0.2)))
    assert one.put_down_to == "both"


def test_a_step_made_faster_is_faster():
    one = changed(result(times(1)), result(times(2, 0.7)))
    assert one.verdict == "faster"
    assert one.put_down_to == "the work's"


def test_noise_is_undecided_and_says_why():
    one = changed(result(times(1)), result(times(2)))
    assert one.verdict == "undecided"
    assert one.put_down_to is None
    assert one.reason


def test_three_repetitions_cannot_make_a_change_real():
    one = changed(result(times(1, count=3)), result(times(2, 1.5, count=3)))
    assert one.verdict == "undecided"
    assert "more repetitions" in one.reason


def test_one_repetition_says_nothing_about_noise():
    one = changed(result([1.0]), result([2.0]))
    assert one.verdict == "undecided"
    assert "noise" in one.reason


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(1, 1, "one repetition says"), (1, 9, "one repetition before says"), (9, 1, "one repetition after says")],
)
def test_that_one_repetition_says_nothing_stands_in_a_comparison_once(before, after, said):
    old, new = result(times(1, count=before)), result(times(2, count=after))
    comparison = compare(document(old, run_id="before"), document(new, run_id="after"))
    for shown in (text(comparison), markdown(comparison)):
        assert shown.count("says nothing about noise") == 1
        assert f"undecided: {said} nothing about noise: use at least 6 repetitions" in shown


def test_runs_without_length_have_no_ratio_and_do_not_fail():
    one = changed(result([0.0, 0.0]), result([0.0, 0.0]))
    assert one.change is None
    assert one.verdict == "undecided"


def test_a_change_smaller_than_the_drift_inside_of_a_run_is_not_believed():
    drifting = [1 + 0.01 * number for number in range(10)]
    one = changed(result([0.99 + value / 1000 for value in range(10)]), result(drifting))
    assert one.verdict == "undecided"
    assert "drifted" in one.reason
    assert [(name, type(warning)) for name, warning in one.warnings] == [("after", Drift)]


def test_many_cells_have_to_be_surer():
    # Alone, this cell would be real; among twelve of noise it is not.
    weak = (result([1.0, 1.01, 1.02, 1.03, 1.04, 1.05]), result([1.035, 1.045, 1.055, 1.06, 1.065, 1.07]))
    alone = changed(*weak)
    assert alone.p_value is not None
    assert alone.p_value < 0.05
    noise = [result(times(number, count=6), workers=number + 5) for number in range(12)]
    again = [result(times(number + 50, count=6), workers=number + 5) for number in range(12)]
    found = compare(document(weak[0], *noise), document(weak[1], *again))
    (same,) = (one for one in found.cells if one.cell.workers == 4)
    assert same.p_value is not None
    assert same.p_value > alone.p_value
    assert same.verdict == "undecided"


def test_cells_stand_in_order_of_what_matters():
    before = [result(times(place, size), workers=place + 1) for place, size in enumerate((1.0, 10.0, 1.0, 1.0))]
    after = [
        result(times(place + 9, size), workers=place + 1) for place, size in enumerate((1.3, 13.0, 0.5, 1.0))
    ]  # fmt: skip
    found = compare(document(*before), document(*after))
    assert [one.cell.workers for one in found.cells] == [2, 3, 1, 4]


def test_pairs_see_a_change_that_is_smaller_than_the_spread():
    spread = times(1, spread=0.3)
    after = [value * 1.05 for value in spread]
    assert changed(result(spread), result(after)).verdict == "undecided"
    assert changed(result(spread), result(after), paired=True).verdict == "slower"


def test_cells_that_only_one_run_has_are_named():
    found = compare(
        document(result([1.0]), result([1.0], workers=2)), document(result([1.0]), result([1.0], workers=8))
    )  # fmt: skip
    assert [cell.workers for cell in found.only_before] == [2]
    assert [cell.workers for cell in found.only_after] == [8]
    assert "only after: jokes threads@8/dataflow" in text(found)


def test_parameters_make_another_cell():
    with pytest.raises(CompareError, match="no cell in common"):
        compare(document(result([1.0], parameters={"n": 1})), document(result([1.0], parameters={"n": 2})))


def test_different_scenarios_are_compared_only_by_force():
    one, other = document(result([1.0])), document(result([1.0]), scenario="headlines")
    with pytest.raises(CompareError, match=r"different scenarios: 'jokes' against 'headlines'.*--force"):
        compare(one, other)
    found = compare(one, other, force=True)
    assert len(found.cells) == 1
    assert "forced: the runs are of different scenarios" in text(found)


def test_different_machines_are_compared_only_by_force():
    one, other = document(result([1.0])), document(result([1.0]), environment={"usable_cores": 2})
    with pytest.raises(CompareError, match=r"different machines .usable cores: 4 against 2"):
        compare(one, other)
    assert compare(one, other, force=True).forced


def test_another_machine_of_the_same_class_is_a_note():
    found = compare(document(result([1.0])), document(result([1.0]), environment={"machine": "other"}))
    assert found.notes == ("machine: builder before, other after",)


def test_a_result_may_name_its_own_scenario():
    both = [result(times(1)), {**result(times(2)), "scenario": "headlines"}]
    found = compare(document(*both), document(*both))
    assert {one.cell.scenario for one in found.cells} == {"jokes", "headlines"}
    assert "headlines threads@4/dataflow" in text(found)


@pytest.mark.parametrize(
    ("words", "metric", "ratio"),
    [
        ("makespan +5%", "makespan", 0.05),
        ("makespan+5%", "makespan", 0.05),
        (" makespan_seconds + 2.5 % ", "makespan", 0.025),
        ("speedup_ratio -10%", "speedup", -0.1),
        ("work −1%", "work", -0.01),
        ("lower_bound +0%", "lower_bound", 0.0),
    ],
)
def test_a_limit_is_read(words, metric, ratio):
    limit = fail_if(words)
    assert limit.metric == metric
    assert limit.change_ratio == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "is no limit"),
        ("+5%", "is no limit"),
        ("makespan 5%", "a sign is missing"),
        ("makespan +5", "the % is missing"),
        ("makespan +many%", "'many' is no number"),
        ("makespan +%", "'' is no number"),
        ("makspan +5%", "did you mean 'makespan'"),
        ("speedup -100%", "nothing falls by"),
        ("makespan +5% today", "is no limit"),
    ],
)
def test_a_limit_that_does_not_parse_says_how_it_is_written(words, message):
    with pytest.raises(ThresholdError, match=message):
        fail_if(words)


def test_a_cell_fails_only_where_the_whole_interval_is_beyond_the_limit():
    found = compare(document(result(times(1))), document(result(times(2, 1.3))))
    assert not fail_if("makespan +5%").judge(found).met
    assert not fail_if("makespan +25%").judge(found).met
    assert fail_if("makespan +30%").judge(found).met
    assert fail_if("makespan +35%").judge(found).met
    failed = fail_if("makespan +5%").judge(found)
    assert "threads@4/dataflow: makespan +29.2%, interval" in str(failed)


def test_a_rerun_of_the_same_thing_does_not_fail():
    found = compare(document(result(times(1))), document(result(times(2))))
    judged = fail_if("makespan +5%").judge(found)
    assert judged.met
    assert str(judged) == "no cell is beyond makespan +5%"


def test_a_falling_limit_is_judged_from_above():
    before, after = result(times(1), baselines=[2.0] * 10), result(times(2, 1.3), baselines=[2.0] * 10)
    found = compare(document(before), document(after))
    assert not fail_if("speedup -5%").judge(found).met
    assert fail_if("speedup -40%").judge(found).met
    assert fail_if("speedup +5%").judge(found).met


def test_a_cell_without_interval_is_not_judged_and_is_named():
    found = compare(document(result([1.0])), document(result([2.0])))
    judged = fail_if("makespan +5%").judge(found)
    assert judged.met
    assert "not judged" in str(judged)
    assert len(fail_if("speedup -5%").judge(found).unjudged) == 1


def history(count, center=1.0, spread=0.03, **more):
    source = random.Random(4)
    return [
        document(
            result(times(100 + number, center * math.exp(source.gauss(0, spread)))),
            run_id=f"night-{number}", started_at=f"2026-01-{number + 1:02}T00:00:00+00:00", **more,
        )
        for number in range(count)
    ]  # fmt: skip


def tonight(center):
    return document(result(times(9, center)), run_id="tonight", started_at="2026-03-01T00:00:00+00:00")


def test_a_run_as_far_off_as_earlier_ones_were_is_undecided_against_them():
    found = against("median(14)", tonight(1.03), history(14))
    assert found.cells[0].verdict == "undecided"
    assert fail_if("makespan +5%").judge(found).met
    assert found.before.label == "median of 12 accepted runs"
    assert compare(history(14)[0], tonight(1.3)).cells[0].verdict != "undecided"


def test_a_run_farther_off_than_earlier_ones_fails_against_them():
    found = against("median(14)", tonight(1.3), history(14))
    assert found.cells[0].verdict == "slower"
    assert not fail_if("makespan +5%").judge(found).met


def test_too_few_accepted_runs_are_no_fault():
    found = against("median(14)", tonight(1.3), history(8))
    assert found.cells == ()
    assert fail_if("makespan +5%").judge(found).met
    assert "not enough history: 8 accepted runs, 9 are needed" in text(found)
    assert against("median(14)", tonight(1.3), history(9)).cells
    assert "not enough history: 0" in text(against("median(14)", tonight(1.3), []))


def test_a_lasting_regression_does_not_become_its_own_baseline_at_once():
    lasting = history(12) + [
        document(result(times(number, 1.3)), run_id=f"late-{number}", started_at=f"2026-02-0{number}T00:00:00+00:00")
        for number in (1, 2)
    ]
    found = against("median(14)", tonight(1.3), lasting)
    assert found.cells[0].change is not None
    assert found.cells[0].change.ratio.median == pytest.approx(1.3, rel=0.05)
    assert found.cells[0].verdict == "slower"


def test_runs_of_another_class_of_machine_and_the_run_itself_do_not_count():
    foreign = history(14, environment={"cores": 64})
    found = against("median(3)", tonight(1.0), [*foreign, tonight(1.0)])
    assert found.cells == ()
    assert "14 of 14 accepted runs are from another class of machine" in found.notes


@pytest.mark.parametrize("words", ["median", "median()", "median(2)", "mean(14)", "median(14, lag)", "14"])
def test_a_baseline_that_does_not_parse_says_how_it_is_written(words):
    with pytest.raises(ThresholdError, match=r"median.14."):
        parse_against(words)


def test_the_lag_may_be_given():
    assert (parse_against("median(14)").lag, parse_against("median( 14 , lag = 0 )").lag) == (2, 0)
    assert parse_against("median(14)").wanted == 16


def test_text_tells_the_change_and_where_it_comes_from():
    shown = text(compare(document(result(times(1))), document(result(times(2, 1.3)))))
    assert "threads@4/dataflow" in shown
    assert "the steps" in shown
    assert "steps: fetch +" in shown
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_markdown_keeps_names_as_text():
    name = "a|b<script>`x`\n# y"
    shown = markdown(compare(document(result([1.0]), scenario=name), document(result([2.0]), scenario=name)))
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(table) == 3
    both = [result([1.0]), {**result([1.0]), "scenario": name}]
    shown = markdown(compare(document(*both), document(*both)))
    assert r"a\|b\<script\>\`x\` \# y" in shown


def test_the_comparison_as_json_is_plain_and_finite():
    found = comparison_document(compare(document(result(times(1))), document(result([1.0]))))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    (cell,) = found["cells"]
    assert cell["executor"] == "threads"
    assert cell["ratio"]["ci95"] is None
    assert found["schema"] == "makespan.compare/1"


def test_less_than_one_per_cent_is_not_believed():
    one = changed(result([1.0] * 9 + [1.0001]), result([1.008] * 9 + [1.0081]))
    assert one.verdict == "undecided"
    assert "smaller than 1%" in one.reason
