"""Paired measurements: ours and the yardstick in turn, so that a machine that drifts drifts for both.

Nothing here asserts a time. The figures go to the terminal at the end of the run and into pytest-benchmark's JSON.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor.backends import find_backend
from executor.dependencies import plan
from executor.engine.engine import Engine
from executor.model.workflow import Resource, Step, Workflow
from executor.tools.registry import resolve_tool
from tests.benchmarks.graphs import Parents

ROWS: list[tuple[str, ...]] = []
# An expression for programs that measure themselves: `ru_maxrss` has the peak of the process that started them in it.
PEAK_BYTES = "int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) * 1024"
_HEAD = ("what", "ours, µs a step", "by hand", "ratio (median)", "quartiles", "at most")


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a Markdown table, ready for docs/performance.md."""
    return ["| " + " | ".join(row) + " |" for row in (_HEAD, ("---",) * len(_HEAD), *rows)]


@dataclass(frozen=True)
class Paired:
    """Medians of both and of the ratios, with the ratios' quartiles."""

    ours_seconds: float
    yardstick_seconds: float
    ratio: float
    ratio_low: float
    ratio_high: float


def paired(ours: Callable[[], float], yardstick: Callable[[], float], repetitions: int) -> Paired:
    """Run both in turn, after one run of each that does not count."""
    ours()
    yardstick()
    pairs = [(ours(), yardstick()) for _ in range(repetitions)]
    ratios = [mine / other for mine, other in pairs]
    quartiles = statistics.quantiles(ratios, n=4)
    return Paired(
        statistics.median(mine for mine, _ in pairs),
        statistics.median(other for _, other in pairs),
        statistics.median(ratios),
        quartiles[0],
        quartiles[2],
    )


def workflow_of(parents: Parents, tool: str = "step", seconds: Sequence[float] | None = None) -> Workflow:
    """The workflow of a graph; with ``seconds`` each step states its duration and sleeps for it."""
    ids = [f"s{place}" for place in range(len(parents))]
    steps = []
    for place, above in enumerate(parents):
        fields: dict[str, Any] = {"step_id": ids[place], "tool": tool}
        if above:
            fields["depends_on"] = tuple(ids[parent] for parent in above)
        if seconds is not None:
            fields |= {"expected_seconds": seconds[place], "args": {"seconds": seconds[place]}}
        steps.append(Step(**fields))
    return Workflow(workflow_id="benchmark", steps=tuple(steps))


class Runner:
    """Runs one workflow again and again on one backend, planned once."""

    def __init__(
        self,
        workflow: Workflow,
        backend: str,
        workers: int,
        call: Callable[..., Any],
        policy: Any = "dataflow",
        resources: Mapping[str, Resource] | None = None,
    ) -> None:
        planned = plan(workflow, resources=resources or {}, hints=False)
        assert planned.graph is not None, planned.findings
        self.graph = planned.graph
        self.tools = {"step": resolve_tool("step", {"step": call})}
        self.backend = backend
        self.workers = workers
        self.policy = policy
        self.resources = resources

    def engine(self) -> tuple[Engine, Any]:
        """A fresh engine and its backend."""
        backend = find_backend(self.backend)(self.workers)
        slots, policy, resources = backend.capacity, self.policy, self.resources
        return Engine(self.graph, self.tools, backend, slots=slots, policy=policy, resources=resources), backend

    def __call__(self) -> float:
        """Seconds from t = 0 to the end, workers up before."""
        engine, backend = self.engine()
        backend.open(engine)
        try:
            if self.backend == "asyncio":
                return asyncio.run(self._in_a_loop(engine, backend))
            began = time.perf_counter()
            backend.drive(engine)
            return time.perf_counter() - began
        finally:
            backend.close()
            assert engine.scheduler.done
            assert not engine.errors

    async def _in_a_loop(self, engine: Engine, backend: Any) -> float:
        """Like the yardstick's: the event loop is there before the first start."""
        began = time.perf_counter()
        await backend.drive_async(engine)
        return time.perf_counter() - began


def report(name: str, found: Paired, steps: int, at_most: str) -> None:
    """A row of the table at the end."""
    ROWS.append(
        (
            name,
            f"{found.ours_seconds / steps * 1e6:.1f}",
            f"{found.yardstick_seconds / steps * 1e6:.1f}",
            f"{found.ratio:.2f}",
            f"{found.ratio_low:.2f} – {found.ratio_high:.2f}",
            at_most,
        )
    )
