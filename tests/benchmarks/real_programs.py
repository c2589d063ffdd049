"""Real programs recorded as they are, what the analysis foretells of a change, and the changed program measured.

Rules of this module:
- What is compared is the time of the program itself: what passes before its first span and after its last one
  (imports, a server that comes up) is taken off both.
- Each version runs several times, one after the other in turn, and the median counts; where they differ much, since the
  machine is busy, two times more. All work is slept.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from harness.traces import read_traces
from tests.integration.calling import called

FOLDER = Path(__file__).parent / "programs"
# What the programs need and nothing else does: made by `make bench`.
PYTHON = Path(__file__).resolve().parents[2] / ".venv-programs" / "bin" / "python"
RUNS, MOST_RUNS = 3, 5
# Runs of one version that differ by less than that share of their median are steady.
STEADY_RATIO = 0.05
# A busy machine takes long to start a program; one that hangs ends.
_LONGEST_SECONDS = 600


class Advice(NamedTuple):
    """``arguments``: of the program as it is, and as it is changed. ``edges``: what its maker states (``--edges``).
    ``gain``: from the analysis and the recorded spans, the foretold seconds; None where nothing is foretold.
    """

    program: str
    what: str
    is_sure: bool
    gain: Callable[[dict[str, Any], Path], float | None]
    edges: str = ""
    after: str = "after"
    more: tuple[str, ...] = ()


class Row(NamedTuple):
    """Seconds of the program's own: as it was, as foretold (None: nothing is), and as it really became."""

    advice: Advice
    before: float
    foretold: float | None
    real: float

    @property
    def ratio(self) -> float | None:
        """Foretold ÷ real."""
        return None if self.foretold is None else self.foretold / self.real


def raised(at_once: int) -> Callable[[dict[str, Any], Path], float | None]:
    """The gain of a limit raised to that."""

    def gain(document: dict[str, Any], _: Path) -> float | None:
        found = [
            float(one["gain_seconds"])
            for queue in document["queues"]
            for one in queue["raised"]
            if one["at_once"] == at_once
        ]
        return max(found, default=None)

    return gain


def as_soon_as_possible(document: dict[str, Any], _: Path) -> float | None:
    """The sure gain of beginning everything when what it needs is there."""
    return float(document["predictions"]["dataflow"]["unlimited"]["gain_seconds"])


def possible(document: dict[str, Any], _: Path) -> float | None:
    """What is gained at most, if no assumed edge is real and nothing held back what began late."""
    return float(document["headline"]["possible_gain_seconds"])


def faster(step: str) -> Callable[[dict[str, Any], Path], float | None]:
    """The sure gain of a step twice as fast."""

    def gain(_: dict[str, Any], spans: Path) -> float | None:
        done = called("simulate", str(spans), "--speed-up", f"{step}=2x", "--json", "-")
        assert done.exit_code == 0, done.output
        return float(json.loads(done.stdout)["gains"][0]["sure_gain_seconds"])

    return gain


_GATHERS = "\n".join(
    [
        *(f"{one} -/> {other}" for one, other in (("web", "papers"), ("web", "news"), ("papers", "news"))),
        *(f"{name} -> write" for name in ("web", "papers", "news")),
    ]
)
ADVICE: Sequence[Advice] = (
    Advice("thread_pool", "threads behind a semaphore, 3 → 6", False, raised(6)),
    Advice("worker_queue", "workers at a queue, 2 → 4", False, raised(4)),
    Advice("dask_tasks", "threads of a Dask cluster, 2 → 4", False, raised(4)),
    Advice("fastapi_pool", "FastAPI, httpx behind a semaphore, 3 → 6", False, raised(6)),
    Advice("fastapi_pool", "FastAPI, httpx's own pool, 3 → 6", False, raised(6), more=("pool",)),
    Advice("gathers", "asyncio, three searches in a gather", True, as_soon_as_possible, _GATHERS),
    Advice("gathers", "asyncio, one step twice as fast", True, faster("write"), after="faster"),
    Advice("langgraph_barrier", "LangGraph, no barrier", True, as_soon_as_possible, "slow -/> after_fast"),
    Advice("a2a_agent", "a2a-sdk around LangGraph, no barrier", False, possible, "flights -/> packing"),
)


def row(advice: Advice, folder: Path, runs: int = RUNS, most: int = MOST_RUNS) -> Row:
    """Record both versions in turn."""
    before: list[float] = []
    gains: list[float | None] = []
    real: list[float] = []
    while len(real) < runs or (len(real) < most and not (_is_steady(before) and _is_steady(real))):
        spans = folder / f"{advice.program}.{len(real)}.spans"
        document = recorded(folder, advice, "before", spans)
        before.append(own_seconds(document))
        gains.append(advice.gain(document, spans / "spans.pb"))
        real.append(own_seconds(recorded(folder, advice, advice.after, folder / "after.spans")))
    foretold = [own - gain for own, gain in zip(before, gains, strict=True) if gain is not None]
    return Row(advice, median(before), median(foretold) if 2 * len(foretold) > len(gains) else None, median(real))


def _is_steady(seconds: Sequence[float]) -> bool:
    return max(seconds) - min(seconds) <= STEADY_RATIO * median(seconds)


def recorded(folder: Path, advice: Advice, version: str, spans: Path) -> dict[str, Any]:
    """The analysis of one run: of several traces (a server has some of its own), the one of most spans."""
    command = [str(PYTHON if PYTHON.exists() else sys.executable), str(FOLDER / f"{advice.program}.py"), version]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "record", "--no-store", "--quiet", "--spans", str(spans), "--",
         *command, *advice.more],
        cwd=folder, capture_output=True, text=True, check=False, timeout=_LONGEST_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    largest = max(read_traces(spans / "spans.pb"), key=lambda trace: len(trace.spans))
    options = ["--trace", largest.trace_id]
    if advice.edges and version == "before":
        (folder / "edges.txt").write_text(advice.edges + "\n", encoding="utf-8")
        options += ["--edges", str(folder / "edges.txt")]
    analysed = called("analyze", str(spans / "spans.pb"), *options, "--json", "-", "-q")
    assert analysed.exit_code == 0, analysed.output
    document: dict[str, Any] = json.loads(analysed.stdout)
    return document


def own_seconds(document: dict[str, Any]) -> float:
    """The makespan without what passed outside of the program's spans."""
    outside = sum(gap["seconds"] for gap in document["gaps"] if gap["step_id"] is None)
    return float(document["makespan_seconds"]) - float(outside)


def table(rows: Sequence[Row]) -> list[str]:
    """In Markdown."""
    lines = ["| program and change | called | as it was, s | foretold, s | really, s | foretold ÷ real |"]
    lines.append("|---|---|---|---|---|---|")
    for one in rows:
        foretold = "nothing" if one.foretold is None else f"{one.foretold:.2f}"
        ratio = "—" if one.ratio is None else f"{one.ratio:.3f}"
        name = "sure" if one.advice.is_sure else "possible"
        lines.append(f"| {one.advice.what} | {name} | {one.before:.2f} | {foretold} | {one.real:.2f} | {ratio} |")
    return lines
