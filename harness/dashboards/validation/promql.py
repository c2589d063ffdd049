"""Reads PromQL: whether it is any, and which metrics it asks for.

Rules of this module:
- Metrics of ours are those of the table; others may be asked for, but `makespan_` names nothing that is not in it.
"""

from __future__ import annotations

from typing import Any

import promql_parser

from executor.model.findings import did_you_mean
from harness.telemetry.metrics.metric_table import FAMILIES, PREFIX

KNOWN_NAMES = frozenset(name for family in FAMILIES for name in family.sample_names)


def parsed(expression: str) -> Any:
    """The tree of an expression.

    Raises:
        ValueError: it is no PromQL; the message says where.

    """
    return promql_parser.parse(expression)


def metric_names(expression: str) -> list[str]:
    """The metrics that it asks for, in order.

    Raises:
        ValueError: it is no PromQL.

    """
    found: dict[str, None] = {}

    def note(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.setdefault(node.name)

    promql_parser.walk(parsed(expression), note)
    return list(found)


def unknown_metrics(expression: str) -> list[str]:
    """A sentence for each metric of ours that does not exist.

    Raises:
        ValueError: it is no PromQL.

    """
    return [
        f"there is no metric {name}: {did_you_mean(name, KNOWN_NAMES, 'see the table of metrics')}"
        for name in metric_names(expression)
        if name.startswith(PREFIX) and name not in KNOWN_NAMES
    ]
