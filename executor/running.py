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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from executor.backends import Backend, BackendError, find_backend
from executor.dependencies import Graph, plan
from executor.engine.engine import Engine, StepError
from executor.engine.instruments import Instrument
from executor.model.findings import Finding, raise_errors
from executor.model.workflow import Resource, Workflow
from executor.record.timeline import NANOSECONDS, Attempt, StepStatus, Timeline
from executor.scheduler import Policy
from executor.tools.registry import Declared, check_tools, resolve_tools
from executor.tools.tool import RunContext, Tool
from executor.tools.toolbox import Toolbox, declarations_for, names_in_words

if TYPE_CHECKING:
    from executor.feed import Feed
    from executor.front_end import StepResult

# Who stops a program (timeout, make) signals it and then its whole process group: that is one interrupt, not two.
SAME_INTERRUPT_SECONDS = 0.25


@dataclass(slots=True)
class Run:
    """What a run left: ``outputs`` and ``errors`` by step id, and the ``timeline``.

    ``warnings`` are for people: instruments that were switched off, calls that cannot be stopped, assumed durations.
    ``facts`` are what tools told beside their attempts, of those that did: names of span attributes, and values.
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


def run(
    workflow: Workflow | StepResult,
    inputs: Mapping[str, Any] | None = None,
    *,
    backend: str | Backend = "threads",
    workers: int | None = None,
    policy: Policy = "dataflow",
    tools: Mapping[str, Declared] | None = None,
    resources: Mapping[str, Resource] | None = None,
    seed: int = 0,
    instruments: Sequence[Instrument] = (),
    scale: float = 1.0,
    graph: Graph | None = None,
    feed: Feed | None = None,
) -> Run:
    """Run a workflow, or the steps that a promise of :func:`executor.step` comes from, and wait for its end.

    ``tools`` maps names to callables, declarations or tools; built-in kinds need none. ``scale`` multiplies the
    durations of synthetic and stand-in steps. ``graph`` spares planning where the caller has planned already.
    ``feed`` is called in a thread of its own with :class:`executor.feed.Arrivals`, to which it adds steps while
    the run goes on; the workflow may have none of its own then.

    Raises:
        WorkflowError: the workflow must not run; it carries every finding.
        BackendError: the backend cannot be had, or simulates and there is a feed.
        Interrupted: Ctrl-C.
    """
    prepared = _Prepared(
        workflow, inputs, backend, workers, policy, tools, resources, seed, instruments, scale, graph, feed
    )
    if _loop_is_running():
        return _in_helper_thread(prepared)
    return prepared.drive()


async def arun(
    workflow: Workflow | StepResult,
    inputs: Mapping[str, Any] | None = None,
    *,
    backend: str | Backend = "asyncio",
    workers: int | None = None,
    policy: Policy = "dataflow",
    tools: Mapping[str, Declared] | None = None,
    resources: Mapping[str, Resource] | None = None,
    seed: int = 0,
    instruments: Sequence[Instrument] = (),
    scale: float = 1.0,
    graph: Graph | None = None,
    feed: Feed | None = None,
) -> Run:
    """:func:`run` for coroutines: awaits the end in the caller's event loop. Cancelling it cancels the run."""
    prepared = _Prepared(
        workflow, inputs, backend, workers, policy, tools, resources, seed, instruments, scale, graph, feed
    )
    return await prepared.drive_async()


class _Prepared:
    """A run that was checked and can start."""

    def __init__(
        self,
        workflow: Workflow | StepResult,
        inputs: Mapping[str, Any] | None,
        backend: str | Backend,
        workers: int | None,
        policy: Policy,
        tools: Mapping[str, Declared] | None,
        resources: Mapping[str, Resource] | None,
        seed: int,
        instruments: Sequence[Instrument],
        scale: float,
        graph: Graph | None,
        feed: Feed | None,
    ) -> None:
        declared = dict(tools or {})
        self.promised = None
        if not isinstance(workflow, Workflow):
            self.promised = workflow
            from executor.front_end import tools_of, workflow_of  # noqa: PLC0415  # for those who write no workflow

            declared = {**tools_of(workflow), **declared}
            workflow = workflow_of(workflow)
        findings: list[Finding] = []
        if graph is None and feed is not None and not workflow.steps:
            graph = Graph((), {}, [], [], [], [], [])
        if graph is None:
            used = dict.fromkeys(step.tool for step in workflow.steps if step.tool is not None)
            declarations = declarations_for(used, declared)
            planned = plan(workflow, tools=declarations, resources=resources or {}, hints=False)
            findings = planned.findings
            raise_errors(findings)
            graph = planned.graph
            assert graph is not None
        names = dict.fromkeys(step.tool for step in graph.steps if step.tool is not None)
        if feed is not None:
            # Nobody knows yet what the steps that arrive will use.
            names |= dict.fromkeys(declared)
        findings = [*findings, *check_tools(names, declared)]
        raise_errors(findings)
        self.workflow = workflow
        # It grows when running steps call tools that no step of the file names.
        self.tools: dict[str, Tool] = resolve_tools(names, declared)
        if any(tool.may_call for tool in self.tools.values()):
            # Functions are left until they are called: one that no step names may be fit for this process alone.
            self.tools |= resolve_tools([name for name in names_in_words(declared) if name not in self.tools], declared)
        self.backend = backend if isinstance(backend, Backend) else find_backend(backend)(workers)
        if feed is not None and self.backend.simulates:
            raise BackendError(f"steps cannot arrive on {self.backend.name}: there no time passes in which they could")
        self.feed = feed
        self.instruments = _with_tracing(instruments)
        context = RunContext(workflow.workflow_id, {**workflow.inputs, **(inputs or {})}, scale, seed)
        self.engine = Engine(
            graph,
            self.tools,
            self.backend,
            slots=self.backend.capacity,
            policy=policy,
            resources=resources,
            context=context,
            instruments=self.instruments,
            toolbox=Toolbox(declared, resources, self.tools),
        )
        if feed is not None:
            # Before anybody asks whether it is done: a run without steps would be.
            self.engine.scheduler.hold()
        self.policy: Policy = policy
        self.startup_seconds = 0.0
        self.interrupted = False

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

    def _close(self) -> None:
        self.backend.close()
        for tool in list(self.tools.values()):
            tool.close()

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
        )
        if self.interrupted:
            raise Interrupted(result)
        return result

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


def _with_tracing(instruments: Sequence[Instrument]) -> Sequence[Instrument]:
    """Under an active span, or a provider that somebody set up, the run becomes part of that trace."""
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


__all__ = ["NANOSECONDS", "Interrupted", "Run", "arun", "declarations_for", "run"]
