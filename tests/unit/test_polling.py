"""When a process polls for a moment instead of sleeping, and when it does not any more."""

from __future__ import annotations

import pytest

from executor import Step, Workflow, run
from executor.backends.processes import dispatch, polling
from executor.backends.processes.polling import Polling


class Channels:
    """Something comes at the given one of all questions; never for 0."""

    def __init__(self, comes_at: int = 0) -> None:
        self.comes_at = comes_at
        self.asked = 0

    def poll(self, timeout: float = -1, /) -> list[tuple[int, int]]:
        assert timeout == 0
        self.asked += 1
        return [(7, 1)] if self.asked == self.comes_at else []


def test_what_comes_within_the_moment_is_found_however_often_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MOMENT_NANOSECONDS", 60_000_000_000)
    channels = Channels(comes_at=100)
    assert Polling().wait(channels) == [(7, 1)]
    assert channels.asked == 100


def polled(waiting: Polling, waits: int) -> list[bool]:
    """For each of so many waits in which nothing comes: whether it polled."""
    found = []
    for _ in range(waits):
        channels = Channels()
        assert waiting.wait(channels) == []
        found.append(channels.asked > 0)
    return found


def test_after_each_moment_in_vain_twice_as_many_waits_sleep_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MOMENT_NANOSECONDS", -1)
    expected = [True, False, True, False, False, True, *[False] * 4, True, *[False] * 8, True]
    assert polled(Polling(), len(expected)) == expected


def test_each_success_halves_how_many_sleep_after_the_next_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MOMENT_NANOSECONDS", -1)
    waiting = Polling()
    # After the third failure four waits sleep.
    assert polled(waiting, 10) == [True, False, True, False, False, True, *[False] * 4]
    for _ in range(2):
        assert waiting.wait(Channels(comes_at=1)) == [(7, 1)]
    assert polled(waiting, 4) == [True, False, False, True]


def short() -> None:
    """Nothing."""


@pytest.mark.parametrize(("cores", "polls"), [(2, True), (1, False)])
def test_a_chain_of_short_steps_polls_where_a_core_is_free(
    monkeypatch: pytest.MonkeyPatch, cores: int, polls: bool
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(dispatch, "usable_cores", lambda: cores)
    # However slow the machine is.
    monkeypatch.setattr(dispatch, "POLLED_STEP_NANOSECONDS", 1_000_000_000)
    monkeypatch.setattr(Polling, "wait", lambda _self, channels: asked.append(channels) or [])
    steps = tuple(Step(step_id=f"s{n}", tool="short", depends_on=(f"s{n - 1}",) if n else ()) for n in range(20))
    assert run(Workflow(steps=steps), backend="processes", workers=2, tools={"short": short}).ok
    assert bool(asked) == polls


def test_nothing_polls_for_steps_that_take_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(dispatch, "usable_cores", lambda: 64)
    monkeypatch.setattr(dispatch, "POLLED_STEP_NANOSECONDS", 0)
    monkeypatch.setattr(Polling, "wait", lambda _self, channels: asked.append(channels) or [])
    steps = tuple(Step(step_id=f"s{n}", tool="short", depends_on=(f"s{n - 1}",) if n else ()) for n in range(20))
    assert run(Workflow(steps=steps), backend="processes", workers=2, tools={"short": short}).ok
    assert asked == []
