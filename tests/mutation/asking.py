"""The later rounds: each mutant in a forked process of its own, in which tests of any kind, runs and calls are tried.

Rules of this module:
- A process says before each test by when it ought to be done; one that is not is killed, and its mutant is found.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from harness.testing.fuzz import fuzzing
from harness.testing.fuzz.fuzzing import examine, quiet_instruments
from tests.mutation.here import parameters_of
from tests.mutation.mutants import Mutant, code_of
from tests.mutation.session import Session, Verdict, protocol
from tests.properties.planted.planting import function_of
from tests.properties.planted.test_planted_faults import FOCUSES, drawn, machines_until_failure

RUNS = 800
RUNS_IN_FOCUS = 200
MEMORY_LIMIT_BYTES = 8 << 30


def by_tests(session: Session, mutant: Mutant, watch: Watch) -> Verdict:
    """Whether a test fails that comes through the function and was not asked in the first round."""
    for seconds, item in session.covering[mutant.target]:
        if mutant not in session.unsure and parameters_of(seconds, item) is not None:
            continue
        watch.done_within(10 + 10 * seconds)
        protocol(item)
        if session.failed:
            return Verdict.BY_TESTS
    return Verdict.SURVIVED


def by_runs(watch: Watch) -> Verdict:
    """Whether random runs or random calls show anything."""
    fuzzing.SIMULATION_LIMIT_SECONDS = 3.0
    with quiet_instruments():
        for focus, size, crashes in FOCUSES:
            for number in range(RUNS_IN_FOCUS if focus or crashes else RUNS):
                watch.done_within(60)
                if examine(drawn(number, focus, size, crashes=crashes, seed=99), thorough=number % 3 == 0):
                    return Verdict.BY_RUNS
    watch.done_within(300)
    return Verdict.SURVIVED if machines_until_failure() is None else Verdict.BY_CALLS


class Watch:
    """By when a process ought to have come further; the process that started it sees it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)
        self.done_within(60)

    def done_within(self, seconds: float) -> None:
        """The process will be done with what it does now in so many seconds."""
        self._memory[:8] = struct.pack("d", time.monotonic() + seconds)

    @property
    def over(self) -> bool:
        """Whether it is not."""
        return time.monotonic() > float(struct.unpack("d", self._memory[:8])[0])


def asked(
    mutants: Sequence[Mutant], ask: Callable[[Mutant, Watch], Verdict], jobs: int
) -> Iterator[tuple[Mutant, Verdict]]:
    """Ask about each mutant in a process of its own, so many at a time. Yields each with its verdict."""
    waiting = list(reversed(mutants))
    running: dict[int, tuple[Mutant, Watch]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant, watch = waiting.pop(), Watch()
            running[_fork(mutant, watch, ask)] = (mutant, watch)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            mutant, _ = running.pop(pid)
            # Killed, by us or by its own doing: it does not behave.
            yield mutant, Verdict(os.waitstatus_to_exitcode(status)) if os.WIFEXITED(status) else Verdict.ENDLESS
            continue
        for pid, (_, watch) in running.items():
            if watch.over:
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.005)


def _fork(mutant: Mutant, watch: Watch, ask: Callable[[Mutant, Watch], Verdict]) -> int:
    # Made before the fork: a mutant that cannot be had is our fault, and no find.
    changed = code_of(mutant)
    pid = os.fork()
    if pid:
        return pid
    code = Verdict.BROKEN
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            function_of(mutant.target).__code__ = changed
            code = ask(mutant, watch)
    except SystemExit:
        code = Verdict.BY_TESTS
    finally:
        os._exit(code)
