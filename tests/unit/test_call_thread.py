"""The thread of a worker that runs its calls in turn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial

import pytest

from executor.backends.call_thread import CallThread

WHERE: ContextVar[str] = ContextVar("WHERE", default="nowhere")


def test_calls_run_in_the_order_of_their_places_whichever_thread_is_here_first() -> None:
    thread = CallThread()
    ran: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(thread.run, partial(ran.append, place), place) for place in (3, 1, 2, 0, 5, 4)]
        for answer in answers:
            answer.result(timeout=60)
    assert ran == [0, 1, 2, 3, 4, 5]


def test_all_calls_run_in_one_thread_which_is_not_that_of_the_caller() -> None:
    thread = CallThread()
    found = {thread.run(threading.get_ident) for _ in range(3)}
    assert len(found) == 1
    assert threading.get_ident() not in found


def test_an_error_is_that_of_the_caller_and_the_next_call_runs() -> None:
    thread = CallThread()

    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        thread.run(fail)
    assert thread.run(lambda: 7) == 7


def test_a_call_finds_the_context_of_its_caller() -> None:
    WHERE.set("here")
    assert CallThread().run(WHERE.get) == "here"
