"""What workers write: all of it is shown, and the end of it is kept."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from executor.backends import worker_output
from executor.backends.worker_output import KEPT_BYTES, OutputRelay, WorkerOutput
from tests.child_programs import Program


@pytest.fixture
def relay() -> Iterator[OutputRelay]:
    """One whose outputs are let go of after the test."""
    relay = OutputRelay([])
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
        relay = OutputRelay([])
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


def test_what_a_worker_writes_after_it_was_hidden_is_kept_and_not_shown(
    relay: OutputRelay, capfd: pytest.CaptureFixture[str]
) -> None:
    output = relay.output()
    os.write(output.write_ends[0], b"of a step\n")
    relay.flush()
    output.hide()
    os.write(output.write_ends[0], b"of a program that is ended\n")
    relay.flush()
    assert capfd.readouterr().out == "of a step\n"
    assert output.tail().endswith("of a program that is ended")
    output.started()


@contextmanager
def standard(file: int, *streams: int, inheritable: bool = True) -> Iterator[None]:
    """In this block these standard streams of this process are that file."""
    before = {stream: os.dup(stream) for stream in streams}
    try:
        for stream in streams:
            os.dup2(file, stream, inheritable)
        yield
    finally:
        for stream, kept in before.items():
            os.dup2(kept, stream)
            os.close(kept)


def test_what_a_worker_writes_keeps_its_order_where_both_streams_go_to_one_place(tmp_path: Path) -> None:
    relay = OutputRelay([])
    with (tmp_path / "both").open("wb+") as both, standard(both.fileno(), 1, 2):
        output = relay.output()
        for number in range(200):
            os.write(output.write_ends[number % 2], f"{number}\n".encode())
        output.started()
        relay.close()
        both.seek(0)
        assert both.read().split() == [str(number).encode() for number in range(200)]


def test_a_file_that_has_the_number_of_a_stream_that_this_program_lacks_gets_nothing(tmp_path: Path) -> None:
    relay = OutputRelay([])
    with (tmp_path / "of the program").open("wb+") as file, standard(file.fileno(), 1, inheritable=False):
        output = relay.output()
        os.write(output.write_ends[0], b"of a step\n")
        output.started()
        relay.close()
        file.seek(0)
        assert not file.read()


def test_what_cannot_be_shown_is_a_warning() -> None:
    warnings: list[str] = []
    relay = OutputRelay(warnings)
    full = os.open("/dev/full", os.O_WRONLY)
    with standard(full, 1):
        output = relay.output()
        for _ in range(2):
            os.write(output.write_ends[0], b"of a step\n")
            relay.flush()
        output.started()
        relay.close()
    os.close(full)
    assert warnings == ["what steps wrote to stdout is lost: No space left on device"]


class PollsOne:
    """An epoll that says of one descriptor alone that it is ready while it is."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self.only = -1

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """As that of an epoll."""
        ready = self._epoll.poll(timeout)
        return [one for one in ready if one[0] == self.only] or ready

    def __getattr__(self, name: str) -> object:
        return getattr(self._epoll, name)


def test_what_one_wrote_is_shown_when_a_flush_falls_between_two_looks_at_another(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    relay = OutputRelay([])
    epoll = PollsOne(relay._epoll)
    monkeypatch.setattr(relay, "_epoll", epoll)
    first, second = relay.output(), relay.output(is_shown=False)
    epoll.only = next(iter(first.streams))
    os.write(second.write_ends[0], b"of the second\n")
    second.is_shown = True
    # The thread has been asked, and was not yet woken.
    monkeypatch.setattr(relay, "notify", lambda: os.write(first.write_ends[0], b"of the first\n"))
    relay.flush()
    assert sorted(capfd.readouterr().out.splitlines()) == ["of the first", "of the second"]
    monkeypatch.undo()
    relay.close()


def shown_within_a_patient_while(capfd: pytest.CaptureFixture[str]) -> str:
    late = time.monotonic() + 10
    while not (shown := capfd.readouterr().out) and time.monotonic() < late:
        time.sleep(0.001)
    return shown


def test_a_long_line_is_not_torn_by_what_another_writes_meanwhile(
    relay: OutputRelay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker_output, "HELD_SECONDS", 60.0)
    first, second = relay.output(), relay.output()
    os.write(first.write_ends[0], b"one\n" + b"x" * 30_000)
    assert shown_within_a_patient_while(capfd) == "one\n"
    os.write(second.write_ends[0], b"of another\n")
    assert shown_within_a_patient_while(capfd) == "of another\n"
    os.write(first.write_ends[0], b"x\nbegun")
    assert shown_within_a_patient_while(capfd) == "x" * 30_001 + "\n"
    relay.flush()
    assert capfd.readouterr().out == "begun"


def test_a_line_that_is_not_ended_is_shown_after_a_moment(
    relay: OutputRelay, capfd: pytest.CaptureFixture[str]
) -> None:
    output = relay.output()
    os.write(output.write_ends[0], b"\r 45 %")
    assert shown_within_a_patient_while(capfd) == "\r 45 %"


TAKEN_LATE = """
import os
from executor.backends import worker_output
worker_output.FLUSH_SECONDS = 0.01
relay = worker_output.OutputRelay([])
output = relay.output()
for number in range(3):
    os.write(output.write_ends[0], str(number).encode() * 60_000)
output.started()
relay.close()
os.write(2, b"closed")
os.close(2)
"""


def test_what_a_reader_takes_late_is_shown_before_the_program_ends() -> None:
    with Program([sys.executable, "-c", TAKEN_LATE], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        # The pipe, the one behind it and the thread hold it all: the program comes to its end.
        assert program.stderr.read() == b"closed"
        assert len(program.stdout.read()) == 180_000
