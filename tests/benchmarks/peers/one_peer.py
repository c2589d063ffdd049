"""Measures one peer in this process, and writes what it found as JSON: ``python -m … NAME FILE quick|whole``.

Rules of this module:
- Graphs grow until one takes some seconds. A step costs the difference to the smallest graph ÷ that of their steps, so
  that what a run costs beside its steps is not in it; that is a figure of its own. Of some runs the quickest counts.
- What does not fit in its time is left out, and the table shows a dash.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.adapters import adapter

WORKERS = 4
SIZES = (8, 40, 200, 1000)
LONGEST_SECONDS = 1.5
MOST_RUNS = 5
# A graph of sleeping steps, and each run of METG, of a peer that is so slow would take too long.
SLOW_STEP_SECONDS = 0.2
EFFICIENCY = 0.5


def graphs_of(size: int) -> dict[str, Any]:
    """The graphs of no-op steps: about as many steps each, a chain has a fifth."""
    from tests.benchmarks import graphs

    width = max(2, min(50, math.isqrt(size)))
    return {
        "wide": graphs.wide(size),
        "layered": graphs.layered(size // width, width, parents_each=2),
        "chain": graphs.chain(max(4, size // 5)),
    }


class Measuring:
    """One peer that is ready."""

    def __init__(self, prepare: Any, quick: bool) -> None:
        self.prepare = prepare
        self.quick = quick

    def timed(self, work: Any) -> tuple[float, float]:
        """Wall and CPU seconds of one run, without what the runner did aside."""
        from tests.benchmarks.peers.process_tree import cpu_seconds_below

        run = self.prepare(work)
        aside_wall = aside_cpu = 0.0

        def aside(do: Callable[[], None]) -> None:
            nonlocal aside_wall, aside_cpu
            # To look at the processes takes time, too, which is not the peer's.
            began, own = time.perf_counter(), time.process_time()
            below = cpu_seconds_below()
            do()
            aside_cpu += cpu_seconds_below() - below + time.process_time() - own
            aside_wall += time.perf_counter() - began

        below = cpu_seconds_below()
        own, began = time.process_time(), time.perf_counter()
        outputs = run(aside)
        wall, used = time.perf_counter() - began, time.process_time() - own
        used += cpu_seconds_below() - below
        if outputs != list(range(len(work.parents))):
            raise AssertionError("the outputs are not those of the steps")
        return wall - aside_wall, used - aside_cpu

    def costs(self) -> Iterator[dict[str, Any]]:
        """For each graph what one more step costs, and what a run costs beside its steps, in seconds."""
        from tests.benchmarks.peers.work import Work, nothing

        size = self.largest_size()
        smallest, largest = graphs_of(SIZES[0]), graphs_of(size)
        for graph in smallest:
            walls, cpus, steps = [], [], []
            for parents in (smallest[graph], largest[graph])[size == SIZES[0] :]:
                # What a run costs beside its steps may vary by more than the steps take.
                runs = self.repeated(Work(parents, nothing, (0.0,) * len(parents)), 1 if self.quick else 3)
                walls.append(min(wall for wall, _ in runs))
                # Of other processes it comes in ticks of 10 ms: short runs are added up. A run that took much longer
                # than another did something else besides.
                cpus.append(statistics.mean(cpu for wall, cpu in runs if wall <= 1.5 * walls[-1]))
                steps.append(len(parents))
            # Of one that is very slow there is but one size, and what a run costs is in its steps.
            beside = (walls[0], steps[0], cpus[0]) if len(walls) > 1 else (0.0, 0, 0.0)
            if walls[-1] <= beside[0] or cpus[-1] <= beside[2]:
                # On a busy machine the few steps of the smallest graph may take longer.
                beside = (0.0, 0, 0.0)
            seconds = (walls[-1] - beside[0]) / (steps[-1] - beside[1])
            yield {
                "graph": graph,
                "steps": steps[-1],
                "seconds": seconds,
                "cpu_seconds": (cpus[-1] - beside[2]) / (steps[-1] - beside[1]),
                "run_seconds": max(0.0, walls[0] - steps[0] * seconds),
            }

    def largest_size(self) -> int:
        """Of the graphs that end in time; the second one at least, where the first is no matter of many seconds."""
        from tests.benchmarks.peers.work import Work, nothing

        longest = LONGEST_SECONDS / 4 if self.quick else LONGEST_SECONDS
        before = (0, 0.0)
        for size, larger in itertools.pairwise(SIZES):
            parents = graphs_of(size)["layered"]
            # The first run of all brings up what comes up late.
            self.timed(Work(parents, nothing, (0.0,) * len(parents)))
            wall, _ = self.timed(Work(parents, nothing, (0.0,) * len(parents)))
            # What a run costs beside its steps does not grow with them.
            a_step = max(0.0, wall - before[1]) / (size - before[0])
            if a_step * larger > (3 * LONGEST_SECONDS if size == SIZES[0] else longest) * 5:
                return size
            before = (size, wall)
        return SIZES[-1]

    def repeated(self, work: Any, at_least: int = 1) -> list[tuple[float, float]]:
        """Some runs, fewer where they are long."""
        began = time.perf_counter()
        runs = [self.timed(work)]
        while len(runs) < at_least or (len(runs) < MOST_RUNS and time.perf_counter() - began < LONGEST_SECONDS / 2):
            runs.append(self.timed(work))
        return runs

    def metg_seconds(self, step_seconds: float) -> float | None:
        """The duration of steps at which half of the time is work: a stencil as wide as there are workers."""
        from harness.workloads.granularity import Measured, crossing, interpolated
        from tests.benchmarks import graphs
        from tests.benchmarks.peers.work import Work, sleeping

        layers = 2 if step_seconds > SLOW_STEP_SECONDS else 5 if step_seconds > 0.005 else 20
        parents = graphs.stencil(WORKERS, layers)

        def measure(seconds: float) -> Measured:
            work = Work(parents, sleeping, (seconds,) * len(parents))
            runs = self.repeated(work)
            return Measured(seconds, statistics.median(wall for wall, _ in runs), layers * seconds)

        first = 2.0 ** round(math.log2(max(step_seconds * WORKERS, 50e-6)))
        # One that runs a step at a time never reaches it.
        longest = first * (64 if layers == 20 else 8)
        return interpolated(crossing(measure, EFFICIENCY, first_seconds=first, longest_seconds=longest), EFFICIENCY)

    def over_bound_ratio(self) -> float:
        """Makespan ÷ lower bound of a layered graph of sleeping steps: log-normal, median 20 ms, σ 0.8."""
        from tests.benchmarks import graphs
        from tests.benchmarks.peers.work import Work, sleeping

        draw = random.Random(7)
        parents = graphs.layered(6, 8, parents_each=2)
        seconds = tuple(draw.lognormvariate(0, 0.8) * 0.020 for _ in parents)
        longest: list[float] = []
        for above, own in zip(parents, seconds, strict=True):
            longest.append(own + max((longest[parent] for parent in above), default=0.0))
        bound = max(*longest, sum(seconds) / WORKERS)
        return self.timed(Work(parents, sleeping, seconds))[0] / bound


def measured(name: str, quick: bool) -> Iterator[dict[str, Any]]:
    """The figures of a peer, as they come: what it does not come to is left out."""
    from tests.benchmarks.peers.checking import wrong_with

    with adapter(name).ready(WORKERS) as prepare:
        wrong = wrong_with(prepare)
        if wrong:
            yield {"failure": wrong[0]}
            return
        measuring = Measuring(prepare, quick)
        costs: dict[str, Any] = {}
        for cost in measuring.costs():
            costs[cost.pop("graph")] = cost
            yield {"costs": costs}
        step_seconds = costs["layered"]["seconds"]
        if quick and step_seconds > SLOW_STEP_SECONDS:
            return
        yield {"over_bound_ratio": measuring.over_bound_ratio()}
        yield {"metg_seconds": measuring.metg_seconds(step_seconds)}


def main(arguments: list[str]) -> int:
    """Measure, and write after each figure."""
    name, path, kind = arguments
    found: dict[str, Any] = {}
    try:
        for figures in measured(name, kind == "quick"):
            found.update(figures)
            Path(path).write_text(json.dumps(found), encoding="utf-8")
    except ImportError as error:
        found["failure"] = f"is not installed: {error}"
    except Exception as error:
        found["failure"] = f"failed: {type(error).__name__}: {' '.join(str(error).split())}"[:200]
        Path(path).write_text(json.dumps(found), encoding="utf-8")
        raise
    Path(path).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
