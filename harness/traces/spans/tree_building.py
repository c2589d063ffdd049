"""Makes a tree with consistent times of the spans of a trace, whatever the trace lacks.

Rules of this module:
- No recursion: a trace may nest 100,000 deep. One pass each for ids, parents, cycles, order, ends.
- Nothing is dropped but exact duplicates; every repair is a finding with its effect.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.traces.spans.clock_skew import correct_skew
from harness.traces.spans.span_tree import NO_PARENT, Tree
from harness.traces.trace_model import FOLLOWS_FROM, REFERENCE_TYPE, Span, TraceFinding


def span_tree(spans: Sequence[Span], findings: Sequence[TraceFinding] = ()) -> Tree:
    """The tree of a trace's spans, with what had to be repaired."""
    kept, index_of, shared, notes = _without_duplicates(spans)
    tree = Tree(
        spans=kept,
        parent=[NO_PARENT] * len(kept),
        start=[span.start for span in kept],
        end=[span.start if span.end is None else span.end for span in kept],
        index_of=index_of,
        findings=[*findings, *notes],
    )
    _find_parents(tree, shared)
    _break_cycles(tree)
    _arrange(tree)
    _mend_ends(tree)
    correct_skew(tree)
    _sort_children(tree)
    return tree


def _without_duplicates(
    spans: Sequence[Span],
) -> tuple[Sequence[Span], dict[str, int], dict[int, int], list[TraceFinding]]:
    """The spans, each once; their place by id; and by the place of a span of a doubled id, that of the first."""
    index_of = {span.span_id: index for index, span in enumerate(spans)}
    if len(index_of) == len(spans):
        return spans, index_of, {}, []
    index_of = {}
    kept: list[Span] = []
    shared: dict[int, int] = {}
    copies = 0
    seen: dict[str, set[tuple[str, int, int | None, str]]] = {}
    for span in spans:
        first = index_of.get(span.span_id)
        facts = (span.name, span.start, span.end, span.kind)
        if first is None:
            index_of[span.span_id] = len(kept)
            seen[span.span_id] = {facts}
        elif facts in seen[span.span_id]:
            copies += 1
            continue
        else:
            seen[span.span_id].add(facts)
            shared[len(kept)] = first
        kept.append(span)
    notes = []
    if copies:
        notes.append(TraceFinding("duplicate_span", "spans that were exported more than once", "counted once", copies))
    if shared:
        effect = "all are kept; children and links belong to the first of them"
        notes.append(TraceFinding("duplicate_id", "spans that share their id with another one", effect, len(shared)))
    return kept, index_of, shared, notes


def _find_parents(tree: Tree, shared: dict[int, int]) -> None:
    missing = own = 0
    followers: list[int] = []
    parent, index_of = tree.parent, tree.index_of
    for index, span in enumerate(tree.spans):
        wanted = span.parent_id
        if wanted is None:
            if span.links:
                followers.append(index)
            continue
        found = index_of.get(wanted)
        if found is None:
            missing += 1
        elif wanted == span.span_id and index not in shared:
            own += 1
        elif found != index:
            parent[index] = found
    for index, first in shared.items():
        # Zipkin's way: server and client share an id. The server's span is the client's child.
        if tree.spans[index].kind == "server" and tree.spans[first].kind == "client":
            parent[index] = first
    _parents_of_followers(tree, followers)
    tree.note(
        "missing_parent",
        "spans whose parent is not in the trace (sampled, truncated or not exported)",
        "they stand at the top, beside the root; what their parent did is unknown",
        missing,
    )
    tree.note("own_parent", "spans that name themselves as their parent", "they stand at the top", own)


def _parents_of_followers(tree: Tree, followers: Sequence[int]) -> None:
    """The parent of a span that only follows another: that one if it began while it ran, else that one's parent."""
    # Through the one who follows another itself one comes to that one's parent, so each is settled once.
    open_ones = dict.fromkeys(followers)
    for index in followers:
        chain: list[int] = []
        at = index
        while at in open_ones:
            del open_ones[at]
            chain.append(at)
            at = _followed(tree, at)
        for one in reversed(chain):
            followed = _followed(tree, one)
            if followed not in (NO_PARENT, one):
                is_within = tree.start[followed] <= tree.start[one] < tree.end[followed]
                tree.parent[one] = followed if is_within else tree.parent[followed]


def _followed(tree: Tree, index: int) -> int:
    """The first span of the trace that it says it follows."""
    for link in tree.spans[index].links:
        if link.attributes.get(REFERENCE_TYPE) == FOLLOWS_FROM:
            other = tree.index_of.get(link.span_id)
            if other is not None and other != index:
                return other
    return NO_PARENT


def _break_cycles(tree: Tree) -> None:
    """Cut each cycle of parents at its earliest span."""
    parent = tree.parent
    state = bytearray(len(parent))  # 0 new, 1 on the way, 2 done
    cut = 0
    for index in range(len(parent)):
        path = []
        at = index
        while at != NO_PARENT and state[at] == 0:
            state[at] = 1
            path.append(at)
            at = parent[at]
        if at != NO_PARENT and state[at] == 1:
            cycle = path[path.index(at) :]
            parent[min(cycle, key=lambda member: (tree.start[member], member))] = NO_PARENT
            cut += 1
        for visited in path:
            state[visited] = 2
    tree.note(
        "parent_cycle",
        "cycles of spans that are each other's ancestors",
        "the earliest span of each is at the top",
        cut,
    )


def _arrange(tree: Tree) -> None:
    """Children, roots, and an order in which parents come first."""
    count = len(tree.parent)
    children: list[list[int]] = [[] for _ in range(count)]
    roots = []
    for index, parent in enumerate(tree.parent):
        if parent == NO_PARENT:
            roots.append(index)
        else:
            children[parent].append(index)
    order = list(roots)
    for index in order:
        if children[index]:
            order.extend(children[index])
    tree.children, tree.roots, tree.order = children, roots, order
    orphans = sum(1 for root in roots if tree.spans[root].parent_id is not None)
    if len(roots) - orphans > 1:
        tree.note("several_roots", "spans without a parent", "all are counted, side by side", len(roots) - orphans)
    elif not len(roots) - orphans and count:
        tree.note("no_root", "no span without a parent", "those whose parent is missing stand at the top")


def _mend_ends(tree: Tree) -> None:
    start, end = tree.start, tree.end
    unended = {index for index, span in enumerate(tree.spans) if span.end is None}
    negative = 0
    for index in range(len(end)):
        if end[index] < start[index]:
            end[index] = start[index]
            negative += 1
    if unended:
        for index in reversed(tree.order):
            if index in unended:
                end[index] = max([start[index], *(end[child] for child in tree.children[index])])
    tree.note(
        "no_end",
        "spans without an end (still running, or the process died)",
        "they end with their last child, and without one where they start: their own time is missing",
        len(unended),
    )
    tree.note("negative_duration", "spans that end before they start", "they count as taking no time", negative)


def _sort_children(tree: Tree) -> None:
    start, end = tree.start, tree.end
    for siblings in tree.children:
        if len(siblings) > 1:
            siblings.sort(key=lambda index: (start[index], end[index], index))
    tree.roots.sort(key=lambda index: (start[index], end[index], index))
