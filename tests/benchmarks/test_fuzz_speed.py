"""How many random workflows of 50 steps are drawn, simulated and judged in a second on one core.

As `makespan fuzz` does it: one after the other, and none is kept.
"""

from __future__ import annotations

import time

from pytest_benchmark.fixture import BenchmarkFixture

from executor.garbage_collection import rare_collections
from harness.testing.drawing.generator import RandomSource, draw_run
from harness.testing.fuzz.faults import NO_FAULTS
from harness.testing.fuzz.faulty_run_judging import judge_played
from harness.testing.fuzz.faulty_simulation import play
from harness.testing.fuzz.fuzzing import quiet_instruments
from tests.benchmarks.measure import ROWS

DAGS = 400
STEPS = 50
LEAST_A_SECOND = 200
ORACLE_AT_MOST = 5.0


def test_workflows_drawn_simulated_and_judged_in_a_second(benchmark: BenchmarkFixture) -> None:
    drawing = playing = judging = 0.0
    with quiet_instruments(), rare_collections():
        for number in range(DAGS):
            began = time.process_time()
            run = draw_run(RandomSource(number), min_steps=STEPS, max_steps=STEPS)
            drawn = time.process_time()
            played = play(run, NO_FAULTS)
            ended = time.process_time()
            findings = judge_played(played)
            judged = time.process_time()
            assert not findings
            drawing += drawn - began
            playing += ended - drawn
            judging += judged - ended
    rate = DAGS / (drawing + playing + judging)
    benchmark.extra_info.update(rate=rate, drawing=drawing, playing=playing, judging=judging)
    what = "workflows of 50 steps a second and core: drawn, simulated, judged"
    ratio = (drawing + playing + judging) / drawing
    alone = f"{DAGS / drawing:.0f} (drawn alone)"
    ROWS.append((what, f"{rate:.0f}", alone, f"{ratio:.2f}", "", f"at least {LEAST_A_SECOND}"))
    what = "the oracle ÷ the simulated run, a workflow"
    each = [f"{seconds / DAGS * 1e6:.0f}" for seconds in (judging, playing)]
    ROWS.append((what, *each, f"{judging / playing:.2f}", "", str(ORACLE_AT_MOST)))
    benchmark.pedantic(lambda: play(run, NO_FAULTS), rounds=1)
