"""``makespan bench``: lay out the matrix, measure it, say what came of it, keep it.

Rules of this module:
- All that can be wrong is looked at before the first run: files, options, where results go.
- With ``--json -`` stdout holds the document alone; everything for people goes to stderr.
- However it ends, what was measured is written wherever it was asked for; only then anything is said about it.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from harness.benchmark import (
    Budget,
    CallRecorder,
    Case,
    Matrix,
    MatrixCell,
    MatrixRequest,
    Outcome,
    RecordedRuns,
    Runner,
    Session,
    bench_document,
    build_matrix,
    estimate,
)
from harness.benchmark.bench_judging import Judge, Judged, confirmed
from harness.benchmark.bench_traces import BenchTraces
from harness.benchmark.budget import Estimate
from harness.benchmark.caching import CacheMode
from harness.benchmark.listeners import CallKeeper, StoreKeeper
from harness.benchmark.meter import machine_facts
from harness.benchmark.recorded_calls.recorded_call import RecordingError
from harness.benchmark.session import MOST_REPETITIONS, Listener
from harness.cli.baselines import Baseline, judgement_lines, limit_document
from harness.cli.bench_resuming import (
    ResumedBench,
    bench_as_it_was,
    bench_meant,
    check_bench_resume,
    lock_bench,
    resumed_bench,
    started_as,
)
from harness.cli.guard import UsageFault
from harness.cli.learned import learned_from
from harness.cli.metrics_option import Metrics
from harness.cli.requests.running import BenchRequest
from harness.cli.signals import programs_ended, terminated_as_interrupted
from harness.cli.stores import rescue, store_path, store_to_read
from harness.cli.trace_options import send_traces, tracing_for
from harness.cli.typed_values import (
    one_of,
    read_names,
    read_parameters,
    read_settings,
    read_time,
    read_width,
    read_workers,
)
from harness.compare import Comparison, comparison_document, fail_if
from harness.compare import text as comparison_text
from harness.compare.comparison import cells_of
from harness.config import Config, load_config
from harness.environment import usable_cores
from harness.execution import cache_assumed, calls_a_model, lacks_model
from harness.exit_codes import ExitCode
from harness.expectations import Verdict, junit
from harness.files.json_output import STDOUT, OutputError, check_writable, write_json, write_text
from harness.local_llm import local_model, suit
from harness.plain_text import some_of
from harness.report.terminal.bench_progress import BenchProgress
from harness.report.terminal.bench_text import bench_lines, dry_run_lines, expectation_lines
from harness.report.terminal.console import Line, Terminal, finding_lines
from harness.report.terminal.order_text import order_lines
from harness.report.terminal.resume_text import bench_resume_lines
from harness.result import Document, run_document
from harness.result.cell_key import machine_differences
from harness.store.recording import Recording
from harness.store.run_store import Store
from harness.store.store_errors import StoreError

_PLOT_COLUMNS: Final = 100
_CELLS_NAMED: Final = 5
# Ends of a benchmark that can go on.
_CUT_SHORT: Final = ("interrupted", "failed")


def bench_scenarios(request: BenchRequest) -> ExitCode:
    """Measure them.

    Raises:
        UsageFault: an option makes no sense, or results cannot be kept where they should be.
        WorkflowError: a file or the matrix has faults.
        OutputError: a result cannot be written.

    """
    check_bench_resume(request)
    _check_targets(request)
    with _as_usage_faults():
        stored = bench_meant(request, load_config(request.config_path))
    if stored is not None:
        request = bench_as_it_was(request, stored)
    width = read_width(request.until_width)
    wanted = _matrix_request(request, width)
    budget = Budget(request.max_calls, request.max_tokens, read_time(request.max_time))
    cache: CacheMode = one_of("--cache", request.cache, get_args(CacheMode))
    config = load_config(request.config_path, overrides={"llm": {"base_url": request.llm, "model": request.model}})
    learned = learned_from(
        request.store, config, Terminal(sys.stderr), no_store=request.no_store,
        before=None if stored is None else stored.run_id,
    )  # fmt: skip
    matrix = build_matrix(request.scenarios, wanted, config, learned)
    terminal = Terminal(sys.stderr) if STDOUT in (request.json_target, request.junit_target) else Terminal()
    if not request.quiet:
        warnings = [one for case in matrix.cases for one in case.loaded.findings if one.severity == "warning"]
        Terminal(sys.stderr).write(finding_lines(dict.fromkeys(warnings)))
        if any(cache_assumed(case.loaded) for case in matrix.cases):
            terminal.line("A benchmark takes nothing from the cache: steps with `cache: inputs` run each time.", "dim")
        for cell in matrix.cells:
            if cell.order is not None:
                terminal.write(order_lines(cell.order, on=cell.label))
    judge = _judge_for(request, matrix, config, judge_all=not wanted.change_the_cells)
    store = store_path(request.store, config)
    seed = matrix.cases[0].seed
    words = started_as(request, matrix, seed, config.llm)
    with _as_usage_faults(), ExitStack() as open_things:
        run_id = uuid.uuid4().hex if stored is None else stored.run_id
        if not (request.no_store or request.dry_run):
            lock_bench(store, run_id, open_things)
        resumed = None if stored is None else resumed_bench(stored, words, matrix, store)
        if resumed is not None and not request.quiet:
            terminal.write(bench_resume_lines(run_id, matrix, resumed.kept, most=width is not None))
            terminal.line()
        replay = None if request.replay is None else RecordedRuns(request.replay)
        metrics = Metrics(config, request.metrics_port, Terminal(sys.stderr), quiet=request.quiet)
        tracing = None if request.dry_run else tracing_for(config, request.trace, request.trace_file)
        traces = BenchTraces(tracing, config.telemetry, run_id)
        llm = config.llm
        if not request.dry_run and replay is None and any(calls_a_model(case.loaded) for case in matrix.cases):
            needs_name = any(lacks_model(case.loaded) for case in matrix.cases)
            llm = open_things.enter_context(local_model(llm, needs_name=needs_name))
            for case in matrix.cases:
                suit(case.loaded, llm)
        runner = Runner(
            matrix, llm=llm, cache=cache, replay=replay, instruments=metrics.instruments,
            instruments_for=traces.instruments,
        )  # fmt: skip
        expected = estimate(matrix, runner)
        if request.dry_run:
            terminal.write(dry_run_lines(expected, budget, width))
            return ExitCode.FINE
        _check_budget(budget, expected)
        open_things.enter_context(runner)
        metrics.tracing = tracing
        open_things.enter_context(metrics)
        bench = _Bench(
            request, matrix, runner, terminal, open_things, metrics, run_id=run_id, traces=traces,
            store=store, started_as=words, resumed=resumed,
        )  # fmt: skip
        # However it ends, what there is of traces is sent at the very end.
        open_things.callback(send_traces, tracing, Terminal(sys.stderr))
        session = Session(
            matrix, runner, seed=seed, until_width_ratio=width, budget=budget, usable_cores=usable_cores(),
            listeners=bench.listeners,
        )  # fmt: skip
        if resumed is not None:
            session.restore(resumed.kept)
        return bench.run(session, judge)


def _matrix_request(request: BenchRequest, width: float | None) -> MatrixRequest:
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


def _judge_for(request: BenchRequest, matrix: Matrix, config: Config, *, judge_all: bool) -> Judge:
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
        names = some_of(sorted(str(cell) for cell in there), _CELLS_NAMED) or "none"
        raise UsageFault(f"--against: that run has none of the cells that are to be measured; it has {names}")
    differences = machine_differences(before["environment"], machine_facts())
    if differences:
        raise UsageFault(f"--against: that run is from another machine ({'; '.join(differences)})")


def _check_targets(request: BenchRequest) -> None:
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


def _check_budget(budget: Budget, expected: Estimate) -> None:
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


class _Bench:
    """One benchmark from its first run to the last word about it."""

    def __init__(
        self,
        request: BenchRequest,
        matrix: Matrix,
        runner: Runner,
        terminal: Terminal,
        open_things: ExitStack,
        metrics: Metrics,
        *,
        run_id: str,
        traces: BenchTraces,
        store: Path,
        started_as: Mapping[str, Any],
        resumed: ResumedBench | None,
    ) -> None:
        self.request = request
        self.traces = traces
        self.matrix = matrix
        self.terminal = terminal
        self.store = store
        self.seed = matrix.cases[0].seed
        simulated = all(cell.simulated for cell in matrix.cells)
        self.resumed = resumed
        self.started_as = started_as
        self.head = {**resumed.stored.head, "results": []} if resumed is not None else run_document(
            run_id=run_id,
            scenario=" + ".join(matrix.scenarios),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            environment={**machine_facts(), "stand_in": runner.stand_in, "simulated": simulated},
            results=[],
        )  # fmt: skip
        self.runner = runner
        self.faults: list[str] = []
        self.metrics = metrics
        self.listeners: list[Listener] = [*metrics.listeners]
        self.recorder = None if request.record is None else CallRecorder(request.record)
        if self.recorder is not None:
            self.listeners.append(CallKeeper(self.recorder))
        self.recording = None if request.no_store else self._recording(open_things)
        if self.recording is not None:
            self.listeners.append(StoreKeeper(self.recording, matrix, () if resumed is None else resumed.kept))
        self.progress = None if request.no_progress or request.quiet else BenchProgress(terminal)
        if self.progress is not None:
            self.listeners.append(self.progress)

    def _recording(self, open_things: ExitStack) -> Recording:
        store = Store.open(self.store)
        open_things.callback(store.close)
        warned: list[str] = []
        recording = Recording(
            store, self.head, warn=warned.append, started_as=self.started_as, resumes=self.resumed is not None
        )
        if recording.failure is not None:
            raise recording.failure
        return recording

    def run(self, session: Session, judge: Judge) -> ExitCode:
        """Measure, judge, measure suspects again, keep, say. What ends that before all is kept (Ctrl-C may) leaves an
        interrupted run with its repetitions.
        """
        with terminated_as_interrupted():
            try:
                code = programs_ended(case.loaded for case in self.matrix.cases)
                with code, self.progress or contextlib.nullcontext():
                    outcome = session.run()
                    outcome, document, found = self._judged(session, judge, outcome)
                return self._report(outcome, document, found)
            finally:
                if self.recording is not None:
                    self.recording.interrupt()

    def _judged(self, session: Session, judge: Judge, outcome: Outcome) -> tuple[Outcome, Document, Judged]:
        document = self._document(outcome, session)
        found = judge.judge(document)
        suspects = judge.suspects(found) if self.request.confirm else []
        if suspects and outcome.failure is None and not outcome.interrupted:
            outcome, found = self._confirm(session, judge, suspects, outcome, found)
            document = self._document(outcome, session)
            document["benchmark"]["confirmed"] = [str(cell.key) for cell in suspects]
        return outcome, document, found

    def _report(self, outcome: Outcome, document: Document, found: Judged) -> ExitCode:
        if any(case.expectations for case in self.matrix.cases):
            document["expectations"] = [{"scenario": case.scenario, **one.document()} for case, one in found.verdicts]
        self.traces.keep(document, outcome)
        if found.comparison is not None:
            document["against"] = {
                **comparison_document(found.comparison), "limits": [limit_document(one) for one in found.limits],
            }  # fmt: skip
        self._keep(document, found.verdicts, outcome)
        try:
            if not self.request.quiet:
                self._show(document, found)
                if outcome.stopped_by in _CUT_SHORT and self.recording is not None and not self.faults:
                    self.terminal.line("What is missing can be done: makespan bench --resume @last", "dim")
        finally:
            # Also where no reader takes the text any more (`| head`).
            self.metrics.finish(document)
        if outcome.failure is not None:
            raise outcome.failure
        if self.faults:
            raise OutputError("\n".join(self.faults))
        return _exit_code(self.matrix, document, found, outcome)

    def _document(self, outcome: Outcome, session: Session, *, predictions: bool = True) -> Document:
        # What the code of steps asked is known now.
        self.head["environment"]["stand_in"] |= self.runner.stand_in
        return bench_document(
            outcome, self.head, seed=self.seed, predictions=predictions, usable_cores=session.usable_cores
        )  # fmt: skip

    def _confirm(
        self, session: Session, judge: Judge, suspects: Sequence[MatrixCell], outcome: Outcome, found: Judged
    ) -> tuple[Outcome, Judged]:
        """Measure the suspects again. All repetitions count for the figures, the new ones alone for the judgement."""
        rounds = self.request.confirm
        more = session.confirm(suspects, rounds)
        stopped_by = more.stopped_by
        if stopped_by == "repetitions":
            found = confirmed(found, judge.judge(self._document(more, session, predictions=False)), rounds)
            stopped_by = outcome.stopped_by
        return replace(more, series=outcome.series, stopped_by=stopped_by), found

    def _show(self, document: Document, found: Judged) -> None:
        columns = min(_PLOT_COLUMNS, self.terminal.width) if self.terminal.is_live else None
        width = self.terminal.width if self.terminal.is_live else None
        ascii_only = self.terminal.ascii_only
        self.terminal.write(bench_lines(document, width=width, plot_columns=columns, ascii_only=ascii_only))
        verdicts = [(case.scenario, one) for case, one in found.verdicts]
        self.terminal.write(expectation_lines(verdicts, found.skipped))
        if found.comparison is not None:
            self.terminal.line()
            self.terminal.write(Line(line) for line in comparison_text(found.comparison).splitlines())
            self.terminal.write(judgement_lines(found.limits, found.comparison))

    def _keep(self, document: Document, verdicts: Sequence[tuple[Case, Verdict]], outcome: Outcome) -> None:
        """Write everything that can be written; what cannot is reported at the end."""
        request = self.request
        self._try(lambda: None if self.recorder is None else self.recorder.close())
        if request.json_target is not None:
            self._try(lambda: write_json(document, str(request.json_target)))
        if request.junit_target is not None:
            self._try(lambda: write_text(self._junit(verdicts), str(request.junit_target), "JUnit XML"))
        if self.recording is not None and document["results"]:
            status: Any = "interrupted" if outcome.stopped_by in _CUT_SHORT else "finished"
            failure = self.recording.finish(document, status=status)
            if failure is not None:
                self.faults.append(str(failure))
                # Nowhere else but in memory is no place for hours of measuring.
                if request.json_target is None:
                    self.faults.append(rescue(document))

    def _try(self, write: Any) -> None:
        try:
            write()
        except (OutputError, RecordingError) as error:
            self.faults.append(str(error))

    def _junit(self, verdicts: Sequence[tuple[Case, Verdict]]) -> str:
        several = len(self.matrix.scenarios) > 1
        named = [
            replace(one, cell=f"{case.scenario} {one.cell or ''}".strip()) if several else one
            for case, one in verdicts
        ]  # fmt: skip
        return junit(named, suite=str(self.head["scenario"]))


@contextlib.contextmanager
def _as_usage_faults() -> Iterator[None]:
    """Faults of stores and recordings are the user's to mend."""
    try:
        yield
    except StoreError as error:
        raise UsageFault(f"{error}, or keep nothing with --no-store") from error
    except RecordingError as error:
        raise UsageFault(str(error)) from error


def _exit_code(matrix: Matrix, document: Mapping[str, Any], found: Judged, outcome: Outcome) -> ExitCode:
    if outcome.interrupted:
        return ExitCode.INTERRUPTED
    if not found.met:
        return ExitCode.EXPECTATION
    # Where a scenario says what errors it expects, that was judged.
    judged = {
        case.scenario for case in matrix.cases if any(one.metric.name == "errors" for one in case.expectations)
    }  # fmt: skip
    failed = any(
        sample["errors"] for result in document["results"] if result["scenario"] not in judged
        for sample in result["samples"]
    )  # fmt: skip
    return ExitCode.FAULT if failed else ExitCode.FINE
