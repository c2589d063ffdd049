"""Which signals end a command, and which are the same once more."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from executor.run_result import SAME_INTERRUPT_SECONDS
from harness.cli.signals import interrupted_once, terminated_as_interrupted

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_of_a_supervisor_is_the_same_within_a_second_and_another_one_later(
    number: signal.Signals, clock: Clock
) -> None:
    with terminated_as_interrupted():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.9
        # It interrupts nothing of what the first one has set going.
        signal.raise_signal(number)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@pytest.mark.parametrize("number", EVERY)
def test_what_an_interrupted_run_did_is_shown_and_kept_though_its_signal_comes_once_more(
    number: signal.Signals, clock: Clock
) -> None:
    with terminated_as_interrupted(), interrupted_once(interrupted=True):
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.9
        signal.raise_signal(number)
        clock.seconds += SAME_INTERRUPT_SECONDS * 0.2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@pytest.mark.parametrize("number", EVERY)
def test_the_first_signal_while_a_whole_run_is_shown_leaves_at_once(number: signal.Signals) -> None:
    with terminated_as_interrupted(), interrupted_once(interrupted=False), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
