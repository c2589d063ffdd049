"""Which spans were handed everything there was so far, and not what they use.

A framework such as LangGraph hands its whole state to each node: each earlier output then is in each later input,
and is no evidence of what is used.

Rules of this module:
- A node of LangGraph is handed the state, unless it was sent by ``Send``, which carries what the node gets. So is what
  is in the node and was given as much, save tools and models.
- What is in the messages to a model is used, however much that is.
- Of other spans those of one kind are looked at together: where each was given the run's own input and all that those
  before it had put out, it was the state. Where many lack something, what they are given was chosen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.traces.edges.framework_edges import langgraph_metadata
from harness.traces.edges.lineage import Lineage
from harness.traces.spans.span_steps import Steps
from harness.traces.trace_model import Span

_SENT: Final = "__pregel_push"
_KINDS: Final = ("openinference.span.kind", "traceloop.span.kind")
# What a model was asked.
_MESSAGES: Final = ("gen_ai.input.messages", "gen_ai.prompt", "llm.input_messages.")
# The share of spans that were not given all there was, from which on what they are given counts as chosen.
_CHOICE_RATIO: Final = 0.25
# Outputs that must stand in an input before it counts as all of them.
_ENOUGH: Final = 16
# How many of the spans around one are looked at for what was put out beside them.
_LEVELS: Final = 8


@dataclass(frozen=True, slots=True)
class Use:
    """A span (and its step) that was given something, and the steps that had put that out. ``looks_like_state``: what
    the run itself was given was among it. ``is_whole``: no source was left out.
    """

    span: int
    step: int
    sources: Sequence[int]
    looks_like_state: bool
    is_whole: bool = True


def chosen_uses(
    steps: Steps, uses: Sequence[Use], sources: Iterable[int], given: Callable[[Span], Sequence[str]]
) -> list[Use]:
    """Those of the uses that were given what they use. ``sources``: all steps that put out something. ``given``: the
    texts that a span was given.
    """
    lineage = Lineage(steps.nested_in)
    services = [steps.tree.spans[members[0]].service for members in steps.members]
    ends = _ends_by_caller(steps, sources, services)
    chosen: list[Use] = []
    doubtful: dict[str, list[Use]] = {}
    counts: dict[str, list[int]] = {}  # by kind: those before which something was put out, and those that lack some
    for use in uses:
        span = steps.tree.spans[use.span]
        if any(name.startswith(_MESSAGES) for name in span.attributes):
            chosen.append(use)
            continue
        if _is_handed_state(steps, use.span, given):
            continue
        kind = _kind(span)
        there_was = _put_out_before(steps, ends, use, span.service)
        pairs = (lineage.siblings(one, use.step) for one in use.sources)
        seen = {pair[0] for pair in pairs if pair is not None and services[pair[0]] == span.service}
        if there_was and use.is_whole:
            counted = counts.setdefault(kind, [0, 0])
            counted[0] += 1
            counted[1] += len(seen) < min(there_was, _ENOUGH)
        (doubtful.setdefault(kind, []) if use.looks_like_state else chosen).append(use)
    for kind, found in doubtful.items():
        among, lacking = counts.get(kind, (0, 0))
        if lacking > _CHOICE_RATIO * among:
            chosen += found
    return chosen


def _is_handed_state(steps: Steps, index: int, given: Callable[[Span], Sequence[str]]) -> bool:
    """Whether it is the run of a LangGraph node that was not sent, or something in it that was given as much."""
    tree = steps.tree
    if _is_node(steps, index):
        return True
    if _kind(tree.spans[index]).upper() == "TOOL":
        return False
    at = tree.parent[index]
    for _ in range(_LEVELS):
        if at < 0:
            return False
        if _is_node(steps, at):
            state = given(tree.spans[at])
            return bool(state) and set(state) <= set(given(tree.spans[index]))
        at = tree.parent[at]
    return False


def _is_node(steps: Steps, index: int) -> bool:
    tree = steps.tree
    found = langgraph_metadata(tree.spans[index])
    if found is None or _SENT in found[2]:
        return False
    parent = tree.parent[index]
    above = langgraph_metadata(tree.spans[parent]) if parent >= 0 else None
    return above is None or above[:2] != found[:2]


def _kind(span: Span) -> str:
    return next((str(span.attributes[name]) for name in _KINDS if name in span.attributes), "")


def _ends_by_caller(steps: Steps, sources: Iterable[int], services: Sequence[str]) -> dict[tuple[int, str], list[int]]:
    """By caller and service, when those of its calls ended that put out something, or in which something did."""
    tellers: set[int] = set()
    for source in sources:
        at = source
        while at >= 0 and at not in tellers:
            tellers.add(at)
            at = steps.nested_in[at]
    ends: dict[tuple[int, str], list[int]] = {}
    for step in tellers:
        ends.setdefault((steps.nested_in[step], services[step]), []).append(steps.ends[step])
    for listed in ends.values():
        listed.sort()
    return ends


def _put_out_before(steps: Steps, ends: dict[tuple[int, str], list[int]], use: Use, service: str) -> int:
    """How many spans beside it and beside those around it had put out something when it began. Those of another
    service do not count: its clock may differ.
    """
    begin, found, at = steps.tree.start[use.span], 0, use.step
    for _ in range(_LEVELS):
        if at < 0:
            break
        at = steps.nested_in[at]
        found += bisect_right(ends.get((at, service), ()), begin)
    return found
