"""From words to a graph: the three rules, validation, order edges, ranks and levels. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from executor.findings import Finding
from executor.workflow import Resource, Step, ToolDeclaration, Workflow

# (predecessor, state): an order edge by rule 3. A pair per state, writes before reads.
OrderEdge = tuple[int, str]


@dataclass(slots=True)
class Graph:
    """A checked workflow as arrays indexed by step, in file order.

    ``data_parents[i]``: sorted distinct indices that step i depends on (declared or by rule 1).
    ``order_edges[i]``: ``(predecessor, state)`` pairs by rule 3. ``topological``: Kahn's order that always takes the
    earliest-listed available step. ``levels[i]``: longest path in edges (data and order) from a root, 0 for roots.
    ``ranks[i]``: upward rank in nanoseconds: own expected duration plus the largest rank of a child.
    """

    steps: Sequence[Step]
    index: dict[str, int]
    data_parents: list[tuple[int, ...]]
    order_edges: list[tuple[OrderEdge, ...]]
    topological: list[int]
    levels: list[int]
    ranks: list[int]


@dataclass(slots=True)
class Plan:
    """What :func:`plan` found: the findings, and the graph unless one of them is an error."""

    findings: list[Finding] = field(default_factory=list)
    graph: Graph | None = None


def plan(
    workflow: Workflow,
    *,
    tools: Mapping[str, ToolDeclaration] | None = None,
    resources: Mapping[str, Resource] | None = None,
    default_tool: str | None = None,
    hints: bool = True,
) -> Plan:
    """Check a workflow by all rules and build its graph."""
    raise NotImplementedError
