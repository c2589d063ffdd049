"""A person's own edges: what needs what, by the names of spans.

As lines (``before -> after``, ``before -/> after`` for what is not needed; ``#`` begins a remark), or as JSON or YAML:
``{after: [before, "-/> not this", …]}``.

Rules of this module:
- A name is a span's id, a step's id (``name#2``), or a span's name, which means all that bear it.
- Of a name that recurs, each later span needs those before it since the last of its own name began: so a loop's
  second round needs the second round.
- Of a span that is said to need something, that is all it needs; of one that is said not to need something, the rest
  is as the trace has it.
- A name that is not in the trace is an error with the nearest one that is: a misspelt edge would change the figures.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final

from executor.model.findings import WorkflowError, did_you_mean, printable
from harness.traces.edges.lineage import Lineage
from harness.traces.spans.span_steps import Steps
from harness.traces.trace_model import TraceError

_DOCUMENTS = (".json", ".yaml", ".yml")
_LARGEST_BYTES = 16 * 1024 * 1024
_ARROW: Final = re.compile(r"-/?>|→|↛")
_NEEDED: Final = ("->", "→")
# Of names that many spans bear, so many edges a span; then each span needs so many of the last ones.
_EDGES_PER_SPAN: Final = 32
_MOST_PAIRS: Final = 10_000


@dataclass(slots=True)
class StatedEdges:
    """``needed``: (step, step that needs it). ``denied``: by step, sets of steps that it does not need; a set is shared
    by all that bear a name.
    """

    needed: list[tuple[int, int]] = field(default_factory=list)
    denied: dict[int, list[set[int]]] = field(default_factory=dict)

    def denies(self, before: int, after: int) -> bool:
        """Whether it was stated that the second does not need the first."""
        return any(before in those for those in self.denied.get(after, ()))


def edges_of_file(path: str | Path, steps: Steps, lineage: Lineage) -> StatedEdges:
    """What the file says.

    Raises:
        TraceError: the file cannot be read, or names a span that is not there.

    """
    named = _steps_by_name(steps)
    stated = StatedEdges()
    unused = 0
    for place, before, after, needs in _pairs(path):
        sources, users = (_named(named, name, place) for name in (before, after))
        if needs:
            joined = list(_joined(steps, sources, users))
            unused += not joined
            stated.needed += joined
        else:
            _deny(stated, lineage, sources, users)
    steps.tree.note(
        "contradicted_edge",
        "edges of the file between spans of which the one had not ended when the other began",
        "left out: the times say that there was none",
        unused,
    )
    return stated


def _deny(stated: StatedEdges, lineage: Lineage, sources: Sequence[int], users: Sequence[int]) -> None:
    those = set(sources)
    for user in users:
        stated.denied.setdefault(user, []).append(those)
    if len(sources) * len(users) <= _MOST_PAIRS:  # spans in different parents: what is denied is the parents' relation
        for source, user in product(sources, users):
            pair = lineage.siblings(source, user)
            if pair is not None and pair != (source, user):
                stated.denied.setdefault(pair[1], []).append({pair[0]})


def _pairs(path: str | Path) -> Iterator[tuple[str, str, str, bool]]:
    """(place, before, after, whether it is needed) as they stand in the file."""
    if str(path).lower().endswith(_DOCUMENTS):
        yield from _pairs_of_document(path)
        return
    shown = printable(str(path))
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise TraceError(f"{shown}: cannot be read: {error.strerror or error}") from None
    if len(content) > _LARGEST_BYTES:
        raise TraceError(f"{shown}: larger than {_LARGEST_BYTES >> 20} MiB; is it a file of edges?")
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        found = _ARROW.search(text)
        before, after = (text[: found.start()].strip(), text[found.end() :].strip()) if found else ("", "")
        if found is None or not before or not after:
            raise TraceError(f"{shown}:{number}: is no edge; write `before -> after` or `before -/> after`, one a line")
        yield f"{shown}:{number}", before, after, found[0] in _NEEDED


def _pairs_of_document(path: str | Path) -> Iterator[tuple[str, str, str, bool]]:
    try:
        from harness.files.strict_file import read_document  # noqa: PLC0415 - YAML: only such a file needs it

        document = read_document(path)
    except WorkflowError as error:
        raise TraceError(str(error)) from None
    shown = printable(str(path))
    for after, listed in document.data.items():
        place = f"{shown}:{document.line_of((after,))}: {printable(after)}"
        for before in listed if isinstance(listed, list) else [listed]:
            if not isinstance(before, str):
                raise TraceError(f"{place}: must list names of spans: `after: [before, …]`")
            denied = _ARROW.match(before)
            yield place, before[denied.end() :].strip() if denied else before, after, denied is None


def _steps_by_name(steps: Steps) -> dict[str, list[int]]:
    named: dict[str, list[int]] = {}
    for step, name in enumerate(steps.names):
        named.setdefault(name, []).append(step)
    for step, step_id in enumerate(steps.ids):
        if "#" in step_id:
            named.setdefault(step_id, [step])
    for step, members in enumerate(steps.members):
        for index in members:
            named.setdefault(steps.tree.spans[index].span_id, [step])
    return named


def _named(named: dict[str, list[int]], name: str, place: str) -> list[int]:
    found = named.get(name)
    if found is None:
        fix = did_you_mean(name, named, "the names are those of the trace's spans")
        raise TraceError(f"{place}: no span is called {printable(name)!r}; {fix}")
    return found


def _joined(steps: Steps, sources: Sequence[int], users: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each user with the sources that ended before it and began after the last user did."""
    since = round_began = 0
    left = _EDGES_PER_SPAN * (len(sources) + len(users))
    for user in users:  # in order of start, as the sources are
        if bisect_left(sources, user) > bisect_left(sources, since):
            round_began = since
        begun = steps.starts[user]
        first, last = bisect_left(sources, round_began), bisect_left(sources, user)
        most = max(left, _EDGES_PER_SPAN)
        recent = [one for one in sources[max(first, last - most) : last] if steps.ends[one] <= begun]
        if not recent:
            recent = [one for one in sources[max(0, last - most) : last] if steps.ends[one] <= begun]
        left -= len(recent)
        for source in recent:
            yield source, user
        since = user
