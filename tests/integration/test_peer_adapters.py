"""What `make bench-peers` measures is right: adapters keep the order of edges, rows say what failed."""

from __future__ import annotations

import pytest

from tests.benchmarks.peers import checking, comparison
from tests.benchmarks.peers.adapters import NAMES, adapter
from tests.benchmarks.peers.work import Aside, Runner, Work, at_once

HERE = ("hand_threads", "hand_asyncio", "makespan_threads", "makespan_asyncio", "dask_threads")
SLOWER = ("hand_processes", "makespan_processes", "dask_distributed", "ray_tasks", "langgraph_threads")


@pytest.mark.parametrize("name", [*HERE, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)])
def test_an_adapter_keeps_the_order_of_edges_and_gives_the_outputs(name: str) -> None:
    with adapter(name).ready(4) as prepare:
        assert not checking.wrong_with(prepare)


def test_a_run_that_ignores_its_edges_is_found_out() -> None:
    def prepare(work: Work) -> Runner:
        def run(_: Aside) -> list[object]:
            backwards = {place: work.step(place, work.seconds[place]) for place in reversed(range(len(work.parents)))}
            return [backwards[place] for place in range(len(work.parents))]

        return run

    assert "began before its parent" in checking.wrong_with(prepare)[0]
    outputs = prepare(Work([(), ()], lambda place, _: place, (0.0, 0.0)))(at_once)
    assert outputs == [0, 1]


def test_outputs_in_another_order_are_found_out() -> None:
    def prepare(work: Work) -> Runner:
        return lambda _: [work.step(place, work.seconds[place]) for place in range(len(work.parents))][::-1]

    assert "not those of the steps" in checking.wrong_with(prepare)[0]


def test_every_adapter_says_what_it_is_without_its_peer() -> None:
    for name in NAMES:
        peer = adapter(name)
        assert peer.TITLE, name
        assert peer.REPORTS, name
        assert peer.IMPORTS, name


def test_a_peer_that_is_not_there_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "ROUNDS", 1)
    figures = comparison.compared(["prefect_threads"], quick=True, say=lambda _: None)
    assert "is not installed" in figures["peers"][0]["failure"]
    assert figures["peers"][0]["versions"] == {"prefect": "not installed"}
