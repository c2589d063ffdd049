"""Families of steps that are alike, so that a cause gets a name: copies, items of one list, steps of one tool or host.

Rules of this module:
- Pure. A step by itself says little: copies swap places, and each call varies. A family is judged by its median.
- A family is named where its steps grew and the others did not; else none is. Of several that say the same it is the
  plainest: copies before items, addresses, tools and hosts.
- Copies and items are known by their ids, as scenario files and mapped steps give them: ``page-3``, ``page/3``.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from executor.record.timeline import NANOSECONDS, Timeline
from harness.analysis.attempt_index import AttemptIndex, ended_of, started_of
from harness.analysis.failures import tool_of
from harness.plain_text import duration_texts, one_line

Kind = Literal["copies", "items", "address", "tool", "host"]
_KINDS: Final[tuple[Kind, ...]] = ("copies", "items", "address", "tool", "host")
_COPY: Final = re.compile(r"-\d+(?=/|$)")
_ITEM: Final = re.compile(r"/\d+$")
# What a family has to account for, and how much it has to grow (about a tenth).
_MOST_RATIO: Final = 0.5
_LEAST_GROWTH: Final = 0.1
# How much more it has to explain than chance does: 1 in 200 for one family of a dozen steps.
_LEAST_F: Final = 12.0
# Facts by which attempts say whom they asked (OpenTelemetry's names).
HOST_FACT: Final = "server.address"
PORT_FACT: Final = "server.port"
PATH_FACT: Final = "url.path"


@dataclass(frozen=True, slots=True)
class Family:
    """Steps that are alike, at least two."""

    kind: Kind
    name: str
    step_ids: frozenset[str]

    def __str__(self) -> str:
        name = f"`{one_line(self.name, 60)}`"
        return {"items": f"items of {name}", "tool": f"tool {name}", "host": f"host {name}"}.get(self.kind, name)


@dataclass(frozen=True, slots=True)
class SlowFamily:
    """A family that ran longer beside others: medians of a call alone and beside others, and how many of it at once."""

    family: Family
    alone_seconds: float
    beside_seconds: float
    at_once: int

    def __str__(self) -> str:
        alone, beside = duration_texts(self.alone_seconds, self.beside_seconds)
        return f"{self.family}: {alone} alone, {beside} with {self.at_once} at once"


def families(
    step_ids: Iterable[str],
    tools: Mapping[str, str | None] | None = None,
    asked: Mapping[str, tuple[str, str]] | None = None,
) -> list[Family]:
    """Every family of two steps or more. ``tools`` and ``asked``, host and path, are by step id."""
    found: dict[tuple[Kind, str], set[str]] = {}
    for step_id in step_ids:
        copied = _COPY.sub("", step_id)
        if copied != step_id:
            found.setdefault(("copies", _ITEM.sub("", copied)), set()).add(step_id)
        if _ITEM.search(copied):
            found.setdefault(("items", _ITEM.sub("", copied)), set()).add(step_id)
        if (tool := (tools or {}).get(step_id)) is not None:
            found.setdefault(("tool", tool), set()).add(step_id)
        if (server := (asked or {}).get(step_id)) is not None:
            host, path = server
            found.setdefault(("host", host), set()).add(step_id)
            if path:
                found.setdefault(("address", host + path), set()).add(step_id)
    return [Family(kind, name, frozenset(ids)) for (kind, name), ids in found.items() if len(ids) > 1]


def asked_in(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Host (with its port) and path that an attempt asked, as far as it says."""
    address, port = facts.get(HOST_FACT), facts.get(PORT_FACT)
    if address is None:
        return None
    return str(address) if port is None else f"{address}:{port}", str(facts.get(PATH_FACT) or "")


def slow_family(
    runs: Sequence[tuple[Timeline, Timeline]], asked: Mapping[str, tuple[str, str]] | None = None
) -> SlowFamily | None:
    """The family whose steps ran longer beside others than alone, where one accounts for most of it. ``runs``: each run
    with the serial one that it is paired with.
    """
    beside = _median_seconds(run for run, _ in runs)
    alone = _median_seconds(serial for _, serial in runs)
    both = [step_id for step_id in beside if alone.get(step_id, 0.0) > 0.0]
    last = runs[-1][0]
    tools = {step_id: tool_of(last, place) for place, step_id in enumerate(last.step_ids)}
    chosen = most_of(families(both, tools, asked), alone, beside)
    if chosen is None:
        return None
    return SlowFamily(
        chosen,
        statistics.median(alone[step_id] for step_id in chosen.step_ids),
        statistics.median(beside[step_id] for step_id in chosen.step_ids),
        max(_most_at_once(run, chosen.step_ids) for run, _ in runs),
    )


def most_of(candidates: Iterable[Family], before: Mapping[str, float], after: Mapping[str, float]) -> Family | None:
    """The family that grew while the other steps did not, where one accounts for most of what grew. ``before`` and
    ``after``: seconds of each step.

    Least squares over the logarithms of growth: the steps of the family share a mean, the others have grown by nothing.
    The family with the smallest rest is chosen, if it explains far more than chance would (an F test against nothing).
    """
    both = [step_id for step_id in after if before.get(step_id, 0.0) > 0.0 and after[step_id] > 0.0]
    growth = {step_id: math.log(after[step_id] / before[step_id]) for step_id in both}
    excess = {step_id: after[step_id] - before[step_id] for step_id in both}
    grown = sum(value for value in excess.values() if value > 0)
    whole = sum(value * value for value in growth.values())
    found: list[tuple[tuple[float, int], Family]] = []
    for family in candidates:
        members = [growth[step_id] for step_id in family.step_ids if step_id in growth]
        mean = statistics.fmean(members) if members else 0.0
        explained = len(members) * mean * mean
        rest = whole - explained
        covered = sum(excess.get(step_id, 0.0) for step_id in family.step_ids)
        if mean < _LEAST_GROWTH or covered < _MOST_RATIO * grown:
            continue
        if explained * max(1, len(growth) - 1) >= _LEAST_F * rest:
            found.append(((rest, _KINDS.index(family.kind)), family))
    return min(found, key=lambda one: one[0])[1] if found else None


def _median_seconds(timelines: Iterable[Timeline]) -> dict[str, float]:
    """The run time of each step, all its attempts together: the median over the runs."""
    seconds: dict[str, list[float]] = {}
    for timeline in timelines:
        index = AttemptIndex(timeline)
        spent: dict[str, int] = {}
        for attempt in index.ended:
            spent[attempt.step_id] = spent.get(attempt.step_id, 0) + index.run_nanoseconds(attempt)
        for step_id, nanoseconds in spent.items():
            seconds.setdefault(step_id, []).append(nanoseconds / NANOSECONDS)
    return {step_id: statistics.median(values) for step_id, values in seconds.items()}


def _most_at_once(timeline: Timeline, step_ids: frozenset[str]) -> int:
    changes: list[tuple[int, int]] = []
    for attempt in timeline.attempts:
        if attempt.step_id in step_ids and attempt.ended is not None:
            changes += ((started_of(attempt), 1), (ended_of(attempt), -1))
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
