"""A person's own edges: what needs what, by the names of spans.

As lines (``before -> after``; ``#`` begins a remark), or as JSON or YAML: ``{after: [before, …]}``.

Rules of this module:
- A name is a span's id, a step's id (``name#2``), or a span's name, which means all that bear it.
- Of a name that recurs, each later span needs those before it since the last of its own name began: so a loop's
  second round needs the second round.
- A name that is not in the trace is an error with the nearest one that is: a misspelt edge would change the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from executor.model.findings import WorkflowError, did_you_mean, printable
from harness.files.strict_file import read_document
from harness.traces.spans.span_steps import Steps
from harness.traces.trace_model import TraceError

_DOCUMENTS = (".json", ".yaml", ".yml")
_LARGEST_BYTES = 16 * 1024 * 1024


def edges_of_file(path: str | Path, steps: Steps) -> Iterator[tuple[int, int]]:
    """(step, step that needs it) for every line of the file.

    Raises:
        TraceError: the file cannot be read, or names a span that is not there.

    """
    named = _steps_by_name(steps)
    unused = 0
    for place, before, after in _pairs(path):
        sources, users = (_named(named, name, place) for name in (before, after))
        joined = list(_joined(steps, sources, users))
        unused += not joined
        yield from joined
    steps.tree.note(
        "contradicted_edge",
        "edges of the file between spans of which the one had not ended when the other began",
        "left out: the times say that there was none",
        unused,
    )


def _pairs(path: str | Path) -> Iterator[tuple[str, str, str]]:
    """(place, before, after) as they stand in the file."""
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
        before, arrow, after = text.replace("→", "->").partition("->")
        if not arrow or not before.strip() or not after.strip():
            raise TraceError(f"{shown}:{number}: is no edge; write `before -> after`, one a line")
        yield f"{shown}:{number}", before.strip(), after.strip()


def _pairs_of_document(path: str | Path) -> Iterator[tuple[str, str, str]]:
    try:
        data: dict[str, Any] = read_document(path).data
    except WorkflowError as error:
        raise TraceError(str(error)) from None
    shown = printable(str(path))
    for after, listed in data.items():
        for before in listed if isinstance(listed, list) else [listed]:
            if not isinstance(before, str):
                raise TraceError(f"{shown}: {printable(after)}: must list names of spans: `after: [before, …]`")
            yield shown, before, after


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
    since = -1
    for user in users:
        begun = steps.starts[user]
        fitting = [one for one in sources if one != user and one < user and steps.ends[one] <= begun]
        recent = [one for one in fitting if steps.starts[one] >= since]
        for source in recent or fitting:
            yield source, user
        since = begun
