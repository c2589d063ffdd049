"""Makes a program smaller, as long as the analysis is wrong about it in the same way.

Rules of this module:
- Greedy: each simplification that keeps the fault is kept, until none does or the time is up.
- A candidate is a program that could have been drawn: a node of a superstep keeps one that triggers it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from harness.testing.programs.program import LEAVES, Program, Statement, with_statement

_ROUND_NANOSECONDS = (1_000_000_000, 100_000_000, 10_000_000)


def shrink_program(program: Program, fails: Callable[[Program], bool], *, seconds: float = 10.0) -> Program:
    """The smallest program found that still ``fails``, within about so much time."""
    until = time.monotonic() + seconds
    changed = True
    while changed:
        changed = False
        for make in (_without_statements, _plainer_tracing, _plainer_statements, _rounder_times):
            again = True
            while again:
                again = False
                for simpler in make(program):
                    if time.monotonic() > until:
                        return program
                    if _is_whole(simpler) and fails(simpler):
                        program, changed, again = simpler, True, True
                        break
    return program


def _is_whole(program: Program) -> bool:
    """Whether each statement that waits for others has one to wait for."""
    for statement in program.root.walk():
        if statement.kind not in LEAVES and not statement.children:
            return False
        if statement.kind == "supersteps":
            if any(level.kind != "gather" for level in statement.children):
                return False
            before: set[int] = set()
            for level in statement.children:
                if before and any(before.isdisjoint(node.uses) for node in level.children):
                    return False
                before = {node.key for node in level.children}
    return True


def without_statement(program: Program, key: int) -> Program:
    """The program without a statement, what is in it, and what used either."""
    gone = {one.key for one in program.statements()[key].walk()}
    lost = tuple(one for one in program.lost if one not in gone)
    return replace(program, root=_forget(program.root, gone), lost=lost)


def _forget(statement: Statement, gone: set[int]) -> Statement:
    return replace(
        statement,
        children=tuple(_forget(child, gone) for child in statement.children if child.key not in gone),
        uses=tuple(key for key in statement.uses if key not in gone),
    )


def _without_statements(program: Program) -> Iterator[Program]:
    for statement in reversed(list(program.root.walk())):
        if statement.key != program.root.key:
            yield without_statement(program, statement.key)
    for statement in program.root.walk():
        for child in statement.children:
            if statement.key != program.root.key and "supersteps" not in (statement.kind, child.kind):
                yield _instead(program, statement, child)


def _instead(program: Program, statement: Statement, child: Statement) -> Program:
    """One of the statements in a statement in the place of that."""
    gone = {one.key for one in statement.walk()} - {one.key for one in child.walk()}
    changed = with_statement(program, statement.key, child)
    return replace(
        changed, root=_forget(changed.root, gone), lost=tuple(one for one in program.lost if one not in gone)
    )


def _plainer_tracing(program: Program) -> Iterator[Program]:
    if program.contents != "none":
        yield replace(program, contents="none")
    if program.contents == "everything":
        yield replace(program, contents="used")
    if program.clocks:
        yield replace(program, clocks={})
    if program.lost:
        yield replace(program, lost=())
    if program.overhead_nanoseconds:
        yield replace(program, overhead_nanoseconds=0)


def _plainer_statements(program: Program) -> Iterator[Program]:
    for statement in program.root.walk():
        for used in statement.uses:
            fewer = tuple(one for one in statement.uses if one != used)
            yield with_statement(program, statement.key, replace(statement, uses=fewer))
        if statement.failures > 1:
            yield with_statement(program, statement.key, replace(statement, failures=1))
        if statement.kind == "retry":
            plain = replace(statement, kind="work", failures=0, pause_nanoseconds=0)
            yield with_statement(program, statement.key, plain)
        for flag in ("waits_inside", "unlinked", "connects", "worker_spans"):
            if getattr(statement, flag):
                plain_words: dict[str, Any] = {flag: False}
                yield with_statement(program, statement.key, replace(statement, **plain_words))


def _rounder_times(program: Program) -> Iterator[Program]:
    for statement in program.root.walk():
        for unit in _ROUND_NANOSECONDS:
            for name in ("nanoseconds", "pause_nanoseconds"):
                value = getattr(statement, name)
                rounded = max(unit, round(value / unit) * unit)
                if value and value % unit and abs(rounded - value) <= value:
                    yield with_statement(program, statement.key, replace(statement, **{name: rounded}))
