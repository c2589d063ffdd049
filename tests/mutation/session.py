"""The tests, collected and run once without any mutant: do they pass, what do they take, what do they come through?

Rules of this module:
- Examples are drawn from a fixed seed and without a deadline, so that nothing is found by chance or by a slow machine.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum

import pytest
from hypothesis import settings

from tests.mutation.mutants import Mutant, code_that_says
from tests.properties.planted.planting import function_of

# A name that every function finds, in which the functions that a test comes through are noted.
SEEN = "__makespan_seen"


class Verdict(IntEnum):
    """What became of a mutant: the exit status of a process that asks about it, or the byte that one sends."""

    SURVIVED = 0
    BY_TESTS = 1
    BY_RUNS = 2
    BY_CALLS = 3
    ENDLESS = 4
    BROKEN = 5
    UNSURE = 6


# The words for those that are found.
WORDS = {
    Verdict.BY_TESTS: "found by tests",
    Verdict.BY_RUNS: "found by random runs",
    Verdict.BY_CALLS: "found by random calls",
    Verdict.ENDLESS: "never ends",
    Verdict.BROKEN: "breaks the check itself",
}


class Session:
    """A pytest plugin. Instead of the tests it runs ``work``, which gets this session."""

    def __init__(self, targets: Iterable[str], work: Callable[[Session], None]) -> None:
        # By target: the tests that come through it, and what each takes; the quickest first.
        self.covering: dict[str, list[tuple[float, pytest.Item]]] = {target: [] for target in targets}
        # Mutants of which the first round cannot say anything: later ones ask all tests.
        self.unsure: set[Mutant] = set()
        self._seen: set[str] = set()
        self.work = work
        self.failed: str | None = None

    def run(self, tests: Sequence[str]) -> None:
        """Collect the tests, run them once, and do the work.

        Raises:
            RuntimeError: a test fails without any mutant, or cannot be collected.

        """
        settings.register_profile("mutation", deadline=None, derandomize=True, database=None)
        settings.load_profile("mutation")
        options = ["-o", "addopts=--import-mode=importlib", "--timeout=0", "--assert=plain"]
        options += ["-p", "no:cacheprovider", "-p", "no:terminal"]
        status = pytest.main([*options, *tests], plugins=[self])
        if status or self.failed:
            raise RuntimeError(f"without any mutant this does not pass: {self.failed or 'collecting the tests'}")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests."""
        if session.testsfailed:
            return True
        self._learn_all(session.items)
        if not self.failed:
            self.work(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that fails."""
        if report.failed:
            self.failed = report.nodeid

    def _learn_all(self, items: Sequence[pytest.Item]) -> None:
        """Which tests come through which functions, and what each takes."""
        healthy = {target: function_of(target).__code__ for target in self.covering}
        setattr(builtins, SEEN, self._seen)
        for target in healthy:
            function_of(target).__code__ = code_that_says(target, f"{SEEN}.add({target!r})")
        for item in items:
            self._learn(item)
            if self.failed:
                break
        for target, code in healthy.items():
            function_of(target).__code__ = code
        for covering in self.covering.values():
            covering.sort(key=lambda one: one[0])

    def _learn(self, item: pytest.Item) -> None:
        self._seen.clear()
        began = time.perf_counter()
        protocol(item)
        seconds = time.perf_counter() - began
        for target in self._seen:
            self.covering[target].append((seconds, item))


def protocol(item: pytest.Item) -> None:
    """Run one test, its fixtures included."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
