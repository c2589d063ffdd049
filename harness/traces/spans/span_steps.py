"""Which spans are steps: all that work, with retries as attempts of one step, and without what only envelops the run.

Rules of this module:
- A span with children is a step that is blocked while they run. One that holds the whole trace is an envelope.
- A child that outlasts its parent, or begins after it, is no call of it: it moves up to the ancestor that holds it.
- A call that failed and was made again next is a retry: the same step, its next attempt.
- Steps are listed in order of start, and none before the one that holds it. Ids are the names, printable and unique.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from executor.model.findings import printable
from executor.tracing.attribute_names import STEP_ID
from harness.traces.spans.place_waits import begin_with_place
from harness.traces.spans.span_tree import NO_PARENT, Tree
from harness.traces.spans.waiting_spans import adopt_covered, covered_waits, waiting_spans

# A child may end this much after its parent before it counts as outlasting it (or this share of the parent).
_TOLERANCE_NANOSECONDS = 1_000_000
_TOLERANCE_RATIO = 0.01
# A server closes its span when its answer is away: on a busy machine a while after the caller has it.
_SERVER_TOLERANCE_NANOSECONDS = 5_000_000
_SERVER_TOLERANCE_RATIO = 0.1
# An only child fills at least this share of an envelope that is only there to hold it.
_ENVELOPE_RATIO = 0.95
_LONGEST_ID = 200


@dataclass(slots=True)
class Steps:
    """``members[i]``: the spans of step i, one an attempt. ``step_of``: by span, its step; for an envelope or a wait
    that is left out, that of the nearest ancestor which is one, or -1. ``groups``: the steps by ``nested_in``, each
    group in order of start. ``followed``: (span, span that began after it and was its child). ``outlasting``: (span,
    span that began in it, was its child, and went on after it). ``starts``, ``ends``: by step, when its first attempt
    began and its last one ended.
    """

    tree: Tree
    members: list[list[int]] = field(default_factory=list)
    step_of: list[int] = field(default_factory=list)
    nested_in: list[int] = field(default_factory=list)
    groups: dict[int, list[int]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    envelopes: list[int] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)
    followed: list[tuple[int, int]] = field(default_factory=list)
    outlasting: list[tuple[int, int]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


def find_steps(tree: Tree) -> Steps:
    """The steps of a trace."""
    steps = Steps(tree)
    _move_outlasting(tree, steps)
    steps.waiting = waiting_spans(tree)
    adopted = adopt_covered(tree, steps.waiting)
    tree.note(
        "covers_work",
        "calls that only cover the work of another service beside them",
        "the path goes through the work",
        adopted,
    )
    tree.note(
        "waits_for_place",
        "calls that wait inside their span until another one has ended",
        "they begin when they had their place",
        begin_with_place(tree, steps.waiting),
    )
    steps.left_out = covered_waits(tree, steps.waiting)
    waits = len(steps.left_out)
    tree.note(
        "waits_left_out", "spans that only wait while others work", "left out: the path goes through the work", waits
    )
    steps.envelopes = _envelopes(tree, steps.left_out)
    _number(steps)
    _name(steps)
    return steps


def _move_outlasting(tree: Tree, steps: Steps) -> None:
    parent, start, end = tree.parent, tree.start, tree.end
    moved = followed = 0
    holders = _Holders(tree)
    cut: dict[int, int] = {}  # how much earlier an end was put: what ended with it may end as much later
    for index in tree.order:
        above = parent[index]
        if above == NO_PARENT:
            continue
        holders.enter(above)
        tolerance = _tolerance(tree, above, index) + cut.get(above, 0)
        if start[above] <= start[index] and end[index] <= end[above]:
            continue
        if start[index] < start[above] and start[index] >= start[above] - tolerance:
            start[index], end[index] = start[above], max(start[above], end[index])
        if end[above] < end[index] <= end[above] + tolerance and start[index] < end[above]:
            cut[index] = end[index] - end[above]
            end[index] = end[above]
        if end[index] <= end[above]:
            continue
        if start[index] >= end[above]:
            steps.followed.append((above, index))
            followed += 1
        else:
            steps.outlasting.append((above, index))
            moved += 1
        parent[index] = holders.above(index, above)
    if moved or followed:
        tree.regroup()
    tree.note(
        "outlasts_parent", "children that go on after their parent ended", "they count beside it, not within it", moved
    )
    tree.note(
        "after_parent", "children that begin after their parent ended", "they follow it, and count beside it", followed
    )


class _Holders:
    """Which ancestor of a span lasts long enough, in O(log depth): each ends no sooner than those below it.

    Source: jump pointers (Myers 1983).
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._jump = [NO_PARENT] * len(tree.parent)
        self._depth = [0] * len(tree.parent)

    def enter(self, index: int) -> None:
        """Note a span whose parent is settled, and entered; once more does no harm."""
        jump, depth = self._jump, self._depth
        if jump[index] != NO_PARENT:
            return
        parent = self._tree.parent[index]
        if parent == NO_PARENT:
            jump[index] = index
            return
        depth[index] = depth[parent] + 1
        far = jump[parent]
        is_far = depth[parent] - depth[far] == depth[far] - depth[jump[far]]
        jump[index] = jump[far] if is_far else parent

    def above(self, index: int, at: int) -> int:
        """The nearest of a span (entered) and its ancestors that ends no sooner than the other one, else none."""
        parent, end = self._tree.parent, self._tree.end
        while at != NO_PARENT and end[at] < end[index]:
            far = self._jump[at]
            at = far if far != at and end[far] < end[index] else parent[at]
        return at


