"""What ``makespan bench`` is asked for, and all that can be wrong with it before the first run.

Rules of this module:
- Nothing is measured or written here: options are read, and what makes no sense is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from executor.model.findings import did_you_mean
from harness.benchmark import Budget, Matrix, MatrixRequest
from harness.benchmark.bench_judging import Judge
from harness.benchmark.budget import Estimate
from harness.benchmark.caching import CacheMode
from harness.benchmark.meter import machine_facts
from harness.benchmark.session import MOST_REPETITIONS
from harness.cli.baselines import Baseline
from harness.cli.bench_options import read_names, read_parameters, read_workers
from harness.cli.guard import UsageFault
from harness.cli.requests.running import BenchRequest
from harness.cli.set_option import read_settings
from harness.cli.stores import store_to_read
from harness.compare import Comparison, fail_if
from harness.compare.comparing import cells_of
from harness.config import Config
from harness.files.json_output import STDOUT, check_writable
from harness.result.cell_key import machine_differences


def wishes_of(request: BenchRequest, width: float | None) -> MatrixRequest:
    """What the matrix is to hold beside what the scenarios say. ``width``: to be reached by repeating, None for not.

    Raises:
        UsageFault: an option does not parse.

    """
    repetitions = request.repetitions
    if repetitions is None and width is not None:
        repetitions = MOST_REPETITIONS
    return MatrixRequest(
        executors=read_names(request.executors),
        workers=read_workers(request.workers),
        policies=read_names(request.policies),
        settings=read_settings(request.settings),
        parameters=read_parameters(request.parameters),
        repetitions=repetitions,
        warmup=request.warmup,
        seed=request.seed,
        backend_options=read_settings(request.backend_options, "--backend-option"),
    )


def judge_for(request: BenchRequest, matrix: Matrix, config: Config, *, judge_all: bool) -> Judge:
    """What is asked of the results; what is wrong about that shows here, before the first run.

    Raises:
        UsageFault: options do not fit together.
        ThresholdError: a limit or a baseline does not parse.
        StoreError: the baseline cannot be found or read.

    """
    limits = [fail_if(typed) for typed in request.limits]
    if request.against is None:
        if limits:
            raise UsageFault('--fail-if needs a run to compare with: give --against @last, or --against "median(14)"')
        return Judge(matrix, judge_all)
    with store_to_read(request.store, config) as store:
        baseline = Baseline.find(request.against, (), store)
    if baseline.document is not None:
        _check_comparable(baseline.document, matrix)

    def compared(document: Mapping[str, Any]) -> Comparison:
        with store_to_read(request.store, config) as store:
            return baseline.compare(document, store)

    return Judge(matrix, judge_all, limits, compared)


def _check_comparable(before: Mapping[str, Any], matrix: Matrix) -> None:
    there = set(cells_of(before))
    if not there & {cell.key for cell in matrix.cells}:
        names = ", ".join(sorted(str(cell) for cell in there)[:5]) or "none"
        raise UsageFault(f"--against: that run has none of the cells that are to be measured; it has {names}")
    differences = machine_differences(before["environment"], machine_facts())
    if differences:
        raise UsageFault(f"--against: that run is from another machine ({'; '.join(differences)})")


def cache_mode(typed: str) -> CacheMode:
    """``--cache``.

    Raises:
        UsageFault: it is none of the modes.

    """
    for mode in get_args(CacheMode):
        if typed == mode:
            found: CacheMode = mode
            return found
    raise UsageFault(f"--cache {typed!r}: {did_you_mean(typed, get_args(CacheMode), 'use unique or allow')}")


def check_targets(request: BenchRequest) -> None:
    """Results must have somewhere to go.

    Raises:
        UsageFault: two of them would go to the same place.
        OutputError: a file cannot be written.

    """
    if request.record is not None and request.replay is not None:
        raise UsageFault("--record and --replay at once: what is replayed is recorded already")
    if request.json_target is not None:
        check_writable(request.json_target)
    if request.junit_target is not None:
        check_writable(request.junit_target, "JUnit XML")
    if request.json_target == request.junit_target == STDOUT:
        raise UsageFault("--json - and --junit - at once: give one of them a file")


def check_budget(budget: Budget, expected: Estimate) -> None:
    """Where a limit does not even allow one run, nothing would be measured at all.

    Raises:
        UsageFault: it is so.

    """
    calls = max((one.calls_a_run for one in expected.cases), default=0)
    tokens = max((one.tokens_a_run for one in expected.cases), default=0)
    if budget.max_calls is not None and calls > budget.max_calls:
        raise UsageFault(f"--max-calls {budget.max_calls}: one run makes {calls} calls; --dry-run says how many all do")
    if budget.max_tokens is not None and tokens > budget.max_tokens:
        raise UsageFault(f"--max-tokens {budget.max_tokens}: one run takes about {tokens} tokens; see --dry-run")
