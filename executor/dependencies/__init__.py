"""From words to a graph: the three rules, validation, order edges, ranks and levels. Runs nothing.

- ``references``: rule 1, which steps a step depends on
- ``groups``: rule 2, whether the members of a parallel group are independent
- ``state``: rule 3, the one order of steps that share state
- ``resolve``: what tools and resources add to a step, and whether they allow it
- ``graph``: orders, cycles, levels and ranks
- ``hints``: what could be written better
- ``planning``: all of it at once

Rules of this package:
- One report holds all findings. A fault hides no other fault.
- No recursion: graphs may have a million steps.
- The cost of each rule is linear in steps and edges.
"""

from executor.dependencies.graph import Graph, OrderEdge, Plan
from executor.dependencies.graph_building import plan, workflow_with_dependencies
from executor.dependencies.hints import HINTS_LIMIT_STEPS
from executor.dependencies.step_requirements import DEFAULT_EXPECTED_TOKENS

__all__ = [
    "DEFAULT_EXPECTED_TOKENS",
    "HINTS_LIMIT_STEPS",
    "Graph",
    "OrderEdge",
    "Plan",
    "plan",
    "workflow_with_dependencies",
]
