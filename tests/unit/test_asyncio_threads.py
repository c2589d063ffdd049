"""Plain functions on asyncio: threads take one after the other, and nothing of one step or run is seen by the next."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

import pytest

from executor import Step, Workflow, run
from executor.backends.asyncio import AsyncioBackend
from executor.record.outcomes import ToolTimeoutError
from tests.movable_clock import MovableClock

PATIENCE_SECONDS = 10.0
SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


def chain(*tools: str) -> Workflow:
    """Each step after the one before it."""
    return Workflow(
        steps=tuple(
            Step(step_id=f"s{place}", tool=tool, depends_on=(f"s{place - 1}",) if place else ())
            for place, tool in enumerate(tools)
        )
    )


def where() -> str:
    return threading.current_thread().name


async def in_loop() -> str:
    return threading.current_thread().name


def leave_a_mark() -> str:
    before = SEEN.get()
    SEEN.set("a mark")
    return before


def test_a_chain_of_plain_functions_stays_in_one_thread() -> None:
    done = run(chain(*["where"] * 20), backend="asyncio", workers=2, tools={"where": where})
    assert done.ok
    assert len(set(done.outputs.values())) == 1
    assert {attempt.worker for attempt in done.timeline.attempts} == {"coroutine-1"}


def test_coroutines_between_plain_functions_run_in_the_loop() -> None:
    tools = {"where": where, "in_loop": in_loop}
    done = run(chain("where", "in_loop", "where", "where", "in_loop"), backend="asyncio", workers=2, tools=tools)
    names = [done.outputs[f"s{place}"] for place in range(5)]
    assert names[1] == names[4] == threading.current_thread().name
    assert names[1] not in (names[0], names[2], names[3])


def test_what_a_plain_function_sets_in_its_context_is_not_seen_by_the_next() -> None:
    done = run(chain("mark", "mark", "mark"), backend="asyncio", workers=1, tools={"mark": leave_a_mark})
    assert set(done.outputs.values()) == {"nothing"}


def test_a_call_that_outlives_its_run_takes_no_step_of_the_next_run() -> None:
    go_on = threading.Event()
    left: list[threading.Thread] = []

    def stay() -> None:
        left.append(threading.current_thread())
        clock.move(60)
        go_on.wait(PATIENCE_SECONDS)

    def let_go() -> bool:
        go_on.set()
        left[0].join(PATIENCE_SECONDS)
        return left[0].is_alive()

    tools: dict[str, Any] = {"stay": stay, "let_go": let_go, "thread": threading.get_ident}
    with AsyncioBackend(2) as backend:
        clock = MovableClock(backend)
        first = run(Workflow(steps=(Step(step_id="stay", tool="stay", timeout=60),)), backend=backend, tools=tools)
        assert first.statuses == {"stay": "failed"}
        # The second step waits in the backlog while the thread of the first run comes back.
        second = run(chain("let_go", *["thread"] * 20), backend=backend, tools=tools)
    assert second.ok
    assert second.outputs["s0"] is False
    assert left[0].ident not in second.outputs.values()


def test_plain_functions_that_wait_for_each_other_all_run_at_once() -> None:
    barrier = threading.Barrier(4, timeout=PATIENCE_SECONDS)

    def meet() -> None:
        barrier.wait()

    steps = [Step(step_id="first", tool="meet_alone")]
    steps += [Step(step_id=f"s{place}", tool="meet", depends_on=("first",)) for place in range(4)]
    done = run(Workflow(steps=tuple(steps)), backend="asyncio", workers=4, tools={"meet": meet, "meet_alone": int})
    assert done.ok


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_a_coroutine_that_says_that_its_time_is_over_has_timed_out(backend: str) -> None:
    async def late() -> None:
        raise ToolTimeoutError("no answer in time")

    done = run(chain("late"), backend=backend, workers=1, tools={"late": late})
    assert [attempt.outcome for attempt in done.timeline.attempts] == ["timed_out"]
