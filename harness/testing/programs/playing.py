"""Plays a program on the virtual clock, as it is or changed: when each span began and ended, and the makespan.

Rules of this module:
- A change is one of the program, as a person would make it: another limit, a statement twice as fast, two statements
  started together, or everything started as soon as what it uses is there.
- Whatever is changed, a statement waits for the values that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from harness.testing.programs.program import Program, Statement
from harness.testing.programs.virtual_clock import Event, Places, Task, VirtualClock

SpanKind = Literal["internal", "client", "server"]
Opening: TypeAlias = "Generator[int | Event, None, int]"


@dataclass(frozen=True, slots=True)
class Change:
    """``faster``: by key, what divides a leaf's time. ``limits``: by key, another limit. ``together``: statements that
    begin when the first of them does. ``dataflow``: everything begins when what it uses is there, without limits.
    """

    faster: Mapping[int, float] = field(default_factory=dict)
    limits: Mapping[int, int] = field(default_factory=dict)
    together: tuple[int, ...] = ()
    dataflow: bool = False


AS_WRITTEN: Final = Change()


@dataclass(slots=True)
class PlayedSpan:
    """A span: the statement that it is of, its place among the spans, that of its parent (-1: none). Times are
    nanoseconds since the beginning. ``level``: of a framework, from 1. ``seen``: the statements that had ended when it
    began, where each step gets the whole state. ``first_part``: when a stream's first part came.
    """

    statement: int
    name: str
    parent: int
    service: str
    start: int
    end: int = -1
    kind: SpanKind = "internal"
    failed: bool = False
    level: int = -1
    seen: tuple[int, ...] = ()
    first_part: int = -1


@dataclass(slots=True)
class Played:
    """What came of it. ``waited``: by key of a pool or queue, how long its members waited for a place, all together.
    ``unseen``: when code ran, or a message was on its way, and no span says so.
    """

    makespan: int
    spans: list[PlayedSpan]
    waited: Mapping[int, int]
    unseen: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a statement runs: below which span, in which service, on which level of a framework. ``inside``: a place
    of which pool the next span waits for once it is open.
    """

    parent: int = -1
    service: str = "app"
    level: int = -1
    inside: tuple[Statement, Places] | None = None


def play(program: Program, change: Change = AS_WRITTEN) -> Played:
    """Play it from its beginning to the end of its last statement."""
    player = _Player(program, change)
    player.clock.start(player.run(program.root, _Place()))
    player.clock.run()
    return Played(player.last_end, player.spans, player.waited, player.unseen)


