"""``makespan run``: load, show the plan, run and show it running, show what came out, write the document.

Rules of this module:
- With ``--json -`` stdout holds the document alone; everything for people goes to stderr.
- Ctrl-C, SIGTERM and SIGHUP end the run in order: what was finished is shown, written and kept.
- What few runs need (planners, plots, journals) is imported where it is needed.
- A history that cannot take the run costs a warning, nothing else; one that was named is looked at before the run.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from executor.backends import make_backend
from executor.garbage_collection import frozen_objects, paused_collector
from executor.model.findings import Finding
from executor.running import Run
from harness.analysis import Summary
from harness.cli.guard import UsageFault
from harness.cli.learned import learned_from
from harness.cli.metrics_option import Metrics
from harness.cli.plan import is_file_argument, workflow_document
from harness.cli.requests.running import RunRequest
from harness.cli.resuming import as_it_was, check_resume_options, journal_meant, keeping, plan_that_was, started_as
from harness.cli.signals import programs_ended, terminated_as_interrupted
from harness.cli.stores import check_store, keep_run, rescue, store_path
from harness.cli.trace_options import send_traces, traces_sent_on_error, tracing_for, untraced
from harness.cli.typed_values import read_settings
from harness.config import BEST, Config, load_config
from harness.execution import Execution, Keep, document_of, execute, workers_for
from harness.exit_codes import ExitCode
from harness.files.encoded_list import items_with
from harness.files.json_output import STDOUT, check_writable, write_json
from harness.files.strict_file import parse_document
from harness.plain_text import one_line
from harness.report.terminal.console import Terminal, finding_lines
from harness.report.terminal.plan_text import plan_lines
from harness.report.terminal.run_progress import progress_for
from harness.report.terminal.summary_text import fault_lines, step_lines, summary_lines
from harness.result import Document
from harness.scenario.scenario_file import load, load_document
from harness.scenario.scenario_model import Loaded

if TYPE_CHECKING:
    from executor.journal.resume_plan import ResumePlan
    from executor.output_cache.cached_outputs import Cache
    from harness.planner import LivePlan
    from harness.store.journals import FoundJournal
    from harness.telemetry.spans.trace_session import Tracing

# Of a larger run no document is made just to see whether it could be.
_STEPS_LOOKED_AT: Final = 20_000
# The document of a larger one costs more than a history is worth, unless it is asked for.
_STEPS_KEPT: Final = 200_000
# With fewer steps a line of concurrency says nothing that the steps do not.
_LEAST_STEPS_PLOTTED: Final = 3
_PLOT_COLUMNS: Final = 60
_CAPACITY_COLUMNS: Final = 40
# What is around the plot.
_PLOT_MARGIN: Final = 68
_ID_SHOWN: Final = 12


def run_scenario(request: RunRequest) -> ExitCode:
    """Run it once."""
    _check(request)
    journal = journal_meant(request, load_config(request.config_path))
    if journal is not None:
        request = as_it_was(request, journal)
    config = load_config(
        request.config_path,
        overrides={
            "executor": request.executor,
            "workers": request.workers,
            "policy": request.policy,
            "llm": {"base_url": request.llm, "model": request.model},
        },
    )
    faults = Terminal(sys.stderr)
    terminal = faults if request.json_target == STDOUT else Terminal()
    with ExitStack() as open_things:
        live, asks = None, False
        if request.task is not None:
            config, live, asks = _planned(request, config, terminal, open_things)
        loaded = _load(request, config, plan_that_was(request, journal)) if live is None else live.loaded
        if not request.quiet:
            faults.write(finding_lines(_warnings(loaded.findings)))
        if live is None:
            loaded.document.forget()
            _show_plan(request, loaded, terminal)
        elif not request.quiet:
            terminal.line("Steps start while the plan is still being written.")
        order = None
        if config.policy == BEST:
            loaded, order = _in_best_order(loaded, request, config, terminal, faults, is_whole=live is None)
        if asks and not _approved(terminal):
            terminal.line("Nothing was run.")
            return ExitCode.FINE
        with Metrics(config, request.metrics_port, faults, quiet=request.quiet) as metrics:
            return _run_loaded(loaded, request, config, terminal, faults, metrics, live, journal, order)


def _planned(
    request: RunRequest, config: Config, terminal: Terminal, open_things: ExitStack
) -> tuple[Config, LivePlan | None, bool]:
    """What a task needs: the configuration with what plans it, its plan as it is written, and whether to ask first."""
    from harness.cli.tasks import can_ask, live_plan, with_planning_model  # noqa: PLC0415 - planners, for a task alone

    asks = not (request.yes or request.quiet) and can_ask(terminal)
    # One that plans answers the steps as well.
    config = open_things.enter_context(with_planning_model(request.task, request.planner, config))
    whole = asks or bool(request.settings)
    return config, open_things.enter_context(live_plan(request.task, request.planner, config, whole=whole)), asks


def _approved(terminal: Terminal) -> bool:
    from harness.cli.tasks import is_approved  # noqa: PLC0415 - planners, for a task alone

    return is_approved(terminal)


def _show_plan(request: RunRequest, loaded: Loaded, terminal: Terminal) -> None:
    """Show and save what is going to run, or, where it arrived step by step, what ran."""
    if not request.quiet:
        terminal.write(plan_lines(loaded.workflow, width=terminal.width))
        terminal.line()
    if request.save is not None:
        from harness.cli.tasks import save_plan  # noqa: PLC0415 - the same

        save_plan(workflow_document(loaded), request.save)


def _in_best_order(
    loaded: Loaded, request: RunRequest, config: Config, terminal: Terminal, faults: Terminal, *, is_whole: bool
) -> tuple[Loaded, Document | None]:
    """The scenario with the priorities of the best order of starts, and how that was found."""
    from harness.report.terminal.order_text import order_lines  # noqa: PLC0415 - simulations, for this policy alone
    from harness.simulation import best_order  # noqa: PLC0415 - the same
    from harness.simulation.simulation_document import order_document  # noqa: PLC0415 - the same

    if not is_whole:
        faults.line("warning: policy best needs the whole plan, and steps of a task start before: it is dataflow")
        return loaded, None
    options = read_settings(request.backend_options, "--backend-option")
    workers = workers_for(config.executor, request.workers, config.workers)
    capacity = make_backend(config.executor, workers, config.options_of(config.executor, options)).capacity
    learned = learned_from(request.store, config, faults, no_store=request.no_store)
    order = best_order(loaded, workers=capacity, learned=learned)
    if not request.quiet:
        terminal.write(order_lines(order))
    return replace(loaded, graph=order.applied(loaded.graph)), order_document(order)


def _run_loaded(
    loaded: Loaded,
    request: RunRequest,
    config: Config,
    terminal: Terminal,
    faults: Terminal,
    metrics: Metrics,
    live: LivePlan | None,
    journal: FoundJournal | None,
    order: Document | None,
) -> ExitCode:
    """Run it, or what ``live`` brings; show, keep and send what came of it."""
    tracing = tracing_for(config, request.trace, request.trace_file)
    metrics.tracing = tracing
    metrics.begin_run(loaded.scenario.scenario, config.executor, loaded.parameters, config.policy)
    with terminated_as_interrupted():
        with traces_sent_on_error(tracing, faults):
            execution = replace(
                _executed(loaded, request, config, terminal, metrics, tracing, live, journal), order=order
            )
        if live is not None:
            live.finish()
            execution = replace(execution, loaded=live.loaded)
            if not request.quiet:
                terminal.line()
            _show_plan(request, live.loaded, terminal)
        return _report(execution, request, config, terminal, faults, metrics, tracing, live)


def _executed(
    loaded: Loaded,
    request: RunRequest,
    config: Config,
    terminal: Terminal,
    metrics: Metrics,
    tracing: Tracing | None,
    live: LivePlan | None,
    journal: FoundJournal | None,
) -> Execution:
    unseen = request.no_progress or request.quiet
    progress = None if unseen else progress_for(terminal, len(loaded.graph.steps))
    with programs_ended([loaded]), frozen_objects(), progress or contextlib.nullcontext():
        return execute(
            loaded,
            executor=config.executor,
            workers=workers_for(config.executor, request.workers, config.workers),
            policy=config.policy,
            seed=request.seed,
            llm=config.llm,
            backend_options=config.options_of(
                config.executor, read_settings(request.backend_options, "--backend-option")
            ),
            instruments=[
                *untraced(config, request.trace),
                *metrics.instruments,
                *(() if progress is None else [progress]),
            ],
            tracing=tracing,
            feed=live,
            keep=_keep_while(loaded, request, config, journal, terminal) if live is None else None,
            resumed=None if journal is None else (journal.run_id, journal.trace_id),
            cache=None if request.no_store else _cache(request, config),
        )


@paused_collector()
def _report(
    execution: Execution,
    request: RunRequest,
    config: Config,
    terminal: Terminal,
    faults: Terminal,
    metrics: Metrics,
    tracing: Tracing | None,
    live: LivePlan | None,
) -> ExitCode:
    """Show, keep and send what came of a run."""
    steps = len(execution.loaded.graph.steps)
    if steps > _STEPS_KEPT and not request.no_store and request.store is None:
        faults.line(f"warning: runs of more than {_STEPS_KEPT:,} steps are kept only with --store FILE", "yellow")
        request = replace(request, no_store=True)
    written = not request.no_store or request.json_target is not None or metrics.wants_document
    figures = execution.figures()
    large = steps > _STEPS_LOOKED_AT
    encoded = large and not metrics.wants_document
    result = execution.result(figures, encoded_steps=encoded) if written or not large else None
    document = document_of(execution, result) if written else None
    try:
        if request.quiet:
            faults.write(fault_lines(execution.run))
        else:
            _show(execution, figures, result, terminal)
    finally:
        # Also where no reader takes the text any more (`| head`).
        if document is not None:
            _keep(document, request, config, terminal, faults, interrupted=execution.run.interrupted)
        send_traces(tracing, faults)
        if document is not None:
            metrics.finish(document)
    if live is not None and live.writing.error is not None:
        faults.write(finding_lines(live.writing.error.findings))
        return ExitCode.FAULT
    return _exit_code(execution.run)


def _check(request: RunRequest) -> None:
    """See that what is asked for makes sense, before any work.

    Raises:
        UsageFault: there is not exactly one of scenario and task, or an option belongs to the other.
        OutputError: something cannot be written where it is asked for.

    """
    check_resume_options(request)
    if (request.scenario is None) == (request.task is None) and request.resume is None:
        both = request.scenario is not None
        raise UsageFault("give either a SCENARIO or --task, not both" if both else "give a SCENARIO, or --task TEXT")
    if request.scenario is not None and not is_file_argument(request.scenario):
        raise UsageFault(f"{request.scenario!r} is a task, not a file: makespan run --task {request.scenario!r}")
    if request.task is None and (request.planner is not None or request.save is not None):
        raise UsageFault("--planner and --save go with --task; `makespan plan FILE --save OTHER` writes a file's plan")
    if request.json_target is not None:
        check_writable(request.json_target)
    if request.save is not None:
        check_writable(request.save, "the plan")
        if request.save == STDOUT:
            raise UsageFault("--save needs the name of a file here; `makespan plan TEXT --save -` writes to stdout")
    if not request.no_store:
        check_store(request.store)


def _keep_while(
    loaded: Loaded, request: RunRequest, config: Config, journal: FoundJournal | None, terminal: Terminal
) -> Keep | None:
    """How the run is kept while it goes on; None where nothing is kept."""
    if request.no_store or (len(loaded.graph.steps) > _STEPS_KEPT and request.store is None):
        return None

    def show(plan: ResumePlan) -> None:
        if not request.quiet:
            from harness.report.terminal.resume_text import resume_lines  # noqa: PLC0415 - the same

            terminal.write(resume_lines(plan))

    plan = workflow_document(loaded) if request.scenario is None else None
    seed = loaded.scenario.seed if request.seed is None else request.seed
    return keeping(request, config, journal, started_as(request, config, seed, plan), show)


def _cache(request: RunRequest, config: Config) -> Callable[[str], Cache]:
    """By the run's id, the cache beside the store."""
    from executor.output_cache.cached_outputs import Cache  # noqa: PLC0415 - the same
    from harness.store.journals import cache_path  # noqa: PLC0415 - the same

    path = cache_path(store_path(request.store, config))
    return lambda run_id: Cache(path, reads=not request.no_cache, run_id=run_id)


