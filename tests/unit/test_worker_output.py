"""What workers write: all of it is shown, and the end of it is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.backends import worker_output
from executor.backends.worker_output import KEPT_BYTES, OutputRelay, WorkerOutput


@pytest.fixture
def relay() -> Iterator[OutputRelay]:
    """One whose outputs are let go of after the test."""
    relay = OutputRelay()
    yield relay
    relay.close()


def test_only_what_came_since_a_time_is_said_and_at_most_so_much_is_kept(relay: OutputRelay) -> None:
    output = relay.output(is_shown=False)
    os.write(output.write_ends[0], b"of the step before")
    assert output.tail() == "of the step before"
    now = time.perf_counter_ns()
    assert output.tail(now) == ""
    os.write(output.write_ends[1], b"on stderr, ")
    output.read()
    os.write(output.write_ends[0], b"then on stdout")
    assert output.tail(now) == "on stderr, then on stdout"
    for _ in range(5):
        os.write(output.write_ends[0], b"x" * 10_000)
        output.read()
    assert sum(len(kept) for _, kept in output._kept) <= KEPT_BYTES + 10_000


def test_what_is_written_before_a_worker_is_ready_is_shown_when_it_is(
    relay: OutputRelay, capfd: pytest.CaptureFixture[str]
) -> None:
    output = relay.output(is_shown=False)
    os.write(output.write_ends[1], b"a warning\n")
    relay.flush()
    assert capfd.readouterr() == ("", "")
    output.show()
    os.write(output.write_ends[0], b"a line\n")
    output.started()
    relay.flush()
    assert capfd.readouterr() == ("a line\n", "a warning\n")


def test_where_nobody_takes_what_is_shown_the_end_of_it_can_be_asked_for_all_the_same(
    relay: OutputRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_output, "FLUSH_SECONDS", 0.05)
    full, write_end = os.pipe()
    before = os.dup(1)
    try:
        os.dup2(write_end, 1)
        output = relay.output()
        for _ in range(3):
            # More than a pipe holds: the thread of the relay waits.
            written = _write_what_fits(output, b"y" * 65_536)
            assert output.tail().endswith("y" * min(100, written))
        relay.flush()
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(write_end)
        os.close(full)


def _write_what_fits(output: WorkerOutput, data: bytes) -> int:
    os.set_blocking(output.write_ends[0], False)
    return os.write(output.write_ends[0], data)


def open_descriptors() -> set[str]:
    return {one.name for one in Path("/proc/self/fd").iterdir()}


def test_one_that_is_closed_while_workers_end_lets_go_of_all() -> None:
    before = open_descriptors()
    for _ in range(200):
        relay = OutputRelay()
        for output in [relay.output() for _ in range(3)]:
            output.started()
        relay.close()
    assert open_descriptors() == before


def test_a_descriptor_that_is_given_again_at_once_is_that_of_the_next_worker(
    relay: OutputRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[WorkerOutput] = []
    close = os.close
    first = relay.output()
    read_ends = set(first.streams)

    def close_and_take_again(fd: int) -> None:
        close(fd)
        if fd in read_ends and not made:
            # Numbers below are taken, so that the next one is this.
            taken = [os.dup(0)]
            while taken[-1] != fd:
                taken.append(os.dup(0))
            close(taken.pop())
            made.append(relay.output())
            for other in taken:
                close(other)

    monkeypatch.setattr(worker_output.os, "close", close_and_take_again)
    first.started()
    late = time.monotonic() + 10
    while not made and time.monotonic() < late:
        time.sleep(0.001)
    relay.flush()
    assert read_ends & made[0].streams.keys()
    assert made[0].streams.keys() <= relay._outputs.keys()
    os.write(made[0].write_ends[0], b"of the next")
    assert made[0].tail() == "of the next"
