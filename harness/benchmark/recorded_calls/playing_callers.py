"""Playing callers: their own running time, and what they asked while they waited, asked again.

Rules of this module:
- Calls go the way of all calls of running code, so that the engine cannot tell the difference.
- Nearly every wait is for calls that were asked together; that is asked in the shortest way. Where an attempt waited in
  several places, or gave up waiting, each place is asked, and withdrawn, in its time.
- How calls end matters to nobody here.
- What one wait for own time took too long is taken off the next: clocks wake a little late, event loops by a
  millisecond.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from executor.child_steps.child_request import ChildRequest, Done, Outcomes, Withdraw
from executor.child_steps.step_context import current_place
from executor.node_runtime import StepOverError, call_tools_parallel, call_tools_parallel_async
from harness.benchmark.recorded_calls.recorded_call import Ask, Plan

Pause = Callable[[float], None]


def play(plan: Plan, asked: Mapping[str, ChildRequest], pause: Pause) -> None:
    """Play an attempt to its end in this thread. ``asked``: how each call is asked for. ``pause`` waits for so many
    seconds, and raises if the step is cancelled.

    Raises:
        StepOverError: the step is over.

    """
    late = 0.0
    for own_seconds, asks in zip(plan.own_seconds, (*plan.waits, ()), strict=True):
        began = time.perf_counter()
        pause(max(0.0, own_seconds - late))
        late = max(0.0, late + time.perf_counter() - began - own_seconds)
        if asks:
            _ask(asks, asked, pause)


async def play_async(plan: Plan, asked: Mapping[str, ChildRequest]) -> None:
    """The same for coroutines."""
    late = 0.0
    for own_seconds, asks in zip(plan.own_seconds, (*plan.waits, ()), strict=True):
        began = time.perf_counter()
        await asyncio.sleep(max(0.0, own_seconds - late))
        late = max(0.0, late + time.perf_counter() - began - own_seconds)
        if asks:
            await _ask_async(asks, asked)


def _ask(asks: Sequence[Ask], asked: Mapping[str, ChildRequest], pause: Pause) -> None:
    if _is_plain(asks):
        call_tools_parallel(_calls(asks[0], asked), asks[0].at_once, return_exceptions=True)
        return
    place = current_place()
    if place is None or place.caller is None:
        # It says why there is no way.
        call_tools_parallel(_calls(asks[0], asked), return_exceptions=True)
        return

    def begin(one: Ask, done: Done) -> Withdraw:
        withdraw: Withdraw = place.caller.begin(place.running, _calls(one, asked), one.at_once, done)
        return withdraw

    _Places(asks).play(begin, pause)


async def _ask_async(asks: Sequence[Ask], asked: Mapping[str, ChildRequest]) -> None:
    if _is_plain(asks):
        await call_tools_parallel_async(_calls(asks[0], asked), asks[0].at_once, return_exceptions=True)
        return
    ends = await asyncio.gather(*(_ask_in_time(one, asked) for one in asks), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _ask_in_time(one: Ask, asked: Mapping[str, ChildRequest]) -> None:
    await asyncio.sleep(one.after_seconds)
    try:
        async with asyncio.timeout(one.withdrawn_after_seconds):
            await call_tools_parallel_async(_calls(one, asked), one.at_once, return_exceptions=True)
    except TimeoutError:
        # It was withdrawn, as it was when it was recorded.
        return


def _is_plain(asks: Sequence[Ask]) -> bool:
    return len(asks) == 1 and not asks[0].after_seconds and asks[0].withdrawn_after_seconds is None


def _calls(one: Ask, asked: Mapping[str, ChildRequest]) -> list[ChildRequest]:
    return [asked[step_id] for step_id in one.calls]


class _Places:
    """The places in which one thread waits at once. ``begin`` asks and returns what withdraws."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        self._asks = asks
        self._told: set[int] = set()
        self._withdrawn: set[int] = set()
        self._is_over = False
        self._news = threading.Condition()

    def play(self, begin: Callable[[Ask, Done], Withdraw], pause: Pause) -> None:
        """Ask each place in its time, withdraw what was withdrawn, and wait for all."""
        began = time.monotonic()
        withdraws: dict[int, Withdraw] = {}
        for at, is_withdrawal, place in self._agenda():
            if is_withdrawal:
                self._wait_for(partial(self._told.__contains__, place), began + at)
                if place not in self._told:
                    self._withdrawn.add(place)
                    withdraws[place]()
                continue
            pause(max(0.0, began + at - time.monotonic()))
            withdraws[place] = begin(self._asks[place], partial(self._tell, place))
        self._wait_for(lambda: len(self._told) == len(self._asks), None)
        if self._is_over:
            raise StepOverError("the step was cancelled, timed out or has ended: its calls are cancelled")

    def _agenda(self) -> list[tuple[float, bool, int]]:
        agenda = [(one.after_seconds, False, place) for place, one in enumerate(self._asks)]
        for place, one in enumerate(self._asks):
            if one.withdrawn_after_seconds is not None:
                agenda.append((one.after_seconds + one.withdrawn_after_seconds, True, place))
        return sorted(agenda)

    def _tell(self, place: int, outcomes: Outcomes) -> None:
        with self._news:
            self._told.add(place)
            # Calls that are withdrawn before they were made come to nothing either.
            self._is_over |= outcomes is None and place not in self._withdrawn
            self._news.notify_all()

    def _wait_for(self, happened: Callable[[], bool], until: float | None) -> None:
        """Wait until it happened, or it is time, or the step is over."""
        with self._news:
            left = None if until is None else max(0.0, until - time.monotonic())
            self._news.wait_for(lambda: self._is_over or happened(), left)
