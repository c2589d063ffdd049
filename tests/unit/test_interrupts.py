"""Which signals interrupt a run and a command, and which are the same once more."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from executor.interrupts import SAME_INTERRUPT_SECONDS, first_interrupt_calls
from harness.cli.signals import terminated_as_interrupted

EVERY = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Tests run under handlers that would end them."""
    before = {number: signal.getsignal(number) for number in EVERY}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    left = {number: signal.getsignal(number) for number in EVERY}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert left[signal.SIGTERM] == left[signal.SIGHUP] == signal.SIG_DFL
    assert left[signal.SIGINT] is signal.default_int_handler


@pytest.mark.parametrize("number", EVERY)
@pytest.mark.parametrize("other", EVERY)
def test_another_signal_is_the_same_within_a_second_and_a_new_one_later(
    number: signal.Signals, other: signal.Signals, clock: Clock
) -> None:
    with terminated_as_interrupted():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.9
        # It interrupts nothing of what the first one has set going.
        signal.raise_signal(other)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(other)


@pytest.mark.parametrize("number", EVERY)
def test_what_a_run_did_is_shown_and_kept_though_the_signal_that_interrupted_it_comes_once_more(
    number: signal.Signals, clock: Clock
) -> None:
    called = []
    with terminated_as_interrupted():
        with first_interrupt_calls(lambda: called.append("run")):
            signal.raise_signal(number)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.9
        signal.raise_signal(number)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert called == ["run"]


@pytest.mark.parametrize("number", EVERY)
def test_the_second_interrupt_of_a_run_leaves_at_once_and_the_next_run_has_a_first_one_again(
    number: signal.Signals, clock: Clock
) -> None:
    called = []
    with terminated_as_interrupted():
        for name in ("first", "second"):
            with first_interrupt_calls(partial(called.append, name)):
                signal.raise_signal(number)
                clock.seconds += SAME_INTERRUPT_SECONDS * 1.1
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)
                clock.seconds += SAME_INTERRUPT_SECONDS * 1.1
    assert called == ["first", "second"]


def test_an_interrupt_that_came_in_another_way_counts(clock: Clock) -> None:
    with terminated_as_interrupted() as interrupts:
        interrupts.note()
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.9
        signal.raise_signal(signal.SIGTERM)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("ignored", EVERY)
def test_what_is_ignored_stays_ignored_and_the_others_interrupt(ignored: signal.Signals) -> None:
    # SIGHUP under `nohup`; SIGINT in the background of a script.
    signal.signal(ignored, signal.SIG_IGN)
    called = []
    try:
        with terminated_as_interrupted(), first_interrupt_calls(lambda: called.append(ignored)):
            signal.raise_signal(ignored)
            assert called == []
            signal.raise_signal(next(number for number in EVERY if number != ignored))
            assert called == [ignored]
    finally:
        assert signal.getsignal(ignored) is signal.SIG_IGN
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)


def test_a_program_that_handles_ctrl_c_itself_goes_on_doing_so() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        with first_interrupt_calls(lambda: seen.append(0)):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [signal.SIGINT]


def test_outside_of_the_main_thread_no_handler_is_changed() -> None:
    before = [signal.getsignal(number) for number in EVERY]
    during: list[object] = []

    def work() -> None:
        with terminated_as_interrupted(), first_interrupt_calls(lambda: None):
            during.extend(signal.getsignal(number) for number in EVERY)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == before
