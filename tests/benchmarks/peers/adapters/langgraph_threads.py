"""LangGraph's graph API; a node that waits for several has one edge from all of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypedDict

from tests.benchmarks.peers.work import Aside, Prepare, Runner, Work

TITLE = "LangGraph, threads"
PACKAGES = ("langgraph",)
IMPORTS = ("langgraph.graph",)
REPORTS = "a stream of events while it runs; traces through a service (LangSmith) or others' instrumentation"


class State(TypedDict):
    """Outputs by place."""

    outputs: Annotated[dict[int, Any], operator.or_]


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """Nothing is kept: each call has its own pool."""
    from langgraph.graph import END, START, StateGraph

    def prepare(work: Work) -> Runner:
        def node(place: int) -> Callable[[State], dict[str, Any]]:
            return lambda state: {"outputs": {place: work.step(place, work.seconds[place])}}

        graph = StateGraph(State)
        parents = {parent for above in work.parents for parent in above}
        for place, above in enumerate(work.parents):
            graph.add_node(f"s{place}", node(place))
            if len(above) > 1:
                graph.add_edge([f"s{parent}" for parent in above], f"s{place}")
            else:
                graph.add_edge(f"s{above[0]}" if above else START, f"s{place}")
            if place not in parents:
                graph.add_edge(f"s{place}", END)
        compiled = graph.compile()
        config: Any = {"recursion_limit": len(work.parents) + 10, "max_concurrency": workers}

        def run(_: Aside) -> list[Any]:
            outputs = compiled.invoke({"outputs": {}}, config)["outputs"]
            return [outputs[place] for place in range(len(work.parents))]

        return run

    yield prepare
