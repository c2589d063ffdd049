"""What a dashboard has to show of runs: their numbers, read from their JSON and nowhere else. Pure.

Rules of this module:
- It knows nothing of how the numbers got to the server: that is what it judges.
- A cell's figures over all repetitions are the JSON's; counts of attempts are those of the repetition that it shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.dashboards.grafana.queries import CELL, CURVE
from harness.telemetry.metrics import metric_table as table
from harness.telemetry.metrics.labels import result_labels, with_others_summed

# Labels that distinguish numbers of one cell; others (job, instance) are the server's.
_OWN_LABELS: Final = frozenset(label for family in table.FAMILIES for label in family.labels)
# Only benchmarks measure these, and a dashboard goes on showing them after a single run of the cell.
_NOT_ALWAYS: Final = frozenset({table.RUN_SPEEDUP.name, table.RUN_EFFICIENCY.name})
# JSON and Prometheus both hold a float's every bit; sums are added up in another order.
RELATIVE: Final = 1e-9
ABSOLUTE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Known:
    """A number of a run: under which metric and labels it is found. ``age``: 0 is that of its cell's newest run, or, of
    what not every run measures, of the newest one that did.
    """

    metric: str
    labels: Mapping[str, str]
    value: float
    run_id: str
    age: int = 0


def known_numbers(documents: Sequence[Mapping[str, Any]]) -> list[Known]:
    """All numbers of all documents, which are in order from the oldest to the newest."""
    seen: Counter[tuple[tuple[tuple[str, str], ...], str]] = Counter()
    found: list[Known] = []
    for document in reversed(documents):
        for result in document["results"]:
            labels = result_labels(result, str(document["scenario"]))
            measured = set()
            for metric, more, value in _of_result(result):
                measured.add(metric)
                age = seen[labels, metric if metric in _NOT_ALWAYS else ""]
                found.append(Known(metric, dict(labels) | more, value, str(document["run_id"]), age))
            seen.update((labels, metric) for metric in (*(_NOT_ALWAYS & measured), ""))
    return found


def _of_result(result: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    speedup = result["speedup_ratio"]
    single = {
        table.RUN_SPEEDUP: None if speedup is None else speedup["median"],
        table.RUN_EFFICIENCY: result["efficiency_ratio"],
        table.RUN_MAKESPAN: result["makespan_seconds"]["median"],
        table.RUN_CRITICAL_PATH: result["critical_path_seconds"],
        table.RUN_LOWER_BOUND: result["lower_bound_seconds"],
        table.RUN_SCHEDULE_EFFICIENCY: result["schedule_efficiency_ratio"],
        table.RUN_WORK: result["work_seconds"],
        table.RUN_STEP_OVERHEAD: result["overhead_seconds_per_step"],
    }
    yield from ((metric.name, {}, float(value)) for metric, value in single.items() if value is not None)
    for cause, seconds in with_others_summed(result["lost_seconds"]).items():
        yield table.RUN_LOST.name, {"cause": cause}, seconds
    yield table.STEPS_RUNNING.name, {}, float(result["concurrency"]["max"])
    yield table.WORKERS.name, {}, float(result["workers"])
    yield from _attempts(result["steps"])


def _attempts(steps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, str], float]]:
    results: Counter[tuple[str, str]] = Counter()
    waits: Counter[str] = Counter()
    retries: Counter[str] = Counter()
    for step in steps:
        before = "failed"
        for attempt in sorted(step["attempts"], key=lambda one: int(one["attempt"])):
            if attempt["outcome"] is None:
                continue
            results[str(step.get("tool") or "unknown"), attempt["outcome"]] += 1
            if attempt["attempt"] > 1:
                retries[before] += 1
            before = attempt["outcome"]
            for wait in attempt["waits"]:
                waits[wait["reason"]] += wait["to"] - wait["from"]
    for (tool, outcome), count in results.items():
        yield table.STEP_ATTEMPTS.name, {"tool": tool, "result": outcome}, float(count)
    for reason, count in retries.items():
        yield table.STEP_RETRIES.name, {"reason": reason}, float(count)
    for reason, seconds in with_others_summed(waits).items():
        yield f"{table.STEP_WAIT.name}_sum", {"reason": reason}, seconds


def fits(known: Known, labels: Mapping[str, str]) -> bool:
    """Whether a series with these labels may show that number: no label says otherwise."""
    for name, value in labels.items():
        if name in (CELL, CURVE):
            if value != _joined(known.labels, with_workers=name == CELL):
                return False
        elif known.labels.get(name) != value and (name in known.labels or name in _OWN_LABELS):
            return False
    return True


def close(one: float, other: float) -> bool:
    """Equal but for rounding."""
    return abs(one - other) <= max(ABSOLUTE, RELATIVE * max(abs(one), abs(other)))


def _joined(labels: Mapping[str, str], *, with_workers: bool) -> str:
    """The name of a cell, as the queries join it."""
    place = f"{labels['executor']}@{labels['workers']}" if with_workers else labels["executor"]
    words = f"{labels['scenario']} {place} {labels['policy']} {labels['variant']}"
    return words.removesuffix(f" {table.DEFAULT_VARIANT}")