class _Player:
    def __init__(self, program: Program, change: Change) -> None:
        self.program = program
        self.change = change
        self.clock = VirtualClock()
        self.spans: list[PlayedSpan] = []
        self.waited: dict[int, int] = {}
        self.unseen: list[tuple[int, int]] = []
        self.last_end = 0  # the clock itself goes on: the timer of a poll that was answered still runs out
        self._ended: dict[int, Event] = {}
        self._finished: list[int] = []
        self._early: set[int] = set()
        self._begun: set[int] = set()
        self._statements = program.statements()

    # ------------------------------------------------------------------ when a statement begins

    def run(self, statement: Statement, place: _Place) -> Task:
        """Run a statement where it is in the text."""
        if statement.key in self._early:
            yield self._end_of(statement.key)
            return
        yield from self._run_when_used(statement, place)

    def _run_when_used(self, statement: Statement, place: _Place) -> Task:
        for key in statement.uses:  # as it is written, all of them have ended
            yield self._end_of(key)
        yield from self._run_now(statement, place)

    def _run_now(self, statement: Statement, place: _Place) -> Task:
        together = self.change.together
        self._begun.add(statement.key)
        if together and statement.key == together[0]:
            for key in together[1:]:
                if key not in self._begun:
                    self._begun.add(key)
                    self._early.add(key)
                    self.clock.start(self._run_when_used(self._statements[key], place))
        yield from _RUNS[statement.kind](self, statement, place)
        self._end(statement)

    def _end(self, statement: Statement) -> None:
        self._finished.append(statement.key)
        self.last_end = self.clock.now
        self.clock.happen(self._end_of(statement.key))

    def _end_of(self, key: int) -> Event:
        return self._ended.setdefault(key, Event())

    # ------------------------------------------------------------------ spans

    def _open(self, statement: Statement, place: _Place, name: str = "", kind: SpanKind = "internal") -> Opening:
        """Begin a span; its number."""
        yield from self._unseen(self.program.overhead_nanoseconds)
        everything = self.program.contents == "everything"
        self.spans.append(
            PlayedSpan(
                statement.key, name or statement.name, place.parent, place.service, self.clock.now, kind=kind,
                level=place.level, seen=tuple(self._finished) if everything else (),
            )
        )  # fmt: skip
        return len(self.spans) - 1

    def _unseen(self, nanoseconds: int) -> Task:
        self.unseen.append((self.clock.now, self.clock.now + nanoseconds))
        yield nanoseconds

    def _close(self, number: int) -> None:
        self.spans[number].end = self.clock.now

    def _length(self, statement: Statement) -> int:
        return round(statement.nanoseconds / self.change.faster.get(statement.key, 1.0))

    def _limit(self, statement: Statement) -> int:
        return self.change.limits.get(statement.key, statement.limit)

    # ------------------------------------------------------------------ leaves

    def own(self, statement: Statement, _place: _Place) -> Task:
        yield from self._unseen(self._length(statement))

    def work(self, statement: Statement, place: _Place) -> Task:
        number = yield from self._open(statement, place)
        yield from self._inside(place, _pass(self._length(statement)))
        self._close(number)

    def retry(self, statement: Statement, place: _Place) -> Task:
        for failed in range(statement.failures + 1):
            number = yield from self._open(statement, place)
            yield self._length(statement)
            self._close(number)
            if failed < statement.failures:
                self.spans[number].failed = True
                yield from self._unseen(statement.pause_nanoseconds << failed)

    # ------------------------------------------------------------------ statements in statements

    def in_a_row(self, statement: Statement, place: _Place) -> Task:
        if self.change.dataflow:
            yield from self.side_by_side(statement, place)
            return
        for child in statement.children:
            yield from self.run(child, place)

    def side_by_side(self, statement: Statement, place: _Place) -> Task:
        yield from [self.clock.start(self.run(child, place)) for child in statement.children]

    def block(self, statement: Statement, place: _Place) -> Task:
        number = yield from self._open(statement, place)
        yield from self._inside(place, self.in_a_row(statement, _Place(number, place.service)))
        self._close(number)

    def supersteps(self, statement: Statement, place: _Place) -> Task:
        levels = [
            self.run(child, _Place(place.parent, place.service, level))
            for level, child in enumerate(statement.children, 1)
        ]
        if self.change.dataflow:
            yield from [self.clock.start(level) for level in levels]
            return
        for level in levels:
            yield from level

    def pool(self, statement: Statement, place: _Place) -> Task:
        if self.change.dataflow:
            yield from self.side_by_side(statement, place)
            return
        places = Places(self.clock, self._limit(statement))
        members = []
        for child in statement.children:
            if statement.waits_inside and child.kind in ("work", "block", "call"):
                members.append(self.run(child, replace(place, inside=(statement, places))))
            else:
                members.append(self._in_place(statement, places, self.run(child, place)))
        yield from [self.clock.start(member) for member in members]

    def _inside(self, place: _Place, member: Task) -> Task:
        """What a span holds, once it has the place that it waits for while it is open."""
        if place.inside is None:
            yield from member
        else:
            yield from self._in_place(*place.inside, member)

    def _in_place(self, pool: Statement, places: Places, member: Task) -> Task:
        asked = self.clock.now
        yield from places.take()
        self._note_wait(pool, asked)
        yield from member
        places.give_back()

    def _note_wait(self, limited: Statement, asked: int) -> None:
        self.waited[limited.key] = self.waited.get(limited.key, 0) + self.clock.now - asked

    def queue(self, statement: Statement, place: _Place) -> Task:
        if self.change.dataflow:
            yield from self.side_by_side(statement, place)
            return
        begun = self.clock.now
        items = iter(statement.children)

        def worker() -> Task:
            number = -1
            if statement.worker_spans:
                number = yield from self._open(statement, place, "worker")
            for item in items:
                self._note_wait(statement, begun)
                yield from self.run(item, replace(place, parent=place.parent if number < 0 else number))
            if number >= 0:
                self._close(number)

        workers = min(self._limit(statement), len(statement.children))
        yield from [self.clock.start(worker()) for _ in range(workers)]

    # ------------------------------------------------------------------ others' work

    def poll(self, statement: Statement, place: _Place) -> Task:
        done = self.clock.start(self.in_a_row(statement, _Place(place.parent, statement.service)))
        while True:
            number = yield from self._open(statement, place, kind="client")
            if statement.pause_nanoseconds:
                yield statement.nanoseconds
            else:  # a long poll: it is answered when there is something to say
                yield from self._first_of(done, self.clock.start(_pass(statement.nanoseconds)))
            self._close(number)
            if done.happened:
                return
            yield from self._unseen(statement.pause_nanoseconds)

    def _first_of(self, one: Event, other: Event) -> Task:
        first = Event()

        def watch(event: Event) -> Task:
            yield event
            self.clock.happen(first)

        self.clock.start(watch(one))
        self.clock.start(watch(other))
        yield first

    def call(self, statement: Statement, place: _Place) -> Task:
        client = yield from self._open(statement, place, kind="client")
        yield from self._inside(place, self._request(statement, place, client))
        self._close(client)

    def _request(self, statement: Statement, place: _Place, client: int) -> Task:
        if statement.connects:
            connection = yield from self._open(statement, _Place(client, place.service), "connect")
            yield statement.pause_nanoseconds
            self._close(connection)
        else:
            yield from self._unseen(statement.pause_nanoseconds)
        called = _Place(place.parent if statement.unlinked else client, statement.service)
        server = yield from self._open(statement, called, f"{statement.name} handler", "server")
        yield from self.in_a_row(statement, _Place(server, statement.service))
        self._close(server)
        yield from self._unseen(statement.pause_nanoseconds)

    def stream(self, statement: Statement, place: _Place) -> Task:
        number = yield from self._open(statement, place)
        first = min(statement.pause_nanoseconds, self._length(statement))
        yield first
        self.spans[number].first_part = self.clock.now
        streamed = Event()
        readers = [self.clock.start(self._reader(child, streamed, place)) for child in statement.children]
        yield self._length(statement) - first
        self._close(number)
        self.clock.happen(streamed)
        yield from readers

    def _reader(self, statement: Statement, streamed: Event, place: _Place) -> Task:
        """Begins with the first part, and has its own work left when the stream has ended."""
        number = yield from self._open(statement, place)
        yield streamed
        yield self._length(statement)
        self._close(number)
        self._end(statement)

    def detached(self, statement: Statement, place: _Place) -> Task:
        self.clock.start(self._later(statement, place))
        yield 0

    def _later(self, statement: Statement, place: _Place) -> Task:
        yield from self._unseen(statement.pause_nanoseconds)
        yield from self.in_a_row(statement, place)


def _pass(nanoseconds: int) -> Task:
    yield nanoseconds


_RUNS: Final[Mapping[str, Callable[[_Player, Statement, _Place], Task]]] = {
    "work": _Player.work,
    "sleep": _Player.work,
    "own": _Player.own,
    "retry": _Player.retry,
    "block": _Player.block,
    "sequence": _Player.in_a_row,
    "gather": _Player.side_by_side,
    "supersteps": _Player.supersteps,
    "pool": _Player.pool,
    "queue": _Player.queue,
    "poll": _Player.poll,
    "call": _Player.call,
    "stream": _Player.stream,
    "detached": _Player.detached,
}
