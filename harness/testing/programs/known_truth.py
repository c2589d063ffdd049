"""What is so in a program: which statement needs which, and what changes would make of its makespan.

Rules of this module:
- A statement needs what it uses, what those used, and what the statements around it used; what is in it likewise.
- The order of the text is no need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from harness.testing.programs.playing import AS_WRITTEN, Change, Played, play
from harness.testing.programs.program import Program, Statement


class Truth:
    """What is known of a program. Makespans are nanoseconds."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.statements: Mapping[int, Statement] = program.statements()
        self._inside: dict[int, frozenset[int]] = {
            key: frozenset(one.key for one in statement.walk()) for key, statement in self.statements.items()
        }
        self._needs = self._all_needs()
        self._makespans: dict[tuple[object, ...], int] = {}

    def _all_needs(self) -> Mapping[int, frozenset[int]]:
        """By key, all statements that must have ended before it can begin."""
        found: dict[int, frozenset[int]] = {}

        def visit(statement: Statement, around: frozenset[int]) -> None:
            own = set(around)
            for used in statement.uses:
                for inner in self._inside[used]:
                    own.add(inner)
                    own |= found[inner]
            found[statement.key] = frozenset(own)
            for child in statement.children:
                visit(child, found[statement.key])

        visit(self.program.root, frozenset())
        return found

    @cached_property
    def played(self) -> Played:
        """The program as it is written."""
        return play(self.program)

    def needs(self, before: int, after: int) -> bool:
        """Whether the second statement, or something in it, needs the first, or something in that."""
        wanted = self._inside[before] - self._inside[after]
        return any(not wanted.isdisjoint(self._needs[inner]) for inner in self._inside[after])

    def uses(self, before: int, after: int) -> bool:
        """Whether something in the second statement uses a value of something in the first, without others between."""
        return any(
            not self._inside[before].isdisjoint(self.statements[inner].uses) for inner in self._inside[after]
        )  # fmt: skip

    def is_inside(self, inner: int, outer: int) -> bool:
        """Whether a statement is in another one, or is it."""
        return inner in self._inside[outer]

    def makespan(self, change: Change = AS_WRITTEN) -> int:
        """The makespan of the changed program."""
        words = (tuple(change.faster.items()), tuple(change.limits.items()), change.together, change.dataflow)
        if words not in self._makespans:
            self._makespans[words] = play(self.program, change).makespan
        return self._makespans[words]

    def limits_that_held(self) -> Iterable[Statement]:
        """The pools and queues in which a step waited for a place."""
        return [self.statements[key] for key, waited in self.played.waited.items() if waited > 0]
