"""A concurrent program as data: statements in statements, and which values of earlier statements each uses.

Rules of this module:
- Data only. What the program does is in :mod:`harness.testing.programs.playing`.
- A statement uses only statements before it in the text, so there are no circles.
- What is read back from JSON plays exactly as what was written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

Kind = Literal[
    "work", "sleep", "own", "retry", "block", "sequence", "gather", "supersteps", "pool", "queue", "poll", "call",
    "stream", "detached",
]  # fmt: skip
"""What a statement does.

``work``, ``sleep``: a span of so long. ``own``: code without a span. ``retry``: failed attempts, pauses between them,
then one that succeeds. ``block``: a span around statements in a row; ``sequence``: the same without a span.
``gather``: statements side by side. ``supersteps``: gathers in a row, run by a framework that says so. ``pool``: side
by side under a semaphore. ``queue``: so many workers take the statements in order. ``poll``: a client asks again and
again until a server's statements have ended. ``call``: a client's span around a server's. ``stream``: a span of
which others may use the first part. ``detached``: statements that no other waits for.
"""
Contents = Literal["none", "used", "everything"]
KINDS: Final = get_args(Kind)
LEAVES: Final = ("work", "sleep", "own", "retry")
SCHEMA: Final = "makespan.program/1"


class ProgramError(ValueError):
    """A file is no program. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. ``key`` is unique in the program.

    ``nanoseconds``: how long a leaf takes, one poll, or a stream as a whole. ``pause_nanoseconds``: between attempts
    or polls, the way of a call to its server and back, until a stream's first part, or until a detached statement
    begins. ``limit``: of a pool or queue. ``failures``: attempts that fail before the one that succeeds. ``service``:
    where a poll's or a call's statements run. ``waits_inside``: the span of a pool's member opens before it has its
    place. ``unlinked``: the server's span is not the child of the client's. ``connects``: the client's span of a call
    has a child of its own, as long as the way to the server. ``worker_spans``: each worker of a queue has a span.
    """

    key: int
    kind: Kind
    name: str = ""
    nanoseconds: int = 0
    children: tuple[Statement, ...] = ()
    uses: tuple[int, ...] = ()
    pause_nanoseconds: int = 0
    limit: int = 0
    failures: int = 0
    service: str = ""
    waits_inside: bool = False
    unlinked: bool = False
    connects: bool = False
    worker_spans: bool = False

    def walk(self) -> Iterator[Statement]:
        """It and all in it, in the order of the text."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Program:
    """A program and how it is traced.

    ``clocks``: by service, what its clock is ahead, in nanoseconds. ``contents``: which values the spans carry: none,
    those that are used, or (``everything``) the state that a framework hands to every step. ``lost``: keys of
    statements whose spans never arrive. ``overhead_nanoseconds``: what passes before each span begins.
    """

    root: Statement
    clocks: Mapping[str, int] = field(default_factory=dict)
    contents: Contents = "none"
    lost: tuple[int, ...] = ()
    overhead_nanoseconds: int = 0

    def statements(self) -> dict[int, Statement]:
        """All statements by key, in the order of the text."""
        return {statement.key: statement for statement in self.root.walk()}


_PLAIN: Final = {one.name: one.default for one in fields(Statement) if one.name not in ("key", "kind")}


def program_to_data(program: Program) -> dict[str, Any]:
    """A program as JSON data."""
    return {
        "schema": SCHEMA,
        "root": _to_data(program.root),
        "clocks": dict(program.clocks),
        "contents": program.contents,
        "lost": list(program.lost),
        "overhead_nanoseconds": program.overhead_nanoseconds,
    }


def _to_data(statement: Statement) -> dict[str, Any]:
    words: dict[str, Any] = {"key": statement.key, "kind": statement.kind}
    for name, plain in _PLAIN.items():
        value = getattr(statement, name)
        if value != plain:
            words[name] = [_to_data(child) for child in value] if name == "children" else value
    return words


def program_from_data(data: Any) -> Program:
    """The program of :func:`program_to_data`.

    Raises:
        ProgramError: it is none.

    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ProgramError(f"is no program: its `schema` is not {SCHEMA!r}")
    try:
        program = Program(
            root=_from_data(data["root"]),
            clocks=dict(data["clocks"]),
            contents=data["contents"],
            lost=tuple(data["lost"]),
            overhead_nanoseconds=int(data["overhead_nanoseconds"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ProgramError(f"is no program: {type(error).__name__}: {error}") from error
    keys = [statement.key for statement in program.root.walk()]
    if len(set(keys)) < len(keys) or any(one.kind not in KINDS for one in program.root.walk()):
        raise ProgramError("is no program: a key is there twice, or a kind is unknown")
    return program


def _from_data(data: Mapping[str, Any]) -> Statement:
    words = {name: data[name] for name in _PLAIN if name in data and name not in ("children", "uses")}
    return Statement(
        int(data["key"]),
        data["kind"],
        children=tuple(_from_data(child) for child in data.get("children", ())),
        uses=tuple(data.get("uses", ())),
        **words,
    )


def read_program(path: str | Path) -> Program:
    """The program of a file.

    Raises:
        ProgramError: it cannot be read, or is none.

    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ProgramError(f"{path}: cannot be read: {error}") from error
    try:
        return program_from_data(data)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from error


def with_statement(program: Program, key: int, changed: Statement) -> Program:
    """The program with another statement in the place of that one."""
    return replace(program, root=_replaced(program.root, key, changed))


def _replaced(statement: Statement, key: int, changed: Statement) -> Statement:
    if statement.key == key:
        return changed
    if not any(key == inner.key for child in statement.children for inner in child.walk()):
        return statement
    return replace(statement, children=tuple(_replaced(child, key, changed) for child in statement.children))
