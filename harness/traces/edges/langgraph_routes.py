"""Where LangGraph's nodes said to go next: what routing functions and commands put out, where contents were captured.

Rules of this module:
- A routing function is a child of its node that carries the node's own metadata and calls nobody; its output is a name,
  a list of names, or ``Send(node=…)``. A node that returns ``Command(goto=…)`` says it in its own output.
- What is looked at of one node is bounded.

Source: LangGraph's conditional edges, ``Send`` and ``Command``, as OpenInference and OpenLLMetry write them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from harness.traces.spans.span_steps import Steps
from harness.traces.trace_model import Span

_OUTPUTS: Final = ("output.value", "traceloop.entity.output")
_MOST_CHILDREN: Final = 64
_LONGEST_TEXT: Final = 65_536
_LONGEST_NAME: Final = 500
# As Python prints them.
_SENT: Final = re.compile(r"Send\(node=(['\"])(.{1,500}?)\1")
_GONE_TO: Final = re.compile(r"goto=(['\"])(.{1,500}?)\1")


def routes_of(steps: Steps, step: int, metadata: Any) -> set[str]:
    """The nodes that a node's run named as next. ``metadata``: reads a span's LangGraph metadata."""
    tree = steps.tree
    index = steps.members[step][-1]
    own = metadata(tree.spans[index])
    names = set(_commanded(_output(tree.spans[index])))
    for child in tree.children[index][:_MOST_CHILDREN]:
        if not tree.children[child] and metadata(tree.spans[child]) == own:
            names.update(_routed(_output(tree.spans[child])))
    return names


def _output(span: Span) -> Any:
    for name in _OUTPUTS:
        value = span.attributes.get(name)
        if not isinstance(value, str):
            continue
        text = value[:_LONGEST_TEXT].strip()
        try:
            held = json.loads(text) if text[:1] in ("{", "[", '"') else text
        except (ValueError, RecursionError):
            held = text
        return held.get("outputs", held) if isinstance(held, dict) and name != _OUTPUTS[0] else held
    return None


def _routed(value: Any, levels: int = 3) -> Iterator[str]:
    """The names that a routing function gave, down to so many levels: what was captured may be as deep as it likes."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            if levels:
                yield from _routed(one.get("node") or one.get("goto"), levels - 1)
        elif isinstance(one, str):
            sent = [match[1] for match in _SENT.findall(one)]
            yield from sent or [one[:_LONGEST_NAME].strip()]


def _commanded(value: Any) -> Iterator[str]:
    """The names in a ``Command``, or in several."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict) and "goto" in one:
            yield from _routed(one["goto"])
        elif isinstance(one, str) and "Command(" in one:
            yield from (match[1] for match in _GONE_TO.findall(one))
