"""Edges that frameworks write into their spans: LangGraph's supersteps and triggers, OpenInference's graph nodes.

Rules of this module:
- A trigger that names where it comes from (``join:a+b:c``, ``branch:a:…:c``) declares an edge. One that does not
  (``branch:to:c``) was fired by a node of the superstep before (``langgraph_step`` less one). Which one is inferred:
  from where its routing function or command said to go, else from the data that the node was seen to use, else
  because it was the only one. Of several that are left each is assumed.
- A routing function is a child of its node that carries the node's own metadata and calls no other; its output is a
  name, a list of names, or ``Send(node=…)``. A node that returns ``Command(goto=…)`` says it in its own output.
- What is looked at of one node is bounded.
- Metadata may be a JSON text, a mapping, or flat attributes under the prefixes that instrumentations use.

Source: LangGraph's ``langgraph_*`` metadata; its conditional edges, ``Send`` and ``Command``, as OpenInference and
OpenLLMetry write them; OpenInference semantic conventions, ``graph.node.id`` and ``graph.node.parent_id``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from harness.traces.edges.found_edges import Edges
from harness.traces.spans.span_steps import Steps
from harness.traces.trace_model import ASSUMED, DECLARED, INFERRED, Span

LANGGRAPH: Final = "langgraph"
GRAPH_NODE: Final = "graph.node"
_PREFIXES: Final = ("", "traceloop.association.properties.", "metadata.", "langsmith.metadata.", "gen_ai.metadata.")
_STEP_NAMES: Final = tuple((f"{prefix}langgraph_step", prefix) for prefix in _PREFIXES)
_NO_SOURCE: Final = ("to", "start", "__start__")
# Edges of one graph, for each of its nodes' runs; where a wide superstep follows a wide one, each has the fewest.
_EDGES_PER_NODE: Final = 32
_FEWEST_NODES: Final = 8


class Node(NamedTuple):
    """A step that is a run of a LangGraph node."""

    step: int
    name: str
    level: int
    triggers: Sequence[str]


def framework_edges(edges: Edges, flows: set[tuple[int, int]]) -> None:
    """Add the edges that LangGraph and OpenInference tell. ``flows``: pairs of siblings that data was seen to join."""
    _graph_nodes(edges)
    for group in edges.steps.groups.values():
        nodes = _nodes(edges.steps, group)
        if nodes:
            _langgraph(edges, nodes, flows)


def _nodes(steps: Steps, group: Sequence[int]) -> list[Node]:
    nodes = []
    for step in group:
        span = steps.tree.spans[steps.members[step][0]]
        found = langgraph_metadata(span)
        if found is None:
            continue
        level, name, triggers = found
        parent = steps.nested_in[step]
        if parent >= 0:
            above = langgraph_metadata(steps.tree.spans[steps.members[parent][0]])
            if above is not None and above[:2] == (level, name):
                continue  # what a node calls carries the node's metadata
        nodes.append(Node(step, name, level, triggers))
    return nodes


def langgraph_metadata(span: Span) -> tuple[int, str, Sequence[str]] | None:
    """(superstep, node, triggers) of a span, or None."""
    attributes = span.attributes
    if not attributes:
        return None
    for name in ("metadata", "langgraph.metadata"):
        held = attributes.get(name)
        if held is None:
            continue
        if isinstance(held, str) and "langgraph_step" in held[:10_000]:
            try:
                held = json.loads(held)
            except (ValueError, RecursionError):
                continue
        if isinstance(held, dict) and "langgraph_step" in held:
            return _read_metadata(held, "")
    for name, prefix in _STEP_NAMES:
        if name in attributes:
            return _read_metadata(attributes, prefix)
    return None


def _read_metadata(held: dict[str, Any], prefix: str) -> tuple[int, str, Sequence[str]] | None:
    try:
        level = int(held[f"{prefix}langgraph_step"])
    except (TypeError, ValueError, OverflowError):
        return None
    triggers = held.get(f"{prefix}langgraph_triggers")
    if isinstance(triggers, str):
        try:
            triggers = json.loads(triggers)
        except (ValueError, RecursionError):
            triggers = [part.strip(" '\"()[]") for part in triggers.split(",")]
    listed = [one for one in triggers if isinstance(one, str)] if isinstance(triggers, (list, tuple)) else []
    return level, str(held.get(f"{prefix}langgraph_node", "")), listed


def _langgraph(edges: Edges, nodes: Sequence[Node], flows: set[tuple[int, int]]) -> None:
    by_level: dict[int, list[Node]] = {}
    for node in nodes:
        by_level.setdefault(node.level, []).append(node)
    latest: dict[str, list[Node]] = {}  # of each node's runs so far, those of its last superstep
    before: list[Node] = []
    handed = _handed(flows)
    left = _EDGES_PER_NODE * len(nodes)
    for level in sorted(by_level):
        is_next = bool(before) and before[0].level == level - 1
        routed: dict[str, list[Node]] | None = None
        for node in by_level[level]:
            edges.levels[node.step] = level
            edges.covered.add(node.step)
            named = _named(node, latest, before, left)
            left -= len(named)
            for one in named:
                edges.add(one.step, node.step, DECLARED, LANGGRAPH)
            if named or not before:
                continue
            fired: Sequence[Node] = ()
            if is_next and len(before) == 1:
                fired = before
            elif is_next:
                routed = _routed_to(edges, before) if routed is None else routed
                used = handed.get(node.step, ())
                fired = routed.get(node.name) or ([one for one in before if one.step in used] if used else ())
            fired = _bounded(fired, left)
            left -= len(fired)
            for one in fired:
                edges.add(one.step, node.step, INFERRED, LANGGRAPH)
            edges.inferred_triggers += bool(fired)
            if not fired:
                candidates = _bounded(before, left)
                left -= len(candidates)
                edges.unsettled[node.step] = [one.step for one in candidates]
        before = sorted(by_level[level], key=lambda node: edges.steps.ends[node.step])
        latest.update({name: [] for name in {node.name for node in before}})
        for node in before:
            latest[node.name].append(node)


def _bounded(nodes: Sequence[Node], left: int) -> Sequence[Node]:
    """All of them, in order of their ends, while edges are left for the graph; then the first and the last ones."""
    return nodes if len(nodes) <= max(left, _FEWEST_NODES) else [nodes[0], *nodes[1 - _FEWEST_NODES :]]


def _handed(flows: set[tuple[int, int]]) -> dict[int, set[int]]:
    """By step, those that handed it data."""
    found: dict[int, set[int]] = {}
    for before, after in flows:
        found.setdefault(after, set()).add(before)
    return found


def _named(node: Node, latest: Mapping[str, Sequence[Node]], before: Sequence[Node], left: int) -> list[Node]:
    """The runs named by triggers that can have fired: all of their sources ran, one of them in the superstep before."""
    found: list[Node] = []
    for sources in _sources(node.triggers):
        if before and all(source in latest for source in sources):
            runs = [latest[source] for source in sources]
            if any(one[0].level == before[0].level for one in runs):
                found += chain.from_iterable(_bounded(one, left) for one in runs)
    return found


def _routed_to(edges: Edges, before: Sequence[Node]) -> dict[str, list[Node]]:
    """By name of a node, those of the superstep before that sent it, as far as anything shows it."""
    found: dict[str, list[Node]] = {}
    for one in before:
        for name in routes_of(edges.steps, one.step, langgraph_metadata):
            found.setdefault(name, []).append(one)
    return found


def unsettled_edges(edges: Edges) -> None:
    """Assume what is still open: all candidates of a node of which the user says nothing. The only one that the user
    has not denied is inferred.
    """
    unsure = 0
    for step, candidates in edges.unsettled.items():
        if step in edges.settled:
            continue
        left = [before for before in candidates if not edges.stated.denies(before, step)]
        is_settled = len(left) == 1 < len(candidates)
        unsure += bool(left) and not is_settled
        for before in left:
            edges.add(before, step, INFERRED if is_settled else ASSUMED, LANGGRAPH)
    note = edges.steps.tree.note
    note(
        "inferred_trigger",
        "LangGraph nodes whose trigger (branch:to:…) does not name the node that they follow",
        "taken to follow what ran in the superstep before and sent them or handed them data, or was alone: inferred",
        edges.inferred_triggers,
    )
    note(
        "unnamed_trigger",
        "LangGraph nodes of which the trace does not say which node of the superstep before they follow",
        "assumed to need all of them; what the barrier costs is therefore not certain (--edges FILE settles it)",
        unsure,
    )


def _sources(triggers: Sequence[str]) -> list[list[str]]:
    """The nodes that each trigger names."""
    sources = []
    for trigger in triggers:
        parts = trigger.split(":")
        if parts[0] == "join" and len(parts) >= 3:
            sources.append(parts[1].split("+"))
        elif parts[0] == "branch" and len(parts) >= 4 and parts[1] not in _NO_SOURCE:
            sources.append([parts[1]])
        elif len(parts) == 1 and trigger not in _NO_SOURCE:
            sources.append([trigger])
    return sources


def _graph_nodes(edges: Edges) -> None:
    """``graph.node.parent_id`` names the node before."""
    steps = edges.steps
    latest: dict[str, int] = {}
    for step, members in enumerate(steps.members):
        attributes = steps.tree.spans[members[0]].attributes
        node, parent = attributes.get("graph.node.id"), attributes.get("graph.node.parent_id")
        if isinstance(parent, str) and parent in latest and parent != node:
            edges.add(latest[parent], step, DECLARED, GRAPH_NODE)
        if isinstance(node, str):
            latest[node] = step


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
