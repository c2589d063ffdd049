"""Adapters for schedulers of others: what is between each and the suite.

Each imports what it runs on when it is called. The suite's ``graph`` comes in no particular order. Those that want
to hear of a step after what it depends on get it through graphlib.
"""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any

from harness.testing.schedulers.graph_case import Graph


def dask_threads(graph: Graph, call: Callable[[str], object], workers: int) -> None:
    """Dask's scheduler for threads of one process."""
    import dask

    tasks: dict[str, Any] = {}
    for step in TopologicalSorter(graph).static_order():
        before = [tasks[other] for other in graph[step]]
        tasks[step] = dask.delayed(lambda *_, step=step: call(step), pure=False)(*before)
    dask.compute(*tasks.values(), scheduler="threads", num_workers=workers)


# A call cannot travel: what is sent to Dask's worker (a thread of this process) finds it here.
_CALLS: dict[int, Callable[[str], object]] = {}


def _call_here(key: int, step: str, *_before: object) -> None:
    _CALLS[key](step)


def dask_distributed(graph: Graph, call: Callable[[str], object], workers: int) -> None:
    """Dask's distributed scheduler, its one worker in this process."""
    from distributed import Client, LocalCluster

    _CALLS[id(graph)] = call
    # Any free port for its page: two clusters of one machine would want the same one.
    options: dict[str, Any] = {"processes": False, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with (
        LocalCluster(n_workers=1, threads_per_worker=workers, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        futures: dict[str, Any] = {}
        for step in TopologicalSorter(graph).static_order():
            before = [futures[other] for other in graph[step]]
            futures[step] = client.submit(_call_here, id(graph), step, *before, pure=False)
        client.gather(list(futures.values()))
    del _CALLS[id(graph)]


def langgraph(graph: Graph, call: Callable[[str], object], workers: int) -> None:
    """LangGraph: a node for each step, an edge (from all it waits for together) for each dependency."""
    import operator
    from typing import Annotated, TypedDict

    from langgraph.graph import END, START, StateGraph

    # Not as a class: its annotations would be text, which LangGraph looks up in this module.
    words = {"done": Annotated[list, operator.add]}
    state = TypedDict("state", words)  # type: ignore[misc]  # as above
    builder = StateGraph(state)
    for step in graph:
        builder.add_node(step, lambda _state, step=step: {"done": [call(step)]})
    for step, before in graph.items():
        builder.add_edge(list(before) if before else START, step)
    for step in set(graph) - {other for before in graph.values() for other in before}:
        builder.add_edge(step, END)
    builder.compile().invoke({}, {"max_concurrency": workers})


def prefect(graph: Graph, call: Callable[[str], object], workers: int) -> None:
    """Prefect: a task for each step on its pool of threads, in a flow."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=workers), validate_parameters=False)
    def run() -> None:
        work = task(call, cache_policy=None, persist_result=False)
        futures: dict[str, Any] = {}
        for step in TopologicalSorter(graph).static_order():
            futures[step] = work.submit(step, wait_for=[futures[other] for other in graph[step]])
        for future in futures.values():
            future.result()

    run()
