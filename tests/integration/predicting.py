"""Predictions held against what then really happened: seeded pipelines, run one step at a time, and side by side.

Durations are slept, so that the machine's load hardly matters: at the model stand-in, in threads and in processes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.integration.calling import called, the_result

KINDS = ("sleeping", "sleeping, read as a foreign trace", "stand-in with limits", "processes")
PIPELINES = 20
LONGEST_SECONDS = 0.25
MEDIAN_AT_MOST = 0.05
WORST_AT_MOST = 0.15
# Two runs take the same when they differ by no more than this share: a fifth of what the median error may be.
SAME_WITHIN = 0.01
WORKERS = (2, 3, 4, 8)


class Row(NamedTuple):
    """One pipeline. Seconds; ``error`` is the prediction's, as a share of what really was."""

    kind: str
    seed: int
    what: str
    before: float
    predicted: float
    real: float

    @property
    def error(self) -> float:
        return abs(self.predicted - self.real) / self.real


def pipeline(kind: str, seed: int) -> dict[str, Any]:
    """A scenario of ten to sixteen steps, each behind some of the three before it."""
    draw = random.Random(seed)
    steps: list[dict[str, Any]] = []
    for number in range(draw.randrange(10, 17)):
        seconds = round(draw.uniform(0.3, 1.0) * LONGEST_SECONDS, 3)
        step: dict[str, Any] = {"step_id": f"s{number}", "expected_seconds": seconds}
        before = [f"s{one}" for one in range(max(0, number - 4), number) if draw.random() < 0.35]
        if not before and number and "foreign" in kind:
            # Of a step without a link, a foreign trace does not say that it needs no other.
            before = [f"s{number - 1}"]
        if before:
            step["depends_on"] = before
        if kind == "stand-in with limits" and draw.random() < 0.7:
            step |= {"tool": "ask", "prompt": f"Say something about the number {number}."}
        else:
            step |= {"tool": "sleep", "args": {"seconds": seconds}}
        steps.append(step)
    scenario: dict[str, Any] = {"scenario": f"pipeline {seed}", "steps": steps}
    if kind == "stand-in with limits":
        scenario["resources"] = {"llm": {"capacity": draw.choice((1, 2, 3))}}
        scenario["tools"] = {"ask": {"kind": "llm", "needs": {"llm": 1}}}
    return scenario


def makespan(folder: Path, scenario: dict[str, Any], *options: str) -> float:
    """How long it really takes: the shortest run, since what else the machine does makes one longer, never shorter. It
    is one of three, or of two that take the same. It leaves its files behind as ``run.json`` and ``trace.jsonl``.
    """
    (folder / "pipeline.json").write_text(json.dumps(scenario), encoding="utf-8")
    runs = [(_run_once(folder, number, options), number) for number in range(2)]
    if max(runs)[0] - min(runs)[0] > SAME_WITHIN * min(runs)[0]:
        runs.append((_run_once(folder, 2, options), 2))
    shortest, number = min(runs)
    (folder / f"run{number}.json").replace(folder / "run.json")
    (folder / f"trace{number}.jsonl").replace(folder / "trace.jsonl")
    return shortest


def _run_once(folder: Path, number: int, options: Sequence[str]) -> float:
    (folder / f"trace{number}.jsonl").unlink(missing_ok=True)
    files = ("--json", f"run{number}.json", "--trace-file", f"trace{number}.jsonl")
    done = called("run", "pipeline.json", "--no-store", "-q", *files, *options)
    assert done.exit_code == 0, done.output
    result = the_result((folder / f"run{number}.json").read_text(encoding="utf-8"))
    return float(result["makespan_seconds"]["median"])


def analyzed(folder: Path, seed: int) -> Row:
    """Run serially, analyze the trace, predict ``dataflow``, and run that for real."""
    kind = KINDS[seed % len(KINDS)]
    scenario = pipeline(kind, seed)
    executor = "processes" if kind == "processes" else "threads"
    workers = random.Random(seed).choice(WORKERS)
    before = makespan(folder, scenario, "-e", executor, "--policy", "serial")
    trace = folder / "trace.jsonl"
    if "foreign" in kind:
        _make_anybodys(trace)
    done = called("analyze", str(trace), "-w", str(workers), "--json", "-", "-q")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["from_makespan"] == ("foreign" not in kind)
    predicted = document["predictions"]["dataflow"][str(workers)]["makespan_seconds"]
    real = makespan(folder, scenario, "-e", executor, "-w", str(workers))
    return Row(kind, seed, f"dataflow, {workers} workers", before, predicted, real)


def simulated(folder: Path, seed: int) -> Row:
    """Run, ask what a higher limit and a faster step would make of it, and run that for real."""
    draw = random.Random(seed)
    scenario = pipeline("stand-in with limits", seed)
    scenario["resources"]["llm"]["capacity"] = 1
    before = makespan(folder, scenario, "-w", "8")
    longest = max(scenario["steps"], key=lambda step: step["expected_seconds"])
    capacity = draw.choice((2, 3))
    done = called(
        "simulate", "run.json", "--set-capacity", f"llm={capacity}", "--speed-up", f"{longest['step_id']}=2x",
        "--json", "-",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (cell,) = json.loads(done.stdout)["cells"]
    scenario["resources"]["llm"]["capacity"] = capacity
    longest["expected_seconds"] /= 2
    if "args" in longest:
        longest["args"]["seconds"] /= 2
    real = makespan(folder, scenario, "-w", "8")
    what = f"llm.capacity 1 → {capacity}, {longest['step_id']} 2×"
    return Row("stand-in with limits", seed, what, before, cell["makespan_seconds"], real)


def _make_anybodys(trace: Path) -> None:
    """Take away what only our own traces say: names and attributes of ours. What is left are spans, times and links."""
    text = trace.read_text(encoding="utf-8")
    trace.write_text(text.replace('"makespan.', '"theirs.'), encoding="utf-8")


def rows(make: Callable[[Path, int], Row], folder: Path, count: int = PIPELINES) -> list[Row]:
    return [make(folder, seed) for seed in range(count)]


def table_of(found: Sequence[Row]) -> str:
    """The table, with the median error and the worst."""
    lines = [f"{'pipeline':<36}{'change':<30}{'before':>9}{'predicted':>11}{'real':>9}{'error':>8}"]
    lines += [
        f"{f'{row.seed} {row.kind}':<36}{row.what:<30}{row.before:>7.3f} s{row.predicted:>9.3f} s{row.real:>7.3f} s"
        f"{row.error:>8.1%}"
        for row in found
    ]
    errors = [row.error for row in found]
    lines.append(f"median error {median(errors):.1%}, worst {max(errors):.1%}")
    return "\n".join(lines)


def check(found: Sequence[Row]) -> None:
    """Hold the errors against what is promised."""
    errors = [row.error for row in found]
    assert median(errors) <= MEDIAN_AT_MOST, table_of(found)
    assert max(errors) <= WORST_AT_MOST, table_of(found)
