"""Comparing a thing with itself: at most 5 false alarms in 100, however the noise looks."""

from __future__ import annotations

import math
import random

import pytest

from harness.compare import against, compare, fail_if
from tests.unit.run_documents import document, result

COMPARISONS = 100
CELLS = 2
REPETITIONS = 10
LIMIT = fail_if("makespan +5%")


def bell(source):
    """As a quiet machine."""
    return math.exp(source.gauss(0, 0.03))


def skewed(source):
    """As a machine that others use: most repetitions are about the same, some take much longer."""
    return 1 + source.expovariate(20) + (source.expovariate(2) if source.random() < 0.1 else 0)


def two_humps(source):
    """As a machine with two frequencies."""
    return (1.0 if source.random() < 0.6 else 1.08) * math.exp(source.gauss(0, 0.01))


def run(template, noise, source, number):
    cells = []
    for workers in range(1, CELLS + 1):
        samples = []
        for _ in range(REPETITIONS):
            seconds = noise(source)
            samples.append({**template["samples"][0], "makespan_seconds": seconds, "lower_bound_seconds": seconds})
        cells.append({**template, "workers": workers, "samples": samples})
    return document(
        *cells, run_id=f"run-{number}", started_at=f"2026-01-01T{number // 60:02}:{number % 60:02}:00+00:00"
    )


@pytest.mark.parametrize(
    "noise", [bell, pytest.param(skewed, marks=pytest.mark.slow), pytest.param(two_humps, marks=pytest.mark.slow)]
)
def test_a_thing_compared_with_itself_alarms_in_at_most_5_of_100(noise):
    template, source = result([1.0]), random.Random(20)
    called_real = failed = 0
    for number in range(COMPARISONS):
        found = compare(run(template, noise, source, 2 * number), run(template, noise, source, 2 * number + 1))
        called_real += any(one.verdict != "undecided" for one in found.cells)
        failed += not LIMIT.judge(found).met
    assert called_real <= 5
    assert failed <= 5


def test_a_night_like_all_others_alarms_in_at_most_5_of_100():
    template, source = result([1.0]), random.Random(21)
    called_real = failed = 0
    for number in range(COMPARISONS):
        nights = []
        for night in range(15):
            # Each night the machine is in another mood, which its repetitions share.
            mood = math.exp(source.gauss(0, 0.04))
            nights.append(run(template, lambda source, mood=mood: mood * bell(source), source, 20 * number + night))
        found = against("median(14)", nights[-1], nights[:-1])
        called_real += any(one.verdict != "undecided" for one in found.cells)
        failed += not LIMIT.judge(found).met
    assert called_real <= 5
    assert failed <= 5


def test_a_change_that_is_there_is_found():
    template, source = result([1.0]), random.Random(22)
    missed = 0
    for number in range(20):
        before = run(template, bell, source, 2 * number)
        after = run(template, lambda source: 1.3 * bell(source), source, 2 * number + 1)
        missed += LIMIT.judge(compare(before, after)).met
    assert missed == 0
