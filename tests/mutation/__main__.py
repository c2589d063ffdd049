"""Mutation testing of the core: every mutant should be found by the properties, the unit tests or the machine.

`python -m tests.mutation [--sample N] [--jobs J] [--seed S] [--only WORD]`

Each mutant lives in a forked process of its own, with the code object of one function exchanged: nothing is written,
and a mutant costs a fraction of a second if it is found soon. The unit tests of its room come first, then runs of
random workflows, then the other unit tests, then the machine of random calls. Exit status 1 if more survive than
`--allow` says.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from harness.testing import fuzzing
from harness.testing.fuzzing import Settings, examine, quiet_instruments
from tests.mutation.mutants import Mutant, all_mutants, code_of
from tests.properties.planted.planting import function_of
from tests.properties.planted.test_planted_faults import FOCUSES, machines_until_failure

MODULES = [
    *(
        f"executor.scheduler.{name}"
        for name in (
            "ahead", "backoff", "barriers", "core", "family", "fast", "intake", "locks", "machine", "queue", "settling",
            "starts", "states",
        )
    ),
    *(f"executor.dependencies.{name}" for name in ("graph", "groups", "planning", "references", "resolve", "state")),
    "executor.resources",
    "executor.timeline",
]  # fmt: skip
# By the beginning of a target: the tests that know the room best; the first of them is asked before all else.
UNIT_TESTS = {
    "executor.dependencies": ["tests/unit/test_dependencies.py", "tests/properties/test_dependencies_properties.py"],
    "executor.resources": [
        "tests/unit/test_resources.py", "tests/unit/test_scheduler.py", "tests/unit/test_scheduler_ahead.py",
        "tests/properties/test_scheduler_properties.py",
    ],
    "executor.timeline": ["tests/unit/test_scheduler.py", "tests/unit/test_analysis_golden.py"],
    "": [
        "tests/unit/test_scheduler.py", "tests/unit/test_scheduler_ahead.py",
        "tests/properties/test_scheduler_properties.py",
    ],
}  # fmt: skip
RUNS = 800
RUNS_IN_FOCUS = 200
# Of one mutant, all in all.
LIMIT_SECONDS = 180
BROKEN = 5
VERDICTS = {
    0: "survived",
    1: "found by runs",
    2: "found by unit tests",
    3: "found by the machine",
    4: "never ends",
    BROKEN: "breaks whoever looks",
}


def verdict(mutant: Mutant | None) -> int:
    """In a process of its own: plant the mutant (None: nothing), and look for it."""
    if mutant is not None:
        function_of(mutant.target).__code__ = code_of(mutant)
    target = "" if mutant is None else mutant.target
    first, *others = next(tests for room, tests in UNIT_TESTS.items() if target.startswith(room))
    if fails(first):
        return 2
    fuzzing.SIMULATION_LIMIT_SECONDS = 3.0
    with quiet_instruments():
        for focus, size in FOCUSES:
            drawn = Settings(seed=99, size=size, features=focus or None)
            for number in range(RUNS_IN_FOCUS if focus else RUNS):
                if examine(drawn.draw(number), thorough=number % 3 == 0):
                    return 1
    if fails(*others):
        return 2
    return 3 if machines_until_failure() is not None else 0


def fails(*paths: str) -> bool:
    """Whether these tests find it."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--timeout=60"]
    return pytest.main([*options, *paths]) != 0


def fork(mutant: Mutant | None) -> int:
    """Start a process for the mutant; its id."""
    pid = os.fork()
    if pid:
        return pid
    code = BROKEN
    try:
        os.setsid()
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            code = verdict(mutant)
    except SystemExit:
        code = 2
    finally:
        os._exit(code)


def main() -> int:
    """Run the mutants, say what became of them, and how many were found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, drawn at random (default: all)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only targets with this in their name")
    parser.add_argument("--allow", type=int, default=None, help="how many may survive before the exit status is 1")
    chosen = parser.parse_args()
    mutants = [mutant for mutant in all_mutants(MODULES) if chosen.only in mutant.target]
    total = len(mutants)
    if chosen.sample and chosen.sample < total:
        mutants = sorted(
            random.Random(chosen.seed).sample(mutants, chosen.sample), key=lambda one: (one.target, one.number)
        )
    print(f"{len(mutants)} of {total} mutants, {chosen.jobs} at a time", flush=True)
    _, status = os.waitpid(fork(None), 0)
    if status:
        print(f"without any mutant: {VERDICTS[os.waitstatus_to_exitcode(status)]}; mend that first")
        return 1
    began = time.monotonic()
    counts: Counter[str] = Counter()
    survivors: list[Mutant] = []
    for mutant, code in _verdicts(mutants, chosen.jobs):
        counts[VERDICTS[code]] += 1
        if code == 0:
            survivors.append(mutant)
            print(f"survived: {mutant}", flush=True)
    found = len(mutants) - len(survivors)
    print(", ".join(f"{name} {count}" for name, count in counts.most_common()))
    print(
        f"{found} of {len(mutants)} found, {100 * found / max(1, len(mutants)):.1f} %, {time.monotonic() - began:.0f} s"
    )
    return int(chosen.allow is not None and len(survivors) > chosen.allow)


def _verdicts(mutants: list[Mutant], jobs: int):  # type: ignore[no-untyped-def]  # a generator of (mutant, code)
    waiting = list(reversed(mutants))
    running: dict[int, tuple[Mutant, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[fork(mutant)] = (mutant, time.monotonic())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            mutant, _ = running.pop(pid)
            # Killed, by us or by its own doing: it does not behave.
            yield mutant, os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 4
            continue
        for pid, (_, since) in running.items():
            if time.monotonic() - since > LIMIT_SECONDS:
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