def _load(request: RunRequest, config: Config, plan: Mapping[str, Any] | None) -> Loaded:
    """The scenario, or the plan of the task. ``plan``: the one that the task had before."""
    settings = read_settings(request.settings)
    if plan is not None:
        return load_document(
            parse_document(json.dumps(plan), source="the plan of the run", format="json"),
            settings=settings,
            config=config,
        )
    if request.task is None:
        return load(request.scenario or "", settings=settings, config=config)
    from harness.cli.tasks import load_task  # noqa: PLC0415 - planners, for a task alone

    return load_task(request.task, config=config, planner=request.planner, settings=settings)


def _keep(
    document: Document, request: RunRequest, config: Config, terminal: Terminal, faults: Terminal, *, interrupted: bool
) -> None:
    """Into the history first: that it fails is no reason not to write the document."""
    if not request.no_store:
        fault = keep_run(document, request.store, config, status="interrupted" if interrupted else "finished")
        if fault is not None:
            in_vain = request.store is not None and request.json_target is None
            warning = f"{fault}; {rescue(document)}" if in_vain else fault
            faults.line(f"warning: {one_line(warning, 1000)}", "yellow")
        elif terminal.is_live and not request.quiet:
            run_id = str(document["run_id"])[:_ID_SHOWN]
            terminal.line(f"Kept as run {run_id}: makespan report @last -o report.html", "dim")
            if interrupted or any(result["samples"][0]["errors"] for result in document["results"]):
                terminal.line("What is missing can be done: makespan run --resume @last", "dim")
    if request.json_target is not None:
        write_json(document, request.json_target)


