"""Threads for plain functions under an event loop: all calls at once, the fewest wake-ups, nothing left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from executor.backends.daemon_threads import DaemonThreads

AT_ONCE = 6


def called(*functions: Callable[[], Any]) -> tuple[list[Any], DaemonThreads]:
    """The results of calls that are submitted at once."""
    threads = DaemonThreads("test")

    async def drive() -> list[Any]:
        loop = asyncio.get_running_loop()
        futures = [threads.submit(loop, function) for function in functions]
        return await asyncio.gather(*futures, return_exceptions=True)

    return asyncio.run(drive()), threads


def test_calls_that_wait_for_each_other_all_run_at_once() -> None:
    barrier = threading.Barrier(AT_ONCE, timeout=10)

    def meet() -> str:
        barrier.wait()
        return threading.current_thread().name

    threads = DaemonThreads("test")

    async def drive() -> list[set[str]]:
        loop = asyncio.get_running_loop()
        # The second round uses the threads of the first, which are parked by then.
        return [set(await asyncio.gather(*[threads.submit(loop, meet) for _ in range(AT_ONCE)])) for _ in range(2)]

    first, second = asyncio.run(drive())
    threads.close()
    assert first == second == {f"test-{number}" for number in range(1, AT_ONCE + 1)}


def test_a_call_has_the_context_of_who_submits_it() -> None:
    place: ContextVar[str] = ContextVar("place", default="nowhere")
    threads = DaemonThreads("test")

    async def drive() -> tuple[str, str]:
        place.set("here")
        return await threads.submit(asyncio.get_running_loop(), place.get), place.get()

    assert asyncio.run(drive()) == ("here", "here")
    threads.close()


def test_what_a_call_raises_is_its_result_and_the_thread_goes_on() -> None:
    def fail() -> None:
        raise ValueError("no")

    def stop() -> None:
        raise StopIteration(3)

    results, threads = called(fail, stop, lambda: 7)
    threads.close()
    assert isinstance(results[0], ValueError)
    assert isinstance(results[1], RuntimeError)
    assert "StopIteration" in str(results[1])
    assert results[2] == 7


def test_no_thread_is_left_when_they_are_closed() -> None:
    results, threads = called(*[threading.current_thread] * AT_ONCE)
    threads.close()
    assert not any(thread.is_alive() for thread in results)


def test_a_call_that_ends_the_run_and_is_about_to_return_is_waited_for() -> None:
    running: list[threading.Thread] = []
    threads = DaemonThreads("test")

    async def drive() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def end_the_run() -> None:
            running.append(threading.current_thread())
            loop.call_soon_threadsafe(over.set)
            time.sleep(0.05)

        threads.submit(loop, end_the_run)
        await over.wait()

    asyncio.run(drive())
    threads.close()
    assert not running[0].is_alive()


def test_a_call_that_outlives_its_loop_ends_its_thread_and_holds_nobody_up() -> None:
    began, go_on = threading.Event(), threading.Event()
    running: list[threading.Thread] = []
    threads = DaemonThreads("test")

    def stay() -> None:
        running.append(threading.current_thread())
        began.set()
        go_on.wait(10)

    async def drive() -> None:
        threads.submit(asyncio.get_running_loop(), stay)
        assert began.wait(10)

    asyncio.run(drive())
    threads.close(calls_go_on=True)
    assert running[0].is_alive()
    go_on.set()
    running[0].join(10)
    assert not running[0].is_alive()


def test_a_thread_that_cannot_be_started_is_an_error_of_that_call(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = DaemonThreads("test")

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def drive() -> int:
        loop = asyncio.get_running_loop()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="no thread can be started for the call"):
                threads.submit(loop, lambda: 1)
        return int(await threads.submit(loop, lambda: 2))

    assert asyncio.run(drive()) == 2
    threads.close()
