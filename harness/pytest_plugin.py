"""The pytest plugin: a fixture ``makespan`` that measures a workflow inside of a test.

::

    def test_translations_gain_from_threads(makespan):
        result = makespan(workflow, executors=["threads@4"], tools={"translate": translate})
        assert result.speedup_ratio("threads@4") > 1.2

Rules of this module:
- It imports pytest and nothing else until a test calls the fixture: every pytest run of the environment loads it.
- Where pytest-benchmark is active, the makespans of the first call of a test become its benchmark, and the figures of
  every call stand in ``extra_info``. A test that asks for ``benchmark`` itself keeps it, and gets the figures alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from os import PathLike

    from executor.model.workflow import Resource, Workflow
    from executor.tools.registry import Declared
    from harness.benchmark.in_tests import BenchmarkResult

_FIXTURE: Final = "makespan"
# The name of pytest-benchmark's fixture and mark, and those under which it may be registered.
_PYTEST_BENCHMARK: Final = "benchmark"
_REGISTERED_AS: Final = ("benchmark", "pytest_benchmark.plugin")


class Makespan:
    """What the fixture gives: call it with a workflow."""

    def __init__(self, benchmark: Any = None, clock: ReplayedClock | None = None) -> None:
        self._benchmark = benchmark
        self._clock = clock
        self._calls = 0

    def __call__(
        self,
        workflow: Workflow | Mapping[str, Any] | str | PathLike[str],
        *,
        executors: Sequence[str] = ("threads",),
        repetitions: int = 5,
        warmup: int = 1,
        tools: Mapping[str, Declared] | None = None,
        resources: Mapping[str, Resource] | None = None,
        inputs: Mapping[str, Any] | None = None,
        scale: float | None = None,
        seed: int = 0,
        allow_errors: bool = False,
    ) -> BenchmarkResult:
        """Measure a workflow on each executor, in turns with running one step at a time.

        ``workflow``: a workflow, its words as they stand in a file, or a scenario's file or name. ``executors``:
        ``NAME``, ``NAME@WORKERS`` or ``NAME@WORKERS/POLICY``. ``tools``, ``resources`` and ``inputs`` as
        :func:`executor.run` takes them; over those of a scenario. ``scale`` multiplies the durations of synthetic
        steps.

        Raises:
            WorkflowError: the workflow must not run; it carries every finding.
            ValueError: an executor is not written like that.
            StepsFailedError: a step failed, unless ``allow_errors``.

        """
        from harness.benchmark.in_tests import measured  # noqa: PLC0415 - only a test that measures pays for it

        result = measured(
            workflow, executors=executors, repetitions=repetitions, warmup=warmup, tools=tools or {},
            resources=resources or {}, inputs=inputs or {}, scale=scale, seed=seed, allow_errors=allow_errors,
        )  # fmt: skip
        self._calls += 1
        if self._benchmark is not None:
            self._record(result)
        return result

    def _record(self, result: BenchmarkResult) -> None:
        self._benchmark.extra_info.setdefault(_FIXTURE, []).append(result.figures)
        if self._calls == 1 and self._clock is not None:
            makespans = result.first_makespans_seconds
            self._clock.durations = list(makespans)
            self._benchmark.pedantic(self._clock.pass_one, rounds=len(makespans), iterations=1)

    def close(self) -> None:
        """The test is over. One that failed or was skipped before it measured has no benchmark to be missed."""
        if self._benchmark is not None and self._clock is not None and not self._calls:
            self._benchmark.skipped = True


class ReplayedClock:
    """A timer for pytest-benchmark on which makespans pass that were measured already."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self._now

    def pass_one(self) -> None:
        """Let the next duration pass."""
        if self.durations:
            self._now += self.durations.pop(0)


class _Alone:
    """The fixture where pytest-benchmark is not active."""

    @pytest.fixture
    def makespan(self) -> Makespan:
        """Measures a workflow when it is called, and answers what came of it."""
        return Makespan()


class _BesidePytestBenchmark:
    """The fixture where it is."""

    @pytest.fixture
    def makespan(self, benchmark: Any, request: pytest.FixtureRequest) -> Iterator[Makespan]:
        """Measures a workflow when it is called, and answers what came of it."""
        mark = request.node.get_closest_marker(_PYTEST_BENCHMARK)
        clock = None if mark is None else mark.kwargs.get("timer")
        fixture = Makespan(benchmark, clock if isinstance(clock, ReplayedClock) else None)
        yield fixture
        fixture.close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give the benchmark of each such test our clock, before it is made."""
        for item in items:
            if isinstance(item, pytest.Function) and _FIXTURE in item.fixturenames and not _asks_itself(item):
                mark = item.get_closest_marker(_PYTEST_BENCHMARK)
                words = {**({} if mark is None else mark.kwargs), "timer": ReplayedClock()}
                item.add_marker(pytest.mark.benchmark(**words), append=False)


def _asks_itself(item: pytest.Function) -> bool:
    import inspect  # noqa: PLC0415 - only where there is such a test

    return _PYTEST_BENCHMARK in inspect.signature(item.function).parameters


def pytest_configure(config: pytest.Config) -> None:
    """Choose the fixture: by now every plugin is there. Register the mark of the suites in :mod:`harness.testing`."""
    config.addinivalue_line("markers", "slow: takes long or needs much memory")
    beside = any(config.pluginmanager.hasplugin(name) for name in _REGISTERED_AS)
    config.pluginmanager.register(_BesidePytestBenchmark() if beside else _Alone(), "makespan-fixture")