def _warnings(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "warning"]


def _show(execution: Execution, figures: Summary, result: Document | None, terminal: Terminal) -> None:
    from harness.report.terminal.plots import capacity_lines, concurrency_line  # noqa: PLC0415 - the same

    run = execution.run
    terminal.line()
    terminal.write(step_lines(run, simulated=execution.simulated, stand_in=execution.stand_in, width=terminal.width))
    terminal.line()
    name = execution.loaded.scenario.scenario
    warnings = [*run.warnings, *_unstorable(result)]
    plot = None
    if terminal.is_live and len(run.timeline.step_ids) >= _LEAST_STEPS_PLOTTED:
        columns = min(_PLOT_COLUMNS, max(1, terminal.width - _PLOT_MARGIN))
        plot = concurrency_line(run.timeline, columns, ascii_only=terminal.ascii_only)
    curves = capacity_lines(run.timeline, _CAPACITY_COLUMNS, ascii_only=terminal.ascii_only)
    lines = summary_lines(name, run, figures, warnings, simulated=execution.simulated, plot=plot, capacities=curves)
    terminal.write(lines)


def _unstorable(result: Document | None) -> Iterator[str]:
    """A sentence for each step whose output the document cannot hold."""
    for step in () if result is None else items_with("output_error", result["steps"]):
        yield f"step {step['step_id']!r}: {step['output_error']}; the result has null there"


def _exit_code(run: Run) -> ExitCode:
    if run.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.FINE if run.ok else ExitCode.FAULT
