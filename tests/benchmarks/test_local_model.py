"""What continuous batching buys on the real local model: the same calls, 1, 2 and 4 at once, in turn.

One decoding step reads all weights once, whatever the number of sequences in it: side by side, each reading serves
several. Source: Yu et al., "Orca: a distributed serving system for transformer-based generative models", OSDI 2022.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor import Step, Workflow, run
from harness.config import LanguageModel, LocalModel
from harness.local_llm import LocalModelError, LocalServer
from tests.benchmarks.measure import ROWS
from tests.model.home import home_with_model

CALLS = 8
TOKENS = 32
AT_ONCE = (1, 2, 4)
REPETITIONS = 3
ANIMALS = ("cats", "dogs", "birds", "frogs", "bears", "goats", "mice", "cows")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home_with_model(tmp_path_factory.mktemp("model"))))
        try:
            running = LocalServer(LocalModel(slots=max(AT_ONCE), max_tokens=TOKENS))
        except LocalModelError as error:
            pytest.skip(f"{error}; to get it: {error.fix}")
    with running:
        yield running


def seconds_and_tokens(server: LocalServer, at_once: int, repetition: int) -> tuple[float, int]:
    """The makespan of all calls, and how many tokens were generated."""
    llm = LanguageModel(base_url=server.base_url, model=server.model)
    steps = tuple(
        # No two runs share a beginning, so that no cached prompt is measured.
        Step(step_id=animal, tool="writer", prompt=f"({repetition}.{at_once}) Write a long story about {animal}.")
        for animal in ANIMALS[:CALLS]
    )
    writer = {"kind": "llm", "base_url": llm.base_url, "model": llm.model, "api_key": server.key, "temperature": 0.0}
    done = run(Workflow(steps=steps), workers=at_once, tools={"writer": writer})
    assert done.ok, done.errors
    tokens = sum(int(facts.get("gen_ai.usage.output_tokens", 0)) for facts in done.facts.values())
    return done.timeline.makespan_seconds, tokens


def test_calls_side_by_side_share_the_reading_of_the_weights(benchmark: BenchmarkFixture, server: LocalServer) -> None:
    seconds_and_tokens(server, 1, 0)
    rates: dict[int, list[float]] = {at_once: [] for at_once in AT_ONCE}
    for repetition in range(1, REPETITIONS + 1):
        for at_once in AT_ONCE:
            seconds, tokens = seconds_and_tokens(server, at_once, repetition)
            rates[at_once].append(tokens / seconds)
    benchmark.pedantic(seconds_and_tokens, args=(server, max(AT_ONCE), 0), rounds=1)
    alone = statistics.median(rates[1])
    for at_once in AT_ONCE:
        rate = statistics.median(rates[at_once])
        benchmark.extra_info[f"speedup_{at_once}"] = rate / alone
        what = f"local model ({server.model}), {at_once} at once: tokens a second"
        ROWS.append((what, f"{rate:.1f}", f"{alone:.1f}", f"{rate / alone:.2f}", "", "faster than 1 at 4"))
    assert statistics.median(rates[max(AT_ONCE)]) > alone
