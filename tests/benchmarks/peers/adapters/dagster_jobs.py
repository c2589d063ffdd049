"""Jobs of Dagster: an op for each step; an input of type Nothing is an edge without data."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers import work as works
from tests.benchmarks.peers.work import Step

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def job_of(parents: Any, step_name: str, seconds: Any) -> Any:
    """The job of a graph."""
    from dagster import DependencyDefinition, GraphDefinition

    return GraphDefinition(
        name="graph",
        node_defs=[_op(place, above, getattr(works, step_name), seconds[place]) for place, above in enumerate(parents)],
        dependencies={
            f"s{place}": {f"p{parent}": DependencyDefinition(f"s{parent}") for parent in above}
            for place, above in enumerate(parents)
        },
    ).to_job()


def _op(place: int, above: Any, step: Step, seconds: float) -> Any:
    from dagster import In, Nothing, op

    @op(name=f"s{place}", ins={f"p{parent}": In(Nothing) for parent in above})
    def call() -> Any:
        return step(place, seconds)

    return call
