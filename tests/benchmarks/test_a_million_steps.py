"""Growth from 10⁴ to 10⁶ steps, against a bare heap loop in the same run, and the memory of a million steps.

Each size runs in a process of its own, so that peak memory is that of the run.
"""

from __future__ import annotations

import json
import subprocess
import sys

from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.measure import PEAK_BYTES, ROWS

PROGRAM = """
import heapq, json, random, sys, time
from tests.benchmarks.graphs import layered
from tests.benchmarks.measure import Runner, workflow_of

def heap_loop(count):
    draw = random.Random(3)
    heap = [(draw.random(), place) for place in range(1000)]
    heapq.heapify(heap)
    began = time.perf_counter()
    kept = []
    for place in range(count):
        now, step = heapq.heappop(heap)
        kept.append((step, now))
        heapq.heappush(heap, (now + draw.random(), place))
    return (time.perf_counter() - began) / count

layers, width = int(sys.argv[1]), int(sys.argv[2])
count = layers * width
bare = min(heap_loop(count) for _ in range(3))
runner = Runner(workflow_of(layered(layers, width)), "virtual", 8, int)
seconds = runner() / count
print(json.dumps({"step": seconds, "bare": bare, "gibibytes": PEAK / 2**30}))
""".replace("PEAK", PEAK_BYTES)


def measured(layers: int, width: int) -> dict[str, float]:
    """Run one size in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(layers), str(width)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_growth_and_memory_of_a_million_steps(benchmark: BenchmarkFixture) -> None:
    small = measured(100, 100)
    large = measured(1000, 1000)
    growth = large["step"] / small["step"]
    bare = large["bare"] / small["bare"]
    benchmark.extra_info.update(small=small, large=large)
    benchmark.pedantic(lambda: None, rounds=1)
    ROWS.append(
        (
            "a step at 10⁶ ÷ at 10⁴ steps, against a bare heap loop's growth",
            f"{large['step'] * 1e6:.1f} ({growth:.2f} ×)",
            f"{large['bare'] * 1e6:.1f} ({bare:.2f} ×)",
            f"{growth / bare:.2f}",
            "",
            "1.3",
        )
    )
    ROWS.append(("peak memory of a million steps, GiB", f"{large['gibibytes']:.2f}", "", "", "", "1.4"))