def _tolerance(tree: Tree, parent: int, child: int) -> int:
    length = tree.end[parent] - tree.start[parent]
    if tree.spans[parent].kind == "client" and tree.spans[child].kind == "server":
        return max(_SERVER_TOLERANCE_NANOSECONDS, int(_SERVER_TOLERANCE_RATIO * length))
    return max(_TOLERANCE_NANOSECONDS, int(_TOLERANCE_RATIO * length))


def _envelopes(tree: Tree, left_out: set[int]) -> list[int]:
    """The one root, and what it holds as long as that is one span that fills it."""
    envelopes: list[int] = []
    level = tree.roots
    while len(level) == 1 and tree.children[level[0]]:
        index = level[0]
        if envelopes:
            outer = envelopes[-1]
            if tree.end[index] - tree.start[index] < _ENVELOPE_RATIO * (tree.end[outer] - tree.start[outer]):
                break
        inside = [child for child in tree.children[index] if child not in left_out]
        if not inside:
            break
        envelopes.append(index)
        level = inside
    return envelopes


def _number(steps: Steps) -> None:
    tree = steps.tree
    apart = {*steps.envelopes, *steps.left_out}
    retried = _retries(steps, apart)
    step_of = [-1] * len(tree.order)
    listed = [index for index in tree.order if index not in apart and index not in retried]
    places = _places(tree)
    listed.sort(key=places.__getitem__)
    for step, index in enumerate(listed):
        step_of[index] = step
    steps.members = [[index] for index in listed]
    for index, first in retried.items():  # in order of start
        step_of[index] = step_of[first]
        steps.members[step_of[first]].append(index)
    above = [-1] * len(tree.order)  # by span: the step that it is nested in
    for index in tree.order:
        parent = tree.parent[index]
        if parent != NO_PARENT:
            above[index] = step_of[parent]
        if index in apart:
            step_of[index] = above[index]
    steps.step_of = step_of
    steps.nested_in = [above[members[0]] for members in steps.members]
    steps.starts = [tree.start[members[0]] for members in steps.members]
    steps.ends = [tree.end[members[-1]] for members in steps.members]
    for step, parent in enumerate(steps.nested_in):
        steps.groups.setdefault(parent, []).append(step)


def _places(tree: Tree) -> list[tuple[int, int, int]]:
    """Sort keys for spans: in order of start, and none before the one that holds it, where clocks say otherwise."""
    places = [(0, 0, 0)] * len(tree.order)
    start, parent = tree.start, tree.parent
    for index in tree.order:
        begun, above = start[index], parent[index]
        if above == NO_PARENT:
            places[index] = begun, 0, begun
        else:
            held, depth, _ = places[above]
            places[index] = (max(held, begun)), depth + 1, begun
    return places


def _retries(steps: Steps, apart: set[int]) -> dict[int, int]:
    """By the span of a further attempt, that of the first one; in order of start within each step."""
    tree = steps.tree
    retried: dict[int, int] = {}
    for siblings in (tree.roots, *tree.children):
        if len(siblings) < 2:
            continue
        before: dict[tuple[str, str, str | None], int] = {}
        for index in siblings:
            span = tree.spans[index]
            if index in apart:
                continue
            own_id = span.attributes.get(STEP_ID)
            key = (span.name, span.service, own_id if isinstance(own_id, str) else None)
            last = before.get(key)
            if (
                last is not None
                and tree.spans[last].status == "error"
                and tree.end[last] <= tree.start[index]
                and _same_call(tree, last, index)
            ):
                retried[index] = retried.get(last, last)
            before[key] = index
    return retried


def _same_call(tree: Tree, first: int, second: int) -> bool:
    """Whether two spans of one name call for the same: what they were given agrees wherever both say it."""
    one, other = tree.spans[first].attributes, tree.spans[second].attributes
    return all(
        one.get(key) == other.get(key)
        for key in ("input.value", "url.full", "http.url", "http.target", "url.path", "db.query.text", "db.statement",
                    "gen_ai.tool.call.arguments", "gen_ai.input.messages", "traceloop.entity.input")
    )  # fmt: skip


def _name(steps: Steps) -> None:
    used: dict[str, int] = {}
    taken: set[str] = set()
    shown: dict[str, str] = {}
    tree = steps.tree
    for members in steps.members:
        span = tree.spans[members[0]]
        own_id = span.attributes.get(STEP_ID) if span.attributes else None
        given = own_id if isinstance(own_id, str) else span.name
        name = shown.get(given) or shown.setdefault(given, shown_name(given))
        number = used.get(name, 0) + 1
        step_id = name if number == 1 else f"{name}#{number}"
        while step_id in taken:
            number += 1
            step_id = f"{name}#{number}"
        used[name] = number
        taken.add(step_id)
        steps.ids.append(step_id)
        steps.names.append(name)


def shown_name(name: str, shortest: Sequence[str] = ("span",)) -> str:
    """A span's name as one printable line of bounded length; "span" for one without."""
    short = name[:_LONGEST_ID]
    if not short.isprintable():
        short = printable(" ".join(short.split())).replace("\n", " ")
    return short.strip() or shortest[0]
