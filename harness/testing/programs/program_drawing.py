"""Random programs from a seed.

Rules of this module:
- The same seed draws the same program on every machine: nothing but :class:`random.Random` is asked.
- A statement uses only what has certainly ended when it begins, as the program is written.
- A statement of a superstep uses one of the superstep before, as LangGraph's triggers want it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Final

from harness.testing.programs.program import LEAVES, Contents, Kind, Program, Statement

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
STATEMENTS: Final[tuple[Kind, ...]] = (
    "work", "sleep", "own", "retry", "block", "sequence", "gather", "supersteps", "pool", "queue", "poll", "call",
    "stream", "detached",
)  # fmt: skip
# How programs are traced: values in their spans, the whole state in each span, clocks that differ, spans that are lost.
TRACING: Final = ("values", "shared_state", "clocks", "lost_spans")
PATTERNS: Final = (*STATEMENTS, *TRACING)
_WEIGHTS: Final[Mapping[str, float]] = {
    "work": 8, "sleep": 0.5, "own": 1, "retry": 0.7, "block": 1.5, "sequence": 0.5, "gather": 2, "supersteps": 1,
    "pool": 1.2, "queue": 0.8, "poll": 0.7, "call": 1.2, "stream": 0.5, "detached": 0.4,
}  # fmt: skip
_WORKS: Final = ("fetch page", "chat small", "search", "parse", "embed", "chat large", "rank", "query store", "render")
_BLOCKS: Final = ("plan", "agent", "collect", "review", "answer")
_SERVICES: Final = ("search", "store", "model")
_DEEPEST: Final = 3


def draw_program(seed: int, *, patterns: Sequence[str] = PATTERNS, size: int = 24) -> Program:
    """The program of a seed. ``patterns``: what may occur, beside ``work``; ``size``: about the most statements."""
    drawing = _Drawing(Random(seed), ("work", *patterns), size)  # noqa: S311 - programs, no secrets
    return drawing.program()


@dataclass(slots=True)
class _Drawing:
    random: Random
    patterns: Sequence[str]
    left: int
    keys: int = 0
    services: set[str] = field(default_factory=set)
    names: dict[str, int] = field(default_factory=dict)

    def program(self) -> Program:
        key = self.key()
        scope: list[int] = []
        children = []
        for _ in range(self.random.randint(2, 5)):
            children.append(self.statement(scope, 1))
            scope += _usable(children[-1])
        root = Statement(key, "block", "run", children=tuple(children))
        contents: Contents = self.random.choices(("none", "used", "everything"), (6, 3, 1))[0]
        if {"used": "values", "everything": "shared_state"}.get(contents, "work") not in (*self.patterns, "work"):
            contents = "none"
        clocks = {}
        if self.services and self.chance(0.4) and "clocks" in self.patterns:
            clocks = {service: self.random.randint(-200, 200) * MILLISECOND for service in sorted(self.services)}
        program = Program(
            root, clocks, contents, overhead_nanoseconds=self.random.choice((0, 0, 20, 150)) * MICROSECOND
        )
        return replace(program, lost=self.lost(program))

    def lost(self, program: Program) -> tuple[int, ...]:
        if not self.chance(0.08) or "lost_spans" not in self.patterns:
            return ()
        spanned = [one.key for one in program.root.walk() if one.kind in ("work", "block", "call") and one.key]
        return tuple(sorted(self.random.sample(spanned, min(len(spanned), self.random.randint(1, 2)))))

    def key(self) -> int:
        self.keys += 1
        self.left -= 1
        return self.keys - 1

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def time(self, low: int = 5, high: int = 2000) -> int:
        """Nanoseconds; milliseconds come in, a fraction of them goes along so that hardly any two are equal."""
        exponent = self.random.uniform(0, 1)
        return int(low * (high / low) ** exponent * MILLISECOND) // MICROSECOND * MICROSECOND

    def uses(self, scope: Sequence[int]) -> tuple[int, ...]:
        if not scope or self.chance(0.35):
            return ()
        found = {scope[-1]} if self.chance(0.75) else set()
        while self.chance(0.2):
            found.add(self.random.choice(scope))
        return tuple(sorted(found))

    # ------------------------------------------------------------------ statements

    def statement(self, scope: Sequence[int], depth: int) -> Statement:
        kinds = [
            kind
            for kind in STATEMENTS
            if kind in self.patterns and (kind in LEAVES or (depth <= _DEEPEST and self.left > 3))
        ]  # fmt: skip
        kind = self.random.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
        return self.leaf(kind, scope) if kind in LEAVES else _DRAWN[kind](self, scope, depth)

    def leaf(self, kind: str, scope: Sequence[int], name: str | None = None) -> Statement:
        key = self.key()
        if kind == "sleep":
            return Statement(key, "sleep", "sleep", self.time(50))
        if kind == "own":
            return Statement(key, "own", "", self.time(2, 300))
        if kind == "retry":
            return Statement(
                key, "retry", name or self.random.choice(_WORKS), self.time(), uses=self.uses(scope),
                failures=self.random.randint(1, 3), pause_nanoseconds=self.time(5, 300),
            )  # fmt: skip
        return Statement(key, "work", name or self.random.choice(_WORKS), self.time(), uses=self.uses(scope))

    def row(self, scope: Sequence[int], depth: int, most: int = 4) -> tuple[Statement, ...]:
        """Statements one after the other; now and then a loop of calls that do not need each other."""
        if self.chance(0.2):
            name = self.random.choice(_WORKS)
            return tuple(self.leaf("work", (), name) for _ in range(self.random.randint(2, 5)))
        known = list(scope)
        found = []
        for _ in range(self.random.randint(1, most)):
            found.append(self.statement(known, depth + 1))
            known += _usable(found[-1])
        return tuple(found)

    def block(self, scope: Sequence[int], depth: int) -> Statement:
        key, uses = self.key(), self.uses(scope)
        return Statement(key, "block", self.random.choice(_BLOCKS), children=self.row(scope, depth), uses=uses)

    def sequence(self, scope: Sequence[int], depth: int) -> Statement:
        return Statement(self.key(), "sequence", children=self.row(scope, depth))

    def gather(self, scope: Sequence[int], depth: int) -> Statement:
        key = self.key()
        count = self.random.randint(2, 5)
        if self.chance(0.4):
            name = self.random.choice(_WORKS)
            return Statement(key, "gather", children=tuple(self.leaf("work", scope, name) for _ in range(count)))
        return Statement(key, "gather", children=tuple(self.statement(scope, depth + 1) for _ in range(count)))

    def supersteps(self, scope: Sequence[int], depth: int) -> Statement:
        """A graph in a block of its own, as LangGraph runs it."""
        key, inner = self.key(), self.key()
        levels: list[Statement] = []
        before: list[int] = []
        for level in range(self.random.randint(2, 4)):
            gather = self.key()
            nodes = []
            for number in range(self.random.randint(1, 3)):
                node = self.leaf("work", (), f"node {level}.{number}")
                used = self.random.sample(before, self.random.randint(1, len(before))) if before else ()
                nodes.append(replace(node, uses=tuple(sorted(used))))
            levels.append(Statement(gather, "gather", children=tuple(nodes)))
            before = [node.key for node in nodes]
        graph = Statement(inner, "supersteps", children=tuple(levels))
        return Statement(key, "block", "LangGraph", children=(graph,), uses=self.uses(scope))

    def limited(self, kind: Kind, scope: Sequence[int], depth: int) -> Statement:
        key = self.key()
        name = self.random.choice(_WORKS)
        inside = self.chance(0.25) and kind == "pool"
        varied = self.chance(0.2) and not inside
        member: Callable[[], Statement] = partial(self.leaf, "work", (), name)
        if inside:
            member = self.waiting_member(name)
        elif varied:
            member = partial(self.block, scope, max(depth, _DEEPEST - 1))
        members = tuple(member() for _ in range(self.random.randint(4, 9)))
        limit = self.random.randint(2, 3) if self.chance(0.85) else 1
        spans = kind == "queue" and self.chance(0.4)
        return Statement(key, kind, children=members, limit=limit, waits_inside=inside, worker_spans=spans)

    def waiting_member(self, name: str) -> Callable[[], Statement]:
        """Makes members of a pool that wait for their place inside their span: leaves, blocks or calls of a service."""
        kind: Kind = self.random.choice(("work", "block", "call"))
        if kind not in self.patterns or kind == "work":
            return lambda: self.leaf("work", (), name)
        if kind == "block":
            return lambda: Statement(self.key(), "block", "ask", children=(self.leaf("work", (), name),))
        service, connects = self.service(), self.chance(0.3)
        way = self.random.randint(100, 8000) * MICROSECOND
        return lambda: Statement(
            self.key(), "call", "GET", children=(self.leaf("work", (), name),), pause_nanoseconds=way, service=service,
            connects=connects,
        )  # fmt: skip

    def pool(self, scope: Sequence[int], depth: int) -> Statement:
        return self.limited("pool", scope, depth)

    def queue(self, scope: Sequence[int], depth: int) -> Statement:
        return self.limited("queue", scope, depth)

    def service(self) -> str:
        service = self.random.choice(_SERVICES)
        self.services.add(service)
        return service

    def poll(self, scope: Sequence[int], depth: int) -> Statement:
        key, is_long = self.key(), self.chance(0.4)
        return Statement(
            key, "poll", "get task", self.time(300, 600) if is_long else self.time(2, 30), self.row(scope, depth),
            pause_nanoseconds=0 if is_long else self.time(60, 600), service=self.service(),
        )  # fmt: skip

    def call(self, scope: Sequence[int], depth: int) -> Statement:
        key, uses = self.key(), self.uses(scope)
        return Statement(
            key, "call", "POST", 0, self.row(scope, depth), uses, self.random.randint(100, 8000) * MICROSECOND,
            service=self.service(), unlinked=self.chance(0.25), connects=self.chance(0.3),
        )  # fmt: skip

    def stream(self, scope: Sequence[int], depth: int) -> Statement:
        key, length, uses = self.key(), self.time(200), self.uses(scope)
        reader = self.leaf("work", (), "speak")
        return Statement(
            key, "stream", "chat stream", length, (reader,), uses, int(length * self.random.uniform(0.1, 0.5))
        )

    def detached(self, scope: Sequence[int], depth: int) -> Statement:
        key = self.key()
        late = self.time(5, 800) if self.chance(0.5) else 0
        return Statement(key, "detached", children=self.row(scope, depth, 2), pause_nanoseconds=late)


def _usable(statement: Statement) -> list[int]:
    """The keys of a statement that has ended and of what is in it, the statement itself last."""
    if statement.kind in ("detached", "own", "sleep"):
        return []
    found = [key for child in statement.children for key in _usable(child)]
    return [*found, statement.key] if statement.kind not in ("sequence", "gather", "supersteps") else found


_DRAWN: Final[Mapping[str, Callable[[_Drawing, Sequence[int], int], Statement]]] = {
    "block": _Drawing.block,
    "sequence": _Drawing.sequence,
    "gather": _Drawing.gather,
    "supersteps": _Drawing.supersteps,
    "pool": _Drawing.pool,
    "queue": _Drawing.queue,
    "poll": _Drawing.poll,
    "call": _Drawing.call,
    "stream": _Drawing.stream,
    "detached": _Drawing.detached,
}
