"""The engine's lock: nobody owns it who cannot run, and long waits cost nothing."""

from __future__ import annotations

import threading

import pytest

from executor.engine.brief_lock import PAUSES_SECONDS, BriefLock


def test_a_thread_that_pauses_does_not_own_the_lock_when_it_is_released() -> None:
    pausing, go_on = threading.Event(), threading.Event()

    def pause(_seconds: float) -> None:
        pausing.set()
        go_on.wait()

    lock = BriefLock(pause)
    lock.acquire()
    waiting = threading.Thread(target=lock.acquire)
    waiting.start()
    pausing.wait()
    lock.release()
    assert lock.try_acquire(), "the thread that pauses got it"
    lock.release()
    go_on.set()
    waiting.join()
    assert not lock.try_acquire()


def test_a_lock_that_is_held_for_long_is_waited_for_without_further_pauses() -> None:
    pauses: list[float] = []
    all_over = threading.Event()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == len(PAUSES_SECONDS):
            all_over.set()

    lock = BriefLock(pause)
    lock.acquire()
    waiting = threading.Thread(target=lock.acquire)
    waiting.start()
    all_over.wait()
    waiting.join(0.02)
    assert waiting.is_alive()
    lock.release()
    waiting.join()
    assert pauses == list(PAUSES_SECONDS)
    assert not lock.try_acquire()


def test_a_free_lock_is_taken_at_once_and_given_back_after_an_error() -> None:
    pauses: list[float] = []
    lock = BriefLock(pauses.append)
    with lock:
        assert not lock.try_acquire()
    with pytest.raises(ValueError, match="invalid"), lock:
        int("x")
    assert lock.try_acquire()
    assert not pauses
