"""Random documents for reports: what runs may be, not what a test would draw by hand.

Steps from none to two hundred, names of any length and writing, durations from nanoseconds to days, many notes,
failures, resources, cells that differ in anything, repetitions, environments that say much or nothing; and traces of
other programs with their analyses. Everything comes from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from executor import Resource
from harness.result import Estimate, Repetition, result_document
from harness.traces.diagnosis.analysis_document import run_documents, trace_document
from harness.traces.diagnosis.diagnosis import diagnose
from tests.unit.reporting import Drawing, document
from tests.unit.trace_making import run_of

Document = Mapping[str, Any]
Drawn = tuple[list[Document], list[Document]]

_WORDS = ("fetch", "the", "very", "long", "report", "about", "harvests", "and", "summarise", "each", "page", "of", "it")
_NOTES = (
    "an interval from {n} repetitions holds the median in at most {n}% of cases, not in 95%: use at least 6 of them",
    "the load of the machine was {n}.3 on 2 cores",
    "its workers took {n} s to start, more than a run gains: it pays where workers are kept from run to run",
    "averyveryverylongwordthatnobodycanbreakanywhere{n}averyveryverylongwordthatnobodycanbreakanywhere",
)


def random_name(draw: random.Random, number: int) -> str:
    """A name of a step: plain, a copy, an item, long with and without places to break, wide, or of another writing."""
    kinds = (
        lambda: f"s{number}",
        lambda: f"orders-{number}",
        lambda: f"page/{number}",
        lambda: " ".join(draw.choices(_WORDS, k=draw.randint(4, 24))) + f" {number}",
        lambda: "unbreakable" * draw.randint(2, 14) + str(number),
        lambda: "W" * draw.randint(5, 60) + str(number),
        lambda: "翻訳する" * draw.randint(1, 15) + str(number),
        lambda: "שלום" * draw.randint(1, 8) + str(number),
        lambda: "🦦" * draw.randint(1, 20) + str(number),
        lambda: f"<b>&amp;{number}</b>\u202e\x1b[31m",
    )
    return draw.choice(kinds)()


def random_drawing(draw: random.Random, names: list[str], workers: int, backend: str, scale: float) -> Drawing:
    """A run of these steps: each begins when its parents have ended, waits, runs; some fail, some call others."""
    resources = {name: Resource(capacity=draw.randint(1, 9)) for name in ("llm", "the_database_of_all_orders")}
    drawing = Drawing(workers, backend, resources)
    ends: dict[str, float] = {}
    fails = draw.random() < 0.3
    for place, name in enumerate(names):
        parents = draw.sample(names[:place], min(place, draw.choice([0, 0, 1, 1, 2, 4])))
        lost = any(parent not in ends for parent in parents)
        status = "skipped" if lost else "failed" if fails and draw.random() < 0.1 else "succeeded"
        drawing.step(name, parents, status=status)
        if lost:
            continue
        ready = max((ends[parent] for parent in parents), default=0.0)
        for attempt in range(1, draw.choice([1, 1, 1, 2, 4]) + 1):
            waited = draw.choice([0.0, 0.0, scale * draw.random()])
            reason = draw.choice(
                ["worker", "resource.llm", "resource.the_database_of_all_orders", "rate.llm", "barrier"]
            )
            began = ready + waited
            ended = began + scale * 10 ** draw.uniform(-3, 0)
            drawing.run(
                name, ready, began, ended, attempt=attempt, worker=f"thread-{draw.randint(1, max(1, workers))}",
                waits=[(reason, ready, began)] if waited else [],
            )  # fmt: skip
            drawing.attempts[-1].outcome = "failed"
            ready = ended
        drawing.attempts[-1].outcome = status
        if status == "succeeded":
            ends[name] = ready
    return drawing


def random_results(draw: random.Random, scenario: str | None) -> list[Document]:
    """The cells of a scenario: one run, or a matrix with a baseline."""
    names = [random_name(draw, number) for number in range(draw.choice([0, 1, 3, 12, 40, 200]))]
    scale = 10 ** draw.uniform(-8, 5)
    is_bench = draw.random() < 0.7
    cells = [("serial", 1)] if is_bench else [("threads", 8)]
    if is_bench:
        cells += [(name, count) for name in ("threads", "asyncio") for count in draw.sample([2, 3, 4, 16, 64, 128], 3)]
    parameters = {"size": "very " * draw.randint(0, 12) + "big"} if draw.random() < 0.3 else {}
    found = []
    for executor, workers in cells:
        repetitions = draw.choice([1, 3, 12]) if is_bench else 1
        drawings = [random_drawing(draw, names, workers, executor, scale) for _ in range(repetitions)]
        errors = {name: f"ToolError: {random_name(draw, 7)} " * 3 for name in names if draw.random() < 0.1}
        outputs = {name: "a sentence of some length " * draw.randint(0, 40) for name in names}
        speedup = draw.uniform(0.01, 1.1 * workers)
        one = result_document(
            [Repetition(drawing.timeline(), outputs, errors) for drawing in drawings],
            scenario=scenario,
            parameters=parameters,
            speedup=Estimate(speedup, draw.choice([None, (0.9 * speedup, 1.3 * speedup)])) if is_bench else None,
            speedup_verdict=draw.choice(["faster", "slower", "undecided"]) if is_bench else None,
        )
        middle = one["makespan_seconds"]["median"]
        if draw.random() < 0.5:
            one["makespan_seconds"]["ci95"] = [0.97 * middle, 1.2 * middle]
        one["cautions"] = [draw.choice(_NOTES).format(n=number) for number in range(draw.choice([0, 1, 3, 12]))]
        if names and draw.random() < 0.3:
            one["failures"] = [_random_failure(draw) for _ in range(draw.randint(1, 4))]
        if draw.random() < 0.3:
            one["cold_startup_seconds"] = middle * draw.uniform(0, 9)
        found.append(one)
    return found


def _random_failure(draw: random.Random) -> dict[str, Any]:
    return {
        "tool": draw.choice(["llm", "http", None]),
        "error_type": draw.choice(["ToolError", "a.very.long.package.of.errors.that.has.a.RateLimitExceededError"]),
        "http_status_code": draw.choice([None, 429, 503]),
        "retry_after_seconds": draw.choice([None, 1.0]),
        "attempts": draw.randint(1, 100),
        "calls": 100,
        "message": "the service at http://127.0.0.1:8080/a/very/long/address/of/it said no " * draw.randint(0, 3),
    }


def random_documents(draw: random.Random) -> Drawn:
    """One run or several; the analyses are empty."""
    scenarios = draw.choice([["demo"], ["demo"], ["orders", "letters_of_a_very_long_title_that_nobody_breaks"]])
    results = [one for name in scenarios for one in random_results(draw, name)]
    environments: list[dict[str, Any]] = [
        {},
        {
            "machine": "bench-1." + "rack" * draw.randint(1, 30), "platform": "Linux-6.18.44-x86_64-with-glibc2.36",
            "architecture": "x86_64", "usable_cores": 1, "cores": 64, "cpu_limit_cores": 1.5, "memory_bytes": 2**34,
            "python_version": "3.11.7", "python_implementation": "CPython", "revision": "0123456789abcdef" * 2,
            "load_average_at_start": [0.5, 1, 2], "packages": {f"package-{n}": "1.2.3" for n in range(30)},
            "stand_in": True, "simulated": draw.random() < 0.5,
        },
    ]  # fmt: skip
    runs = draw.choice([1, 1, 2])
    return [
        document(*results, run_id=f"{number:02d}89abcdef" * 3, scenario=", ".join(scenarios), environment=environment)
        for number, environment in enumerate(draw.choices(environments, k=runs))
    ], []


def random_analysis(draw: random.Random) -> Drawn:
    """A trace of another program, with what its analysis says."""
    scale = 10 ** draw.uniform(-4, 3)
    times, names = {}, {}
    for number in range(draw.randint(1, 30)):
        begin = scale * draw.random() * number
        times[f"k{number}"] = (begin, begin + scale * 10 ** draw.uniform(-2, 0.5))
        names[f"k{number}"] = random_name(draw, number) if draw.random() < 0.5 else "ChatModel"
    diagnosis = diagnose(run_of(times, names=names))
    return list(run_documents([diagnosis])), [trace_document(diagnosis)]


def random_report(seed: int) -> Drawn:
    """Documents and analyses of a report."""
    draw = random.Random(seed)
    return random_analysis(draw) if draw.random() < 0.25 else random_documents(draw)
