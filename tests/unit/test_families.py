"""The cause has a name: a planted one among twelve calls is named first, beside serial and between two benchmarks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from executor.backends.virtual import Simulated, VirtualBackend
from executor.model.workflow import Step, Workflow
from executor.record.timeline import NANOSECONDS, Attempt, Timeline
from executor.running import run
from harness.analysis import RunAnalysis, in_seconds, summary
from harness.analysis.families import SlowFamily, families, slow_family
from harness.analysis.slowdown import remedy_beside_serial, slowdown_cautions, split_running, with_cause
from harness.compare.comparison import compare
from tests.unit.run_documents import document

ENDPOINTS = ("orders", "users", "stock")
TRIES = 20
NEEDED = 19


@dataclass
class Service:
    """Three endpoints of which calls take 250 ms, more or less. Those of the planted one share something: each takes
    longer by ``slower`` for every other call ``at_once``, and by ``factor`` in any case.
    """

    planted: str
    seed: int
    at_once: int = 1
    slower: float = 0.2
    factor: float = 1.0
    endpoint_of: Callable[[str], str] = str

    def __call__(self, attempt: Attempt) -> Simulated:
        seconds = 0.25 * random.Random(f"{self.seed}-{attempt.step_id}-{self.at_once}").lognormvariate(0.0, 0.12)
        if self.endpoint_of(attempt.step_id) == self.planted:
            seconds *= self.factor * (1 + self.slower * (self.at_once - 1))
        return Simulated(round(seconds * NANOSECONDS))


def copies() -> tuple[tuple[Step, ...], Callable[[str], str]]:
    steps = [Step(step_id=f"{name}-{n}", tool="call") for n in range(1, 5) for name in ENDPOINTS]
    return tuple(steps), lambda step_id: step_id.rpartition("-")[0]


def items() -> tuple[tuple[Step, ...], Callable[[str], str]]:
    steps = [Step(step_id=name, tool="call", for_each=[1, 2, 3, 4]) for name in ENDPOINTS]
    return tuple(steps), lambda step_id: step_id.partition("/")[0]


def one_tool() -> tuple[tuple[Step, ...], Callable[[str], str]]:
    tools = {f"step_{number}_{letter}": ENDPOINTS[number % 3] for number, letter in enumerate("abcdefghijkl")}
    return tuple(Step(step_id=step_id, tool=tool) for step_id, tool in tools.items()), tools.__getitem__


def one_host() -> tuple[tuple[Step, ...], Callable[[str], str]]:
    hosts = {f"step_{number}_{letter}": ENDPOINTS[number % 3] for number, letter in enumerate("abcdefghijkl")}
    return tuple(Step(step_id=step_id, tool="call") for step_id in hosts), hosts.__getitem__


KINDS = {"copies": copies, "items": items, "tool": one_tool, "host": one_host}


def ran(kind: str, service: Service, workers: int) -> Timeline:
    """Twelve calls, all at once or one after the other."""
    steps, service.endpoint_of = KINDS[kind]()
    service.at_once = 4 if workers > 1 else 1
    tools = dict.fromkeys(("call", *ENDPOINTS), lambda: None)
    backend = VirtualBackend(workers, behaviour=service)
    return run(Workflow(steps=steps), backend=backend, tools=tools).timeline


def asked_of(kind: str) -> dict[str, tuple[str, str]]:
    steps, endpoint_of = KINDS[kind]()
    return {step.step_id: (f"{endpoint_of(step.step_id)}.example", "") for step in steps} if kind == "host" else {}


def cause_of(kind: str, planted: str, seed: int, slower: float = 0.2) -> SlowFamily | None:
    pairs = [
        tuple(ran(kind, Service(planted, 100 * seed + number, slower=slower), workers) for workers in (12, 1))
        for number in range(3)
    ]
    return slow_family(pairs, asked_of(kind))  # type: ignore[arg-type]  # pairs


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_cause_among_twelve_calls_is_named(kind: str) -> None:
    found = [
        (planted, cause_of(kind, planted, seed))
        for seed in range(TRIES) for planted in (ENDPOINTS[seed % len(ENDPOINTS)],)
    ]  # fmt: skip
    named = [
        cause for planted, cause in found
        if cause is not None and cause.family.kind == kind and cause.family.name.startswith(planted)
    ]  # fmt: skip
    assert len(named) >= NEEDED, [(planted, str(cause)) for planted, cause in found]
    assert all(cause.at_once == 4 and cause.beside_seconds > 1.2 * cause.alone_seconds for cause in named)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_slower_nothing_is_named(kind: str) -> None:
    found = [cause_of(kind, "orders", seed, slower=0.0) for seed in range(TRIES)]
    assert sum(cause is not None for cause in found) <= TRIES - NEEDED, found


def test_advice_and_caution_give_the_cause_its_name() -> None:
    slow, serial = (ran("copies", Service("orders", 1), workers) for workers in (12, 1))
    slow, serial = (replace(one, backend="threads") for one in (slow, serial))
    figures, alone = summary(slow), summary(serial)
    lost = in_seconds(split_running(RunAnalysis(slow), RunAnalysis(serial).run_nanoseconds))
    cause = slow_family([(slow, serial)])
    cautions = with_cause(slowdown_cautions(slow, figures, lost, alone), cause)
    for text in (remedy_beside_serial(slow, figures, lost, cautions), str(cautions[0])):
        assert "`orders`: " in text
        assert "alone, " in text
        assert "with 4 at once" in text


def benched(kind: str, seed: int, factor: float) -> dict[str, Any]:
    """A benchmark of five repetitions, in which the planted endpoint takes ``factor`` times as long."""
    from harness.benchmark.bench_figures import step_seconds  # it is heavy
    from harness.result import Repetition, result_document

    runs = [ran(kind, Service("orders", 1000 * seed + number, slower=0.0, factor=factor), 12) for number in range(5)]
    steps = {step.step_id: step for step in KINDS[kind]()[0]}
    result = result_document([Repetition(one, steps=steps) for one in runs])
    assert all(sample["step_seconds"] == step_seconds(one) for sample, one in zip(result["samples"], runs, strict=True))
    return document(result, run_id=f"run-{seed}-{factor}")


@pytest.mark.parametrize("kind", ["copies", "items", "tool"])
def test_compare_blames_what_became_slower_and_not_copies_that_swapped_places(kind: str) -> None:
    first = []
    for seed in range(TRIES):
        (change,) = compare(benched(kind, seed, 1.0), benched(kind, seed + 500, 1.4)).cells
        first.append(change.steps[0].step_id if change.steps else "nothing")
    assert first.count("orders") >= NEEDED, first


def test_families_are_copies_items_tools_and_hosts() -> None:
    ids = ["page-1", "page-2", "list/1", "list/2", "a", "b"]
    tools = {"a": "http", "b": "http"}
    asked = {"a": ("api.example", "/orders"), "b": ("api.example", "/orders"), "page-1": ("api.example", "/users")}
    assert {(one.kind, one.name, len(one.step_ids)) for one in families(ids, tools, asked)} == {
        ("copies", "page", 2), ("items", "list", 2), ("tool", "http", 2), ("host", "api.example", 3),
        ("address", "api.example/orders", 2),
    }  # fmt: skip
