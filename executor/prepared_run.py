"""A run that was checked and can start: it opens what it needs, drives the backend, closes everything.

Rules of this module:
- An interrupt (see :mod:`executor.interrupts`) sets a flag and wakes the one who waits: what runs is stopped,
  everything is closed, and :class:`Interrupted` carries what was done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from executor.backends import Backend, BackendError, find_backend
from executor.backends.own_environment import shared_environment_warnings
from executor.dependencies import Graph, plan
from executor.engine.engine import Engine
from executor.engine.instruments import Instrument
from executor.garbage_collection import rare_collections
from executor.interrupts import first_interrupt_calls
from executor.model.findings import Finding, raise_errors
from executor.model.workflow import Workflow
from executor.run_options import check_mapping, check_workflow, checked_options
from executor.run_result import Interrupted, Run, RunOptions
from executor.scheduler import Policy
from executor.tools.tool import RunContext
from executor.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from executor.front_end import StepResult
    from executor.journal.kept_run import KeptRun
    from executor.output_cache.cached_outputs import CachedOutputs


class PreparedRun:
    """A run that was checked and can start."""

    @rare_collections()
    def __init__(self, workflow: Workflow | StepResult, inputs: Mapping[str, Any] | None, options: RunOptions) -> None:
        options = checked_options(options)
        check_mapping("inputs", inputs, "name: value")
        declared = dict(options.get("tools") or {})
        resources, feed = options.get("resources"), options.get("feed")
        if resources and any(resource.devices is not None for resource in resources.values()):
            from executor.device_discovery import with_devices  # noqa: PLC0415  # few runs have devices

            resources, faults = with_devices(resources)
            raise_errors(faults)
            options = {**options, "resources": resources}
        self.promised = None
        if not isinstance(workflow, Workflow):
            check_workflow(workflow)
            self.promised = workflow
            from executor.front_end import tools_of, workflow_of  # noqa: PLC0415  # for those who write no workflow

            declared = {**tools_of(workflow), **declared}
            workflow = workflow_of(workflow)
        self.workflow = workflow
        toolbox = Toolbox(declared, resources)
        graph, findings = _planned(workflow, options, toolbox)
        names = dict.fromkeys(step.tool for step in graph.steps if step.tool is not None)
        if feed is not None:
            # It is not known yet what the steps that arrive will use.
            names |= dict.fromkeys(declared)
        raise_errors([*findings, *toolbox.resolve(names)])
        raise_errors(toolbox.check_calls(graph.steps))
        # It grows when running steps call tools that no step of the file names.
        self.tools = toolbox.tools
        backend = options["backend"]
        self.backend = backend if isinstance(backend, Backend) else find_backend(backend)(options.get("workers"))
        if feed is not None and self.backend.simulates:
            raise BackendError(f"steps cannot arrive on {self.backend.name}: there no time passes in which they could")
        self.feed = feed
        self.instruments = _with_tracing(options.get("instruments", ()))
        self.policy: Policy = options.get("policy", "dataflow")
        inputs = {**workflow.inputs, **(inputs or {})}
        context = RunContext(workflow.workflow_id, inputs, options.get("scale", 1.0), options.get("seed", 0))
        self.kept = self._kept(options, graph, context)
        self.cached = self._cached(options, graph, context)
        earlier = None if self.kept is None else self.kept.earlier
        self.engine = Engine(
            graph,
            self.tools,
            self.backend,
            slots=self.backend.capacity,
            policy=self.policy,
            resources=resources,
            context=context,
            instruments=self.instruments,
            toolbox=toolbox,
            earlier=earlier if self.cached is None else self.cached,
        )
        if self.kept is not None:
            self.kept.attach(self.engine)
        if self.cached is not None:
            self.cached.attach(self.engine)
        if feed is not None:
            # Before the first question whether it is done: a run without steps would be.
            self.engine.scheduler.hold()
        self.startup_seconds = 0.0
        self.interrupted = False
        self.closing = False

    def _kept(self, options: RunOptions, graph: Graph, context: RunContext) -> KeptRun | None:
        journal, resume = options.get("journal"), options.get("resume")
        if journal is None and resume is None:
            return None
        from executor.journal.journal_errors import JournalError  # noqa: PLC0415  # SQLite, only where a run is kept
        from executor.journal.kept_run import kept_run  # noqa: PLC0415  # as above

        if self.backend.simulates:
            raise JournalError(f"on {self.backend.name} nothing really runs, so there is nothing to keep or to resume")
        if self.feed is not None and resume is not None:
            raise JournalError("a run whose steps arrive cannot be resumed", "resume it with the steps as a workflow")
        return kept_run(journal, resume, graph, self.tools, context)

    def _cached(self, options: RunOptions, graph: Graph, context: RunContext) -> CachedOutputs | None:
        """The cache, where a step may want it."""
        given = options.get("cache")
        if given is None or self.backend.simulates:
            return None
        if self.feed is None and all(step.cache is None for step in graph.steps):
            return None
        from executor.output_cache.cached_outputs import Cache, CachedOutputs  # noqa: PLC0415  # SQLite, as above

        resume = options.get("resume")
        finished = None if self.kept is None else self.kept.earlier
        return CachedOutputs(
            given if isinstance(given, Cache) else Cache(given),
            context,
            first=finished,
            again=getattr(resume, "rerun", ()),
            ran=() if finished is None else finished.earlier.ran_in,
        )

    def drive(self) -> Run:
        began = time.perf_counter()
        with ExitStack() as interrupts:
            try:
                self._open()
                self.startup_seconds = time.perf_counter() - began
                # What closes takes seconds on a cluster: who interrupts that gets what was done, too.
                interrupts.enter_context(first_interrupt_calls(self.interrupt))
                with self._fed():
                    self.backend.drive(self.engine)
            except BaseException:
                self.engine.instruments.call("run_left", self.engine)
                raise
            finally:
                self._close()
        return self._result()

    async def drive_async(self) -> Run:
        import asyncio  # noqa: PLC0415  # who runs no coroutine does not pay for its import

        began = time.perf_counter()
        try:
            self._open()
            self.startup_seconds = time.perf_counter() - began
            try:
                with self._fed():
                    await self.backend.drive_async(self.engine)
            except asyncio.CancelledError:
                self.engine.cancel()
                raise
        except BaseException:
            self.engine.instruments.call("run_left", self.engine)
            raise
        finally:
            for tool in list(self.tools.values()):
                await tool.close_async()
            self._close()
        return self._result()

    @contextmanager
    def _fed(self) -> Iterator[None]:
        """Let steps arrive; the feed's own error is raised at the end."""
        if self.feed is None:
            yield
            return
        from executor.feed import Arrivals  # noqa: PLC0415  # few runs have a feed

        before = len(self.engine.scheduler.steps)
        arrivals = Arrivals(self.engine)
        arrivals.start(self.feed)
        try:
            yield
        finally:
            arrivals.end()
        late = [step for step in self.engine.scheduler.steps[before:] if step.step_id in self.engine.scheduler.index]
        self.workflow = self.workflow.model_copy(update={"steps": (*self.workflow.steps, *late)})
        if arrivals.error is not None:
            raise arrivals.error

    def _open(self) -> None:
        for instrument in self.instruments:
            self.engine.context.trace = self.engine.context.trace or instrument.carrier
            self.engine.context.capture_content |= instrument.captures_content
        # Of a run before this one, where the backend is shared.
        self.backend.warnings.clear()
        self.backend.open(self.engine)
        if not self.backend.simulates:
            for tool in self.tools.values():
                tool.prepare()
        if self.engine.scheduler.limits.pools and not self.backend.simulates:
            self.engine.warnings.extend(shared_environment_warnings(self.engine, self.backend))
        if self.kept is not None:
            self.kept.begin()
        if self.cached is not None:
            self.cached.begin()

    def _close(self) -> None:
        self.closing = True
        try:
            self.backend.close()
            for tool in list(self.tools.values()):
                tool.close()
        finally:
            if self.cached is not None:
                self.engine.warnings.extend(self.cached.end())
            if self.kept is not None:
                how = "interrupted" if self.interrupted else "finished" if self.engine.scheduler.done else "left"
                self.engine.warnings.extend(self.kept.end(how))

    def _result(self) -> Run:
        engine = self.engine
        engine.instruments.call("run_finished", engine)
        scheduler = engine.scheduler
        if self.interrupted:
            engine.warnings.append("the run was interrupted")
        result = Run(
            workflow=self.workflow,
            outputs=engine.outputs,
            errors=engine.errors,
            timeline=engine.timeline(self.startup_seconds),
            statuses=dict(zip(scheduler.step_ids, scheduler.statuses(), strict=True)),
            backend=self.backend.name,
            workers=scheduler.largest_slots,
            policy=self.policy,
            startup_seconds=self.startup_seconds,
            dropped_completions=engine.dropped_completions,
            interrupted=self.interrupted,
            promised=self.promised,
            warnings=[*engine.warnings, *engine.instruments.warnings, *self.backend.warnings],
            facts=engine.facts,
            reused=self._reused(),
            cached=frozenset(scheduler.step_ids[it] for it in scheduler.cached),
            resumed=None if self.kept is None or self.kept.earlier is None else self.kept.earlier.earlier,
        )
        if self.interrupted:
            raise Interrupted(result)
        return result

    def _reused(self) -> dict[str, str]:
        scheduler = self.engine.scheduler
        ids = scheduler.step_ids
        reused = {}
        if self.kept is not None:
            reused = self.kept.reused(ids[index] for index in scheduler.reused if index not in scheduler.cached)
        if self.cached is not None:
            hits = self.cached.hits
            for index in scheduler.cached:
                # A mapped step has the run of its last item.
                made = [hits[ids[item]] for item in scheduler.family_calls(index) if ids[item] in hits]
                reused[ids[index]] = hits[ids[index]] if ids[index] in hits else made[-1]
        return reused

    def interrupt(self) -> None:
        """Cancel the run, from a signal handler too: a flag, and a wake-up for the one who waits."""
        self.interrupted = True
        if not self.closing:
            self.engine.request_cancel()
            self.backend.notify()


def _planned(workflow: Workflow, options: RunOptions, toolbox: Toolbox) -> tuple[Graph, list[Finding]]:
    """The graph of the workflow, with what is to be said of it.

    Raises:
        WorkflowError: it has none.
    """
    graph = options.get("graph")
    if graph is not None:
        return graph, []
    if options.get("feed") is not None and not workflow.steps:
        return Graph((), {}, [], [], [], [], []), []
    used = dict.fromkeys(step.tool for step in workflow.steps if step.tool is not None)
    planned = plan(workflow, tools=toolbox.declarations(used), resources=options.get("resources") or {}, hints=False)
    raise_errors(planned.findings)
    assert planned.graph is not None, "no error and no graph"
    return planned.graph, planned.findings


def _with_tracing(instruments: Sequence[Instrument]) -> Sequence[Instrument]:
    """Under an active span, or a provider that was set up, the run becomes part of that trace."""
    if "opentelemetry.trace" not in sys.modules or any(instrument.traces for instrument in instruments):
        return instruments
    from executor.tracing.live_spans import tracing_for_caller  # noqa: PLC0415  # only where OpenTelemetry is in use

    tracing = tracing_for_caller()
    return instruments if tracing is None else [*instruments, tracing]
