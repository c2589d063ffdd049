"""Traces of shapes that tempt an analysis to look at everything twice: rows, stars, stairs, depths, equal times."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from harness.traces import Link, Span, Trace
from tests.unit.trace_making import BEGIN, TRACE_ID

MILLISECOND: Final = 1_000_000
Spans = list[Span]


def one(place: int, parent: int | None, name: str, start: float, end: float, **more: Any) -> Span:
    """The span at a place of the trace; times in milliseconds."""
    above = None if parent is None else f"{parent + 1:016x}"
    begin, finish = BEGIN + int(start * MILLISECOND), BEGIN + int(end * MILLISECOND)
    return Span(TRACE_ID, f"{place + 1:016x}", above, name, begin, finish, **more)


def follows(place: int) -> tuple[Link, ...]:
    return (Link(TRACE_ID, f"{place + 1:016x}", {"opentracing.ref_type": "FOLLOWS_FROM"}),)


def langgraph(level: int, node: str, trigger: str) -> dict[str, Any]:
    words = {"langgraph_step": level, "langgraph_node": node, "langgraph_triggers": [trigger]}
    return {"metadata": json.dumps(words)}


def under_root(count: int, length: float, of: Callable[[int], Span]) -> Spans:
    return [one(0, None, "root", 0, length), *(of(place) for place in range(1, count))]


def row(count: int) -> Spans:
    return under_root(count, count * 10, lambda n: one(n, 0, f"c{n % 7}", n * 10 - 10, n * 10 - 1))


def row_of_one_name(count: int) -> Spans:
    return under_root(count, count * 10, lambda n: one(n, 0, "c", n * 10 - 10, n * 10 - 1))


def linked_row(count: int) -> Spans:
    made = row(count)
    for place in range(2, count):
        made[place].links = tuple(
            Link(TRACE_ID, f"{before + 1:016x}", {}) for before in range(max(1, place - 20), place)
        )
    return made


def star(count: int) -> Spans:
    return under_root(count, count * 10, lambda n: one(n, 0, f"c{n % 7}", 0, 10 + n))


def equal_times(count: int) -> Spans:
    return under_root(count, 10, lambda n: one(n, 0, "c", 0, 10))


def no_time(count: int) -> Spans:
    return under_root(count, 0, lambda n: one(n, 0, "c", 0, 0))


def depth(count: int) -> Spans:
    return [one(n, n - 1 if n else None, f"c{n % 7}", n, 2 * count - n) for n in range(count)]


def depth_with_work(count: int) -> Spans:
    made, parent = [one(0, None, "r", 0, 4 * count)], 0
    for n in range(1, count, 2):
        made += [one(n, parent, "leaf", n, n + 0.5), one(n + 1, parent, "d", n + 0.6, 4 * count - n)]
        parent = n + 1
    return made


def depth_outlasted(count: int) -> Spans:
    half = count // 2
    deep = [one(n, n - 1 if n else None, "c", n, 2 * count - n) for n in range(half)]
    return [*deep, *(one(n, half - 1, "leaf", half, 3 * count + n) for n in range(half, count))]


def ever_later(count: int) -> Spans:
    return [one(n, n - 1 if n else None, f"c{n % 7}", n, count + 2 * n) for n in range(count)]


def children_after_parents(count: int) -> Spans:
    return [one(n, n - 1 if n else None, f"c{n % 7}", n * 10, n * 10 + 5) for n in range(count)]


def stairs(count: int) -> Spans:
    return under_root(count, count + 20, lambda n: one(n, 0, f"s{n % 5}", n, n + 10))


def pool(count: int) -> Spans:
    return under_root(count, count * 10, lambda n: one(n, 0, "job", (n - 1) // 3 * 10, (n - 1) // 3 * 10 + 10))


def levels(count: int) -> Spans:
    return under_root(
        count, count, lambda n: one(n, 0, f"c{n % 100}", n // 100 * 100, n // 100 * 100 + 50 + n % 50)
    )  # fmt: skip


def two_halves(count: int) -> Spans:
    half = count // 2
    return under_root(
        count, 1000,
        lambda n: one(n, 0, "c", n / count, 500) if n < half else one(n, 0, "d", 600 + n / count, 900),
    )  # fmt: skip


def onions(count: int) -> Spans:
    return under_root(
        count, 2 * count, lambda n: one(n, 0, f"c{n % 3}", n, 2 * count - n, service=f"s{n % 2}", kind="client")
    )  # fmt: skip


def orphans(count: int) -> Spans:
    return [one(n, 10**9 + n, f"o{n % 9}", n, n + 20) for n in range(count)]


def circle(count: int) -> Spans:
    return [one(n, (n + 1) % count, "c", n, n + 5) for n in range(count)]


def followers(count: int) -> Spans:
    return [one(n, None, "c", n * 10, n * 10 + 5, links=follows(n - 1) if n else ()) for n in range(count)]


def followers_from_behind(count: int) -> Spans:
    return [
        one(n, None, "c", (count - n) * 10, (count - n) * 10 + 5, links=follows(n - 1) if n else ())
        for n in range(count)
    ]


def calls_of_services(count: int) -> Spans:
    def call(n: int) -> Span:
        service, kind = ("a", "client") if n % 2 else ("b", "server")
        return one(n, 0, "call" if n % 2 else "work", n // 2 * 20, n // 2 * 20 + 19, service=service, kind=kind)

    return under_root(count, count * 10, call)


def one_cover(count: int) -> Spans:
    made = under_root(count, count * 10, lambda n: one(n, 0, "work", n * 9, n * 9 + 9, service="b"))
    made[1] = one(1, 0, "send_message", 0, count * 10, service="a", kind="client")
    return made


def covers_with_children(count: int) -> Spans:
    def call(n: int) -> Span:
        at = n // 3 * 30
        if n % 3 == 0:
            return one(n, 0, "send_message", at, at + 29, service="a", kind="client")
        if n % 3 == 1:
            return one(n, n - 1 if n > 1 else 0, "encode", at, at + 0.1, service="a")
        return one(n, 0, "turn", at + 1, at + 28, service="b", kind="server")

    return under_root(count, count * 10, call)


def failed_row(count: int) -> Spans:
    return under_root(count, count * 10, lambda n: one(n, 0, "r", n * 10, n * 10 + 9, status="error"))


def polls(count: int) -> Spans:
    return under_root(count, count * 100, lambda n: one(n, 0, f"get{n % 50}", n * 100, n * 100 + 1))


def long_polls(count: int) -> Spans:
    return under_root(count, count * 500, lambda n: one(n, 0, "dequeue_event", (n - 1) * 500, n * 500))


def sleeps(count: int) -> Spans:
    return under_root(count, count * 10 + 30, lambda n: one(n, 0, "sleep" if n % 2 else "w", n * 10, n * 10 + 30))


def supersteps(count: int) -> Spans:
    return under_root(
        count, count * 10,
        lambda n: one(
            n, 0, f"n{n % 4}", n // 4 * 40, n // 4 * 40 + 30 + n % 4,
            attributes=langgraph(n // 4, f"n{n % 4}", f"branch:to:n{n % 4}"),
        ),
    )  # fmt: skip


def wide_supersteps(count: int) -> Spans:
    def node(n: int) -> Span:
        level = int(n >= count // 2)
        words = langgraph(level, f"n{n}", f"branch:to:n{n}")
        return one(n, 0, f"n{n}", level * 40, level * 40 + 30 + n % 4, attributes=words)

    return under_root(count, 100, node)


def wide_supersteps_by_name(count: int) -> Spans:
    def node(n: int) -> Span:
        level = int(n >= count // 2)
        return one(n, 0, "ab"[level], level * 40, level * 40 + 30, attributes=langgraph(level, "ab"[level], "a"))

    return under_root(count, 100, node)


def handed_on(count: int) -> Spans:
    def call(n: int) -> Span:
        words = {"input.value": f"the text number {n - 1} of all", "output.value": f"the text number {n} of all"}
        return one(n, 0, f"n{n % 4}", n * 10 - 10, n * 10 - 1, attributes=words)

    made = under_root(count, count * 10, call)
    made[0].attributes = {"input.value": " ".join(f"word{n} and" for n in range(10_000))}
    return made


def whole_state(count: int) -> Spans:
    state: dict[str, str] = {}

    def call(n: int) -> Span:
        given = json.dumps(state)
        put_out = {f"k{n % 40}": f"the value number {n} of it"}
        state.update(put_out)
        words = {"input.value": given, "output.value": json.dumps(put_out)}
        return one(n, 0, f"n{n % 40}", n * 10 - 10, n * 10 - 1, attributes=words)

    return under_root(count, count * 10, call)


SHAPES: Final[tuple[Callable[[int], Spans], ...]] = (
    row, row_of_one_name, linked_row, star, equal_times, no_time, depth, depth_with_work, depth_outlasted, ever_later,
    children_after_parents, stairs, pool, levels, two_halves, onions, orphans, circle, followers, followers_from_behind,
    calls_of_services, one_cover, covers_with_children, failed_row, polls, long_polls, sleeps, supersteps,
    wide_supersteps, wide_supersteps_by_name, handed_on, whole_state,
)  # fmt: skip


def shaped(shape: Callable[[int], Spans], count: int) -> Trace:
    """A trace of so many spans."""
    return Trace(TRACE_ID, shape(count), "made.json", "otlp-json")
