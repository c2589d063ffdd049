"""Spans that only wait: polls in a row, sleeps, the server's ``http receive``, calls that cover the work of others.

They win a naive critical path, and advice to run them side by side is nonsense.

Rules of this module:
- A client's span that holds the server's span as its child is no matter here: the tree says it already.
- A name alone makes a span a wait only where the name can mean nothing else.
- A row of polls is distinguished from a row of queries by its rhythm: pauses that are longer than the calls, and
  even. Long polls have no pauses: each lasts as long as the others, the last one is cut short, and it ends as the
  work of another service beside them ends.
- A call that covers another service's work may have children of its own: the innermost that holds the work covers it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from executor.tracing.attribute_names import WAIT_REASON
from harness.traces.spans.span_tree import Tree
from harness.traces.trace_model import Span

_SLEEP: Final = re.compile(
    r"(?:^|[\s._:/-])(?:sleep(?:ing)?|wait(?:ing)?(?:[_ -]?for[\w ]*)?|back-?off|delay|heartbeat|idle)(?:\(.*\))?$",
    re.IGNORECASE | re.ASCII,
)
# With how long: "Sleep 10s", "wait for 5 seconds", "Sleep ${time}".
_SLEEP_FOR: Final = re.compile(
    r"(?:^|[\s._:/-])(?:sleep(?:ing)?|wait(?:ing)?|pause|delay|back-?off)(?:[ _]for)?[ :=_(]+"
    r"(?:\d[\d.,]*\s*(?:ms|msec|s|secs?|seconds?|milliseconds?|m|mins?|minutes?|h|hours?)?|[$#%@]?\{[^{}]*\}|\$\w+)\)?$",
    re.IGNORECASE | re.ASCII,
)
_POLL: Final = re.compile(
    r"(?:^|[^a-z])(?:(?:long[_ -]?)?poll(?:ing|s)?|dequeue(?:_\w+)?|queue\.get|b[lr]pop|xread(?:group)?"
    r"|(?:dispatch|event|message|receive|consume|consumer|poll)[_ ]?loop)(?:$|[^a-z])",
    re.IGNORECASE | re.ASCII,
)
_SEND: Final = re.compile(
    r"send[_ ]?(?:message|request|task|prompt|query)|await|join|request|call|invoke", re.IGNORECASE
)
_SERVER_PLUMBING: Final = (" http receive", " http send", " websocket receive", " websocket send")
FEWEST_POLLS: Final = 3
# A pause between polls is at least this many times the poll, and varies by at most this much of itself.
_PAUSE_RATIO: Final = 2.0
_PAUSE_SPREAD_RATIO: Final = 0.25
# Long polls: pauses are at most that share of a poll, all but the last last as long, and the last is that much shorter.
_NO_PAUSE_RATIO: Final = 0.1
_SAME_LENGTH_RATIO: Final = 0.05
_CUT_SHORT_RATIO: Final = 0.9
# What a sleep waits for ends at most that much before it, or that share of it.
_SLEEP_SLACK_NANOSECONDS: Final = 2_000_000
_SLEEP_SLACK_RATIO: Final = 0.02
# What a loop that waits calls fills at most that share of it.
_HANDED_ON_RATIO: Final = 0.2
# Work beside a row of waits counts as what is waited for if it lasts at least that share of the row.
_BESIDE_RATIO: Final = 0.5
# Shorter pauses are work between two calls.
_SHORTEST_PAUSE_NANOSECONDS: Final = 20_000_000
# The share of other spans that may begin between the polls.
_OTHERS_RATIO: Final = 0.2
# The share of a span that the others' work must fill before the span counts as only covering it.
_COVERED_RATIO: Final = 0.8
# With children of its own: what of it the others' work must fill.
_WORK_RATIO: Final = 0.5
# How many of the spans around one are looked at.
_MOST_ABOVE: Final = 64
# How many spans beside one are looked at.
_MOST_BESIDE: Final = 256

POLL: Final = "polls"
SLEEP: Final = "sleeps"
PLUMBING: Final = "server plumbing"
COVERS: Final = "covers the work of others"


def waiting_spans(tree: Tree) -> dict[int, str]:
    """The spans that only wait, with the reason."""
    waiting = _waits_by_name(tree)
    long_polls: list[list[int]] = []
    for siblings in (tree.roots, *tree.children):
        if len(siblings) >= FEWEST_POLLS:
            starts = [tree.start[index] for index in siblings]
            for row in _rows(tree, siblings):
                between = bisect_left(starts, tree.start[row[-1]]) - bisect_right(starts, tree.start[row[0]])
                if between - (len(row) - 2) > _OTHERS_RATIO * len(row):
                    continue
                if _has_rhythm(tree, row):
                    waiting.update(dict.fromkeys(row, POLL))
                elif _are_long_polls(tree, row):
                    long_polls.append(row)
    _add_long_polls(tree, waiting, long_polls)
    return waiting


def _waits_by_name(tree: Tree) -> dict[int, str]:
    """Those that say so themselves."""
    waiting: dict[int, str] = {}
    by_name: dict[str, str | None] = {}
    for index, span in enumerate(tree.spans):
        name = span.name
        if name in by_name:
            reason = by_name[name]
        else:
            reason = by_name[name] = _reason_in_name(name)
        if tree.children[index]:
            if reason == POLL and _is_mostly_alone(tree, index):
                waiting[index] = POLL
            continue
        if "asgi.event.type" in span.attributes or WAIT_REASON in span.attributes:
            reason = PLUMBING
        if reason is not None:
            waiting[index] = reason
    return waiting


def _is_mostly_alone(tree: Tree, index: int) -> bool:
    """Whether what a span calls is but a small part of it: a loop that hands on what comes in."""
    called = _filled(tree, tree.children[index])
    return called <= _HANDED_ON_RATIO * (tree.end[index] - tree.start[index])


def _reason_in_name(name: str) -> str | None:
    if name.endswith(_SERVER_PLUMBING):
        return PLUMBING
    if _SLEEP.search(name[-100:]) or _SLEEP_FOR.search(name[-100:]):
        return SLEEP
    return POLL if _POLL.search(name[:200]) else None


def _rows(tree: Tree, siblings: Sequence[int]) -> list[list[int]]:
    """Childless siblings of one name and service, one after the other without overlap, at least three in a row."""
    rows: dict[tuple[str, str], list[int]] = {}
    for index in siblings:
        if not tree.children[index]:
            span = tree.spans[index]
            rows.setdefault((span.name, span.service), []).append(index)
    return [
        row
        for row in rows.values()
        if len(row) >= FEWEST_POLLS and all(tree.end[one] <= tree.start[next_one] for one, next_one in pairwise(row))
    ]


def _has_rhythm(tree: Tree, row: Sequence[int]) -> bool:
    pauses = [tree.start[later] - tree.end[one] for one, later in pairwise(row)]
    middle = median(pauses)
    usual_call = median(tree.end[one] - tree.start[one] for one in row)
    if middle < max(_SHORTEST_PAUSE_NANOSECONDS, _PAUSE_RATIO * usual_call):
        return False
    even = sum(1 for pause in pauses if abs(pause - middle) <= _PAUSE_SPREAD_RATIO * middle)
    return even >= 0.8 * len(pauses)


def _are_long_polls(tree: Tree, row: Sequence[int]) -> bool:
    """Whether they may be: as long as each other without pauses, and the last one cut short."""
    lengths = [tree.end[index] - tree.start[index] for index in row]
    usual = median(lengths[:-1])
    return (
        usual > 0
        and lengths[-1] < _CUT_SHORT_RATIO * usual
        and all(abs(length - usual) <= _SAME_LENGTH_RATIO * usual for length in lengths[:-1])
        and all(tree.start[later] - tree.end[one] <= _NO_PAUSE_RATIO * usual for one, later in pairwise(row))
    )


def _add_long_polls(tree: Tree, waiting: dict[int, str], rows: Sequence[Sequence[int]]) -> None:
    """Those rows with whose last call the work of another service ended."""
    if not rows:
        return
    work = sorted(
        (tree.end[index], index)
        for index in range(len(tree.spans))
        if index not in waiting and not tree.children[index]
    )
    ends = [end for end, _ in work]
    for row in rows:
        begin, last = tree.start[row[0]], row[-1]
        first, behind = bisect_left(ends, tree.start[last]), bisect_right(ends, tree.end[last])
        for _, index in work[max(first, behind - _MOST_BESIDE) : behind]:
            if tree.spans[index].service == tree.spans[last].service or tree.start[index] >= tree.start[last]:
                continue
            if tree.end[index] - max(begin, tree.start[index]) >= _BESIDE_RATIO * (tree.end[last] - begin):
                waiting.update(dict.fromkeys(row, POLL))
                break


def adopt_covered(tree: Tree, waiting: dict[int, str]) -> int:
    """A call beside the work that it waits for becomes the parent of that work. Returns how many calls did."""
    adopted = 0
    for group, siblings in [(-1, tree.roots), *enumerate(tree.children)]:
        if len(siblings) > 1:
            adopted += _adopt_among(tree, waiting, group, siblings)
    if adopted:
        tree.regroup()
    return adopted


def _adopt_among(tree: Tree, waiting: dict[int, str], group: int, siblings: Sequence[int]) -> int:
    adopted = 0
    start, end, parent = tree.start, tree.end, tree.parent
    if len({tree.spans[index].service for index in siblings}) == 1:
        return 0
    for place, index in enumerate(siblings):
        span = tree.spans[index]
        if parent[index] != group or index in waiting or end[index] == start[index] or not _is_call(span):
            continue
        inside = []
        for beside in range(place + 1, min(len(siblings), place + 1 + _MOST_BESIDE)):
            other = siblings[beside]
            if start[other] >= end[index]:
                break
            if end[other] <= end[index] and parent[other] == group and tree.spans[other].service != span.service:
                inside.append(other)
        if inside:
            holder = _innermost(tree, index, inside)
            if holder is not None:
                for other in inside:
                    parent[other] = holder
                waiting[holder] = COVERS
                adopted += 1
    return adopted


def _is_call(span: Span) -> bool:
    if span.kind in ("server", "consumer"):
        return False
    return span.kind in ("client", "producer") or _SEND.search(span.name) is not None


def _innermost(tree: Tree, index: int, inside: Sequence[int]) -> int | None:
    """The innermost call in a call that holds the work, if that work is most of what it does."""
    begin, finish = tree.start[inside[0]], max(tree.end[one] for one in inside)
    if _filled(tree, inside) < _COVERED_RATIO * (tree.end[index] - tree.start[index]) and not tree.children[index]:
        return None
    while True:
        holding = [
            child
            for child in tree.children[index][:_MOST_BESIDE]
            if tree.start[child] <= begin and tree.end[child] >= finish and _is_call(tree.spans[child])
        ]
        if len(holding) != 1:
            break
        index = holding[0]
    own = [child for child in tree.children[index][:_MOST_BESIDE] if child not in inside]
    length = tree.end[index] - tree.start[index]
    both = sorted([*own, *inside], key=lambda one: tree.start[one])
    is_most = _filled(tree, inside) >= _WORK_RATIO * length and _filled(tree, own) <= (1 - _WORK_RATIO) * length
    return index if is_most and _filled(tree, both) >= _COVERED_RATIO * length else None


def _filled(tree: Tree, spans: Sequence[int]) -> int:
    total, until = 0, 0
    for index in spans:  # in order of start
        total += max(0, tree.end[index] - max(until, tree.start[index]))
        until = max(until, tree.end[index])
    return total


def covered_waits(tree: Tree, waiting: dict[int, str]) -> set[int]:
    """Waits beside which the work that they wait for is in the trace: the path goes through that work, not them."""
    if not waiting:
        return set()
    work = sorted(
        (index for index in range(len(tree.spans)) if index not in waiting), key=lambda index: tree.end[index]
    )
    ends = [tree.end[index] for index in work]
    covered: set[int] = {index for index, reason in waiting.items() if reason == PLUMBING}
    for row in _groups(tree, waiting):
        begin, finish = tree.start[row[0]], tree.end[row[-1]]
        last_length = tree.end[row[-1]] - tree.start[row[-1]]
        if waiting[row[-1]] == SLEEP:  # it ends by itself, so only what ends with it can be what it waits for
            last_length = max(_SLEEP_SLACK_NANOSECONDS, int(_SLEEP_SLACK_RATIO * last_length))
        slack = max(last_length, _longest_pause(tree, row)) + 1
        first, last = bisect_left(ends, finish - slack), bisect_right(ends, finish)
        for index in work[max(first, last - _MOST_BESIDE) : last]:
            overlap = tree.end[index] - max(begin, tree.start[index])
            if overlap >= _BESIDE_RATIO * (finish - begin) and not _is_above(tree, index, row):
                covered.update(row)
                break
    return covered


def _is_above(tree: Tree, index: int, row: Sequence[int]) -> bool:
    """Whether a span holds one of these waits, and may so only be as long as they are."""
    if not tree.children[index]:
        return False
    for at in {tree.parent[one] for one in row}:
        above = at
        for _ in range(_MOST_ABOVE):
            if above in (index, -1):
                break
            above = tree.parent[above]
        if above != -1:  # or so deep that the search ended
            return True
    return False


def _groups(tree: Tree, waiting: dict[int, str]) -> list[list[int]]:
    """Polls by row; every other wait alone."""
    rows: dict[tuple[int, str, str], list[int]] = {}
    for index, reason in waiting.items():
        if reason == POLL:
            span = tree.spans[index]
            rows.setdefault((tree.parent[index], span.name, span.service), []).append(index)
        elif reason == SLEEP:
            rows[(index, "", "")] = [index]
    return [sorted(row, key=lambda index: tree.start[index]) for row in rows.values()]


def _longest_pause(tree: Tree, row: Sequence[int]) -> int:
    return max((tree.start[later] - tree.end[one] for one, later in pairwise(row)), default=0)
