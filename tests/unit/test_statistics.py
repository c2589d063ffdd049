"""Intervals, verdicts, warnings about noise, tests for change, and the Universal Scalability Law."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from harness.statistics import (
    Drift,
    FewRepetitions,
    Interval,
    Outliers,
    SlowFirst,
    cheapest_of_equals,
    cost_of,
    drift_of,
    enough,
    fit_scalability,
    holm,
    interval,
    noise_warnings,
    paired_change,
    paired_ratio,
    predicted_change,
    ratio_interval,
    unpaired_change,
    verdict,
)

STEADY = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.01, 1.0, 0.99, 1.0]


def noisy(seed, center=1.0, count=10, spread=0.02):
    source = random.Random(seed)
    return [center * math.exp(source.gauss(0, spread)) for _ in range(count)]


def law(workers, contention, coherency):
    return workers / (1 + contention * (workers - 1) + coherency * workers * (workers - 1))


def test_one_sample_has_no_interval():
    assert interval([2.5]) == Interval(2.5, None, None)
    assert interval([2.5]).ci95 is None


def test_samples_that_are_all_the_same_have_an_interval_without_width():
    assert interval([2.5] * 4) == Interval(2.5, 2.5, 2.5)


def test_an_interval_is_the_percentile_bootstrap_of_the_median():
    samples = np.array(noisy(1))
    medians = np.median(np.random.default_rng(7).choice(samples, (20_000, len(samples))), axis=1)
    found = interval(noisy(1))
    assert found.median == pytest.approx(float(np.median(samples)))
    assert found.ci95 == pytest.approx(np.quantile(medians, [0.025, 0.975]), rel=0.005)


@pytest.mark.parametrize("count", [1_000, 1_501])
def test_the_interval_of_many_samples_is_the_bootstrap_percentile_and_not_resampled(count):
    samples = np.array(noisy(3, count=count, spread=0.8))
    medians = np.median(np.random.default_rng(7).choice(samples, (4_000, count)), axis=1)
    found = interval(list(samples))
    width = found.high - found.low
    assert found.low < found.median < found.high
    assert [found.low, found.high] == pytest.approx(list(np.percentile(medians, [2.5, 97.5])), abs=0.1 * width)
    assert interval(sorted(samples)) == found


def test_the_interval_of_many_samples_most_of_which_are_equal_has_no_width():
    assert interval([1.0] * 1_000 + [2.0] * 10) == Interval(1.0, 1.0, 1.0)


def test_the_same_samples_and_seed_give_the_same_interval():
    assert interval(noisy(1)) == interval(noisy(1))


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf]])
def test_samples_that_are_no_samples_are_refused(samples):
    with pytest.raises(ValueError, match=r"sample"):
        interval(samples)


def test_a_ratio_needs_positive_samples():
    with pytest.raises(ValueError, match="greater than 0"):
        ratio_interval([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="greater than 0"):
        paired_ratio([1.0], [0.0])


def test_a_ratio_with_one_sample_on_a_side_has_no_interval():
    assert ratio_interval([2.0, 2.2, 2.4], [1.1]) == Interval(2.0)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Interval(1.3, 1.1, 1.5), "faster"),
        (Interval(0.8, 0.7, 0.9), "slower"),
        (Interval(1.3, 0.9, 1.5), "undecided"),
        (Interval(1.3, 1.0, 1.5), "undecided"),
        (Interval(9.0), "undecided"),
    ],
)
def test_no_verdict_where_the_interval_spans_one_or_is_missing(found, said):
    assert verdict(found) == said


def test_a_speedup_is_paired_repetition_by_repetition():
    # The machine was twice as slow in the second half; in each pair the ratio is 2 all the same.
    serial, parallel = [2.0, 2.0, 4.0, 4.0], [1.0, 1.0, 2.0, 2.0]
    found = paired_ratio(serial, parallel)
    assert found.ratios == (2.0, 2.0, 2.0, 2.0)
    assert found.interval == Interval(2.0, 2.0, 2.0)
    assert found.verdict == "faster"


def test_pairs_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="2 numerators for 1 denominators"):
        paired_ratio([1.0, 2.0], [1.0])


def test_repeating_may_stop_when_the_interval_is_narrow_enough():
    assert enough(Interval(2.0, 1.95, 2.05), 0.05)
    assert not enough(Interval(2.0, 1.9, 2.05), 0.05)
    assert not enough(Interval(2.0), 0.05)


def test_steady_samples_give_no_warning():
    assert noise_warnings(STEADY) == ()


def test_a_far_repetition_is_an_outlier_and_is_named():
    (found,) = noise_warnings([*STEADY[:6], 3.0, *STEADY[7:]])
    assert found == Outliers((7,), 3.0)
    assert "repetition 7" in str(found)
    assert "close other programs" in str(found)


def test_a_far_repetition_in_which_more_attempts_failed_is_not_laid_at_the_door_of_the_machine():
    samples = [3.0, *STEADY[1:5], 2.0, *STEADY[6:]]
    failed = [2, 0, 0, 1, *[0] * (len(samples) - 4)]
    first, second = noise_warnings(samples, failed)
    assert (first.repetitions, first.retried, second.repetitions, second.retried) == ((1,), True, (6,), False)
    assert "attempts failed in it and were tried again" in str(first)
    assert "close other programs" in str(second)


def test_a_slow_first_repetition_asks_for_warm_up():
    (found,) = noise_warnings([3.0, *STEADY[1:]])
    assert isinstance(found, SlowFirst)
    assert "warm-up" in str(found)


def test_an_outlier_among_equal_samples_is_found():
    assert noise_warnings([1.0] * 9 + [2.0]) == (Outliers((10,), 2.0),)


def test_a_deviation_too_small_to_matter_is_no_outlier():
    assert noise_warnings([1.0] * 9 + [1.01]) == ()


def test_a_repetition_that_was_faster_is_no_outlier():
    assert noise_warnings([*STEADY[:6], 0.93, *STEADY[7:]]) == ()
    assert noise_warnings([*STEADY[:6], 0.5, *STEADY[7:]]) == ()


@pytest.mark.parametrize("count", [5, 6, 10, 20])
@pytest.mark.parametrize("spread", [0.02, 0.05, 0.1])
def test_bell_shaped_noise_alarms_in_at_most_3_of_100(count, spread):
    warned = [noise_warnings(noisy(seed, count=count, spread=spread)) for seed in range(400)]
    assert sum(any(isinstance(one, Outliers | SlowFirst) for one in found) for found in warned) <= 12
    assert sum(any(isinstance(one, Drift) for one in found) for found in warned) <= 12


def test_a_planted_outlier_is_found_in_19_of_20_ordinary_series():
    found = 0
    for seed in range(20):
        samples = noisy(seed, spread=0.03)
        samples[6] *= 1.6
        found += any(isinstance(one, Outliers) and 7 in one.repetitions for one in noise_warnings(samples))
    assert found >= 19


@pytest.mark.parametrize(
    ("candidates", "place"),
    [
        ([(1.0, (0.98, 1.02), (8, 0.0)), (1.01, (0.99, 1.03), (4, 0.0))], 1),
        ([(1.0, (0.98, 1.02), (8, 0.0)), (1.3, (1.28, 1.32), (4, 0.0))], 0),
        ([(1.0, (0.98, 1.02), (8, 0.0)), (1.1, (0.99, 1.2), (4, 0.0))], 1),
        ([(1.0, (0.98, 1.02), (4, 0.0)), (1.01, (0.99, 1.03), (4, 0.0))], 0),
        ([(2.0, None, (1, 0.0)), (1.0, None, (2, 0.0))], 1),
        ([(1.0, (0.98, 1.02), (4, 2.5)), (1.01, (0.99, 1.03), (4, 0.0))], 1),
        ([(1.0, (0.98, 1.02), (4, 2.5)), (1.01, (0.99, 1.03), (8, 0.0))], 0),
    ],
)
def test_of_those_as_fast_as_the_fastest_the_cheapest_is_chosen(candidates, place):
    assert cheapest_of_equals(candidates) == place


def test_a_start_counts_where_it_takes_longer_than_the_run():
    assert cost_of(4, 0.4, 0.5) == (4, 0.0)
    assert cost_of(4, 2.5, 0.5) == (4, 2.5)


def test_samples_that_grow_with_time_drift():
    (found,) = noise_warnings([1 + 0.02 * number for number in range(10)])
    assert isinstance(found, Drift)
    assert found.change_ratio == pytest.approx(0.18 / 1.09)
    assert "longer" in str(found)
    shorter = drift_of([2 - 0.02 * number for number in range(10)])
    assert shorter is not None
    assert "warm-up" in str(shorter)


def test_drift_is_found_in_long_series_as_well():
    source = random.Random(3)
    samples = [1 + 0.0002 * number + source.gauss(0, 0.05) for number in range(2000)]
    found = drift_of(samples)
    assert found is not None
    assert found.change_ratio == pytest.approx(0.4 / 1.2, rel=0.15)


def test_drift_too_small_to_matter_is_none():
    assert drift_of([1 + 0.0001 * number for number in range(10)]) is None


@pytest.mark.parametrize(("count", "coverage"), [(1, 0.0), (2, 0.5), (3, 0.75), (5, 0.9375)])
def test_too_few_repetitions_say_what_their_interval_is_worth(count, coverage):
    (found,) = noise_warnings([1.0] * count)
    assert found == FewRepetitions(count, coverage)
    assert "at least 6 repetitions" in str(found)


def test_an_unpaired_change_agrees_with_scipy():
    before, after = noisy(1), noisy(2, 1.3)
    found = unpaired_change(before, after)
    assert found.p_value == pytest.approx(float(stats.mannwhitneyu(after, before).pvalue))
    assert found.ratio.median == pytest.approx(float(np.median(after) / np.median(before)))
    assert found.ratio.low is not None
    assert 1.2 < found.ratio.low < found.ratio.median
    assert found.superiority_ratio == 1.0
    assert not found.spans_one


def test_superiority_counts_ties_half():
    assert unpaired_change([1.0, 2.0], [1.0, 3.0]).superiority_ratio == (0.5 + 0 + 1 + 1) / 4


def test_a_paired_change_sees_what_an_unpaired_one_cannot():
    source = random.Random(5)
    before = [math.exp(source.gauss(0, 0.5)) for _ in range(12)]
    after = [value * 1.05 * math.exp(source.gauss(0, 0.005)) for value in before]
    paired, unpaired = paired_change(before, after), unpaired_change(before, after)
    assert paired.p_value is not None
    assert paired.p_value < 0.01
    assert not paired.spans_one
    assert unpaired.p_value is not None
    assert unpaired.p_value > 0.05
    assert unpaired.spans_one


def test_identical_pairs_are_no_change():
    found = paired_change(STEADY, STEADY)
    assert found.p_value == 1.0
    assert found.spans_one


def test_one_repetition_tests_nothing():
    assert unpaired_change([1.0], [2.0, 2.0]).p_value is None
    assert paired_change([1.0], [2.0]).p_value is None
    assert paired_change([1.0], [2.0]).spans_one


def test_a_prediction_is_as_wide_as_earlier_runs_lie_apart():
    runs = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.08]
    found = predicted_change(runs, [1.15] * 10)
    logs = [math.log(run) for run in runs]
    reach = stats.t.ppf(0.975, 6) * np.std(logs, ddof=1) * math.sqrt(1 + math.pi / 2 / 7)
    assert found.ratio.low == pytest.approx(1.15 * math.exp(-reach))
    assert found.spans_one
    assert not predicted_change(runs, [1.5] * 10).spans_one


def test_a_prediction_from_two_runs_is_refused():
    with pytest.raises(ValueError, match="three"):
        predicted_change([1.0, 1.1], [1.0])


def test_runs_that_were_always_the_same_make_any_change_real():
    found = predicted_change([1.0] * 5, [1.2] * 5)
    assert found.p_value == 0.0
    assert found.ratio.ci95 == pytest.approx((1.2, 1.2))
    assert predicted_change([1.0] * 5, [1.0] * 5).p_value == 1.0


def test_holm_corrects_as_its_paper_does():
    # 0.01 × 4, 0.02 × 3, 0.03 × 2, 0.04 × 1, each at least the one before.
    assert holm([0.03, 0.01, None, 0.04, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_law_is_found_again_in_speedups_that_follow_it():
    counts = [1, 2, 4, 8, 16, 32]
    found = fit_scalability(counts, [law(count, 0.05, 0.004) for count in counts])
    assert found is not None
    assert found.contention == pytest.approx(0.05, rel=1e-3)
    assert found.coherency == pytest.approx(0.004, rel=1e-3)
    assert found.most_useful_workers == 15  # √(0.95 / 0.004) = 15.4
    assert found.fit_ratio == pytest.approx(1)
    assert found.is_good
    assert "more than 15 workers do not help" in str(found)


def test_fewer_than_six_worker_counts_are_not_fitted():
    assert fit_scalability([1, 2, 4, 8, 16], [1, 2, 3, 4, 5]) is None
    assert fit_scalability([1, 2, 4, 8, 16, 16], [1, 2, 3, 4, 5, 5]) is None


def test_perfect_scaling_has_no_number_of_workers_where_more_stop_helping():
    counts = [1, 2, 4, 8, 16, 32]
    found = fit_scalability(counts, counts)
    assert found is not None
    assert found.most_useful_workers is None
    assert "keep helping" in str(found)


def test_work_that_never_scales_wants_one_worker():
    found = fit_scalability([1, 2, 4, 8, 16, 32], [1.0] * 6)
    assert found is not None
    assert found.most_useful_workers == 1
    assert "more than 1 worker do" in str(found)


def test_a_bad_fit_says_so_and_claims_nothing():
    found = fit_scalability([1, 2, 4, 8, 16, 32], [1.0, 9.0, 0.5, 7.0, 0.3, 8.0])
    assert found is not None
    assert not found.is_good
    assert "does not fit" in str(found)


def test_a_peak_beyond_what_was_measured_is_called_a_guess():
    counts = [1, 2, 3, 4, 6, 8]
    found = fit_scalability(counts, [law(count, 0.02, 0.001) for count in counts])
    assert found is not None
    assert found.most_useful_workers == 31
    assert "a guess: 8 were measured" in str(found)


def test_importing_the_rooms_does_not_import_scipy():
    names = (
        "harness.statistics, harness.expectations, harness.compare, harness.store.run_store, harness.store.recording"
    )
    script = f"import sys, {names}; print('scipy' in sys.modules, 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "False"]


def test_two_runs_are_taken_to_differ_by_half_of_what_their_repetitions_do():
    before, after = noisy(1, spread=0.1), noisy(2, 1.3, spread=0.1)
    bootstrap, found = ratio_interval(after, before), unpaired_change(before, after).ratio
    spreads = [np.diff(np.quantile(np.log(side), [0.25, 0.75]))[0] / 1.34898 for side in (before, after)]
    reach = 1.959964 * 0.5 * math.hypot(*spreads)
    assert found.low is not None
    assert bootstrap.low is not None
    assert math.log(found.median / found.low) == pytest.approx(
        math.hypot(math.log(bootstrap.median / bootstrap.low), reach)
    )
