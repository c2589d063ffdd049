"""The front door: run a workflow on a backend and get its outputs, its errors and the record of what happened.

Rules of this module:
- :func:`run` waits in the caller's thread; inside a running event loop (a notebook) it uses a helper thread.
- :func:`arun` awaits the same in the caller's event loop.
- Ctrl-C sets a flag and wakes the one who waits: what runs is stopped, everything is closed, and
  :class:`Interrupted` carries what was done. A second Ctrl-C leaves at once.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from executor.backends import Backend, BackendError, find_backend
from executor.dependencies import Graph, plan
from executor.engine.engine import Engine, StepError
from executor.engine.instruments import Instrument
from executor.model.findings import Finding, did_you_mean, raise_errors
from executor.model.workflow import Resource, Workflow, cache_of
from executor.record.timeline import NANOSECONDS, Attempt, StepStatus, Timeline
from executor.scheduler import Policy
from executor.tools.registry import Declared
from executor.tools.tool import RunContext
from executor.tools.toolbox import Toolbox, declarations_for

if TYPE_CHECKING:
    from executor.feed import Feed
    from executor.front_end import StepResult
    from executor.journal.earlier_run import EarlierRun
    from executor.journal.kept_run import Journal, KeptRun, Resume
    from executor.output_cache.cached_outputs import Cache, CachedOutputs

# Who stops a program (timeout, make) signals it and then its whole process group: that is one interrupt, not two.
SAME_INTERRUPT_SECONDS = 0.25


@dataclass(slots=True)
class Run:
    """What a run left: ``outputs`` and ``errors`` by step id, and the ``timeline``.

    ``warnings`` are for people: instruments that were switched off, calls that cannot be stopped, assumed durations.
    ``facts`` are what tools noted beside their attempts, of those that did: names of span attributes, and values.
    ``reused`` are the steps whose result an earlier run left, with the id of that run; ``cached`` are those of them
    that were taken from the cache. ``resumed`` is what was known of the run that this one went on from.
    """

    workflow: Workflow
    outputs: dict[str, Any]
    errors: dict[str, StepError]
    timeline: Timeline
    statuses: dict[str, StepStatus]
    backend: str
    workers: int
    policy: Policy
    startup_seconds: float = 0.0
    dropped_completions: int = 0
    interrupted: bool = False
    warnings: list[str] = field(default_factory=list)
    facts: Mapping[Attempt, Mapping[str, Any]] = field(default_factory=dict)
    # The promise that was run, where it was one.
    promised: Any = None
    reused: Mapping[str, str] = field(default_factory=dict)
    resumed: EarlierRun | None = None
    cached: Collection[str] = ()

    def output(self, result: Any) -> Any:
        """What a promise of :func:`executor.step` has become; in lists and mappings each promise is replaced.

        Raises:
            NoOutputError: its step has no output, since it failed or never ran.
            LookupError: it is no part of this run.
        """
        from executor.front_end import kept  # noqa: PLC0415  # for those who write no workflow

        return kept(result, self.promised, self.outputs, {**self.statuses, **self.errors})

    @property
    def ok(self) -> bool:
        """No step failed and nothing was cut short."""
        return not self.interrupted and not any(status in ("failed", "cancelled") for status in self.statuses.values())


class Interrupted(KeyboardInterrupt):
    """Ctrl-C came during a run. ``run`` holds what was done."""

    def __init__(self, run: Run) -> None:
        super().__init__("the run was interrupted")
        self.run = run


class RunOptions(TypedDict, total=False):
    """What :func:`run` and :func:`arun` take by name. All of it may be left out."""

    backend: str | Backend
    """Where the steps run. By default ``threads`` for :func:`run`, ``asyncio`` for :func:`arun`."""
    workers: int | None
    """How many steps run at once; None, the default: as many as the backend thinks right."""
    policy: Policy
    """The order of starts, by default ``dataflow``: a step starts as soon as what it needs is there."""
    tools: Mapping[str, Declared] | None
    """Names, and callables, declarations or tools; built-in kinds need none."""
    resources: Mapping[str, Resource] | None
    """Limits that steps share, by name."""
    seed: int
    """Of everything that is random, 0 by default."""
    instruments: Sequence[Instrument]
    """Who watches the run."""
    scale: float
    """Multiplies the durations of synthetic and stand-in steps, 1 by default."""
    graph: Graph | None
    """Spares planning where the caller has planned already."""
    feed: Feed | None
    """Is called in a thread of its own with :class:`executor.feed.Arrivals`, to which it adds steps while the run goes
    on; the workflow may have none of its own then."""
    journal: str | PathLike[str] | Journal | None
    """A file, made by the run, in which it is kept as it goes on, so that it can be resumed."""
    resume: str | PathLike[str] | Resume | None
    """The journal of a run that did not come to its end: what is finished there is not done again."""
    cache: str | PathLike[str] | Cache | None
    """A file, made where there is none, from which steps with ``cache: inputs`` take outputs of earlier runs."""


def run(workflow: Workflow | StepResult, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> Run:
    """Run a workflow, or the steps that a promise of :func:`executor.step` comes from, and wait for its end.

    Args:
        workflow: what is run.
        inputs: take the place of the workflow's own inputs of the same name.
        options: ``backend`` (``"threads"``), ``workers``, ``policy`` (``"dataflow"``), ``tools``, ``resources``,
            ``seed`` (0), ``instruments``, ``scale`` (1), ``graph``, ``feed``, ``journal``, ``resume`` and
            ``cache``: see :class:`RunOptions`.

    Raises:
        WorkflowError: the workflow must not run; it carries every finding.
        BackendError: the backend cannot be had, or simulates and there is a feed.
        JournalError: the journal cannot be used, or is of another workflow.
        Interrupted: Ctrl-C.
    """
    prepared = _Prepared(workflow, inputs, {"backend": "threads", **options})
    if _loop_is_running():
        return _in_helper_thread(prepared)
    return prepared.drive()


async def arun(
    workflow: Workflow | StepResult, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
) -> Run:
    """:func:`run` for coroutines, by default on ``"asyncio"``: awaits the end in the caller's event loop.

    Cancelling it cancels the run.
    """
    return await _Prepared(workflow, inputs, {"backend": "asyncio", **options}).drive_async()


class _Prepared:
    """A run that was checked and can start."""

    def __init__(self, workflow: Workflow | StepResult, inputs: Mapping[str, Any] | None, options: RunOptions) -> None:
        for name in options:
            if name not in RunOptions.__annotations__:
                raise TypeError(f"a run has no option {name!r}: {did_you_mean(name, RunOptions.__annotations__)}")
        declared = dict(options.get("tools") or {})
        resources, feed = options.get("resources"), options.get("feed")
        self.promised = None
        if not isinstance(workflow, Workflow):
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
        wanted = self.feed is not None or any(cache_of(step) is not None for step in graph.steps)
        given = options.get("cache")
        if given is None or not wanted or self.backend.simulates:
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
        try:
            self._open()
            self.startup_seconds = time.perf_counter() - began
            with self._ctrl_c(), self._fed():
                self.backend.drive(self.engine)
        except BaseException:
            self.engine.instruments.call("run_left", self.engine)
            raise
        finally:
            self._close()
        return self._result()

    async def drive_async(self) -> Run:
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
        self.backend.open(self.engine)
        if not self.backend.simulates:
            for tool in self.tools.values():
                tool.prepare()
        if self.kept is not None:
            self.kept.begin()
        if self.cached is not None:
            self.cached.begin()

    def _close(self) -> None:
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
            timeline=scheduler.timeline(backend=self.backend.name, startup_seconds=self.startup_seconds),
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
                reused[ids[index]] = hits.get(ids[index]) or made[-1]
        return reused

    def interrupt(self) -> None:
        """Cancel the run, from a signal handler too: a flag, and a wake-up for the one who waits."""
        self.interrupted = True
        self.engine.request_cancel()
        self.backend.notify()

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """The first Ctrl-C cancels, the second leaves at once. A handler of the embedding program is left alone."""
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):
            yield
            return

        interrupted_at = 0.0

        def interrupt(_signal_number: int, _frame: Any) -> None:
            nonlocal interrupted_at
            now = time.monotonic()
            if self.interrupted:
                if now - interrupted_at < SAME_INTERRUPT_SECONDS:
                    return
                signal.signal(signal.SIGINT, signal.default_int_handler)
                raise KeyboardInterrupt
            interrupted_at = now
            self.interrupt()

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            if self.interrupted:
                time.sleep(max(0.0, interrupted_at + SAME_INTERRUPT_SECONDS - time.monotonic()))
            signal.signal(signal.SIGINT, signal.default_int_handler)


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


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_helper_thread(prepared: _Prepared) -> Run:
    """Run in a thread of its own, since the caller's has a running event loop, and wait for it. An interrupt that
    comes while waiting (a notebook's stop button) cancels the run; a second one leaves at once.
    """
    results: list[Run] = []
    errors: list[BaseException] = []
    # Not `thread.join()`: when that is interrupted, Python 3.11 takes the thread for ended.
    ended = threading.Event()

    def work() -> None:
        try:
            results.append(prepared.drive())
        except BaseException as error:  # noqa: BLE001  # handed over to the caller below
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=work, name="makespan-run", daemon=True)
    thread.start()
    try:
        ended.wait()
    except KeyboardInterrupt:
        prepared.interrupt()
        ended.wait()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


__all__ = ["NANOSECONDS", "Interrupted", "Run", "RunOptions", "arun", "declarations_for", "run"]
