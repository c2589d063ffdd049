"""From a loaded file to a run and its document: what `run` does once, and a benchmark many times.

Rules of this module:
- Model tools without an endpoint get the configuration's; without one there, a stand-in that lives as long as the run.
- The configuration's key goes to the configuration's endpoint alone.
- An interrupted run comes back like any other (``run.interrupted``): nothing that was finished is lost.
- Steps on threads may change the current folder of this process: after a run it is what it was before, so that results
  are written where they were asked for and the next run finds what this one found.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from executor.backends import make_backend
from executor.backends.virtual import VirtualBackend
from executor.engine.instruments import Instrument
from executor.feed import Feed
from executor.journal.journal_errors import JournalError
from executor.model.workflow import ToolDeclaration
from executor.running import Interrupted, Run, RunOptions, run
from executor.scheduler import Policy as ScheduledPolicy
from harness.analysis import Summary, summary
from harness.config import BEST, LOCAL, LanguageModel, Policy
from harness.environment import environment_facts, usable_cores
from harness.result import Document, Repetition, result_document, run_document
from harness.scenario.scenario_model import Loaded
from harness.standin.declarations import (
    names_called,
    names_without_model,
    needs_stand_in,
    points_at_stand_in,
    with_stand_in,
)
from harness.start_clock import StartClock
from harness.telemetry.spans.trace_session import RunName, Tracing

if TYPE_CHECKING:
    from executor.journal.kept_run import Journal, Resume
    from executor.output_cache.cached_outputs import Cache
    from harness.standin import StandIn

# Where a run is kept, by its id and that of its trace.
Keep: TypeAlias = "Callable[[str, str | None], Journal | Resume]"


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a loaded file. ``simulated``: no tool ran; ``stand_in``: the stand-in answered for a model.
    ``zero_at``: when t = 0 was, ISO 8601. ``assumed``: the steps whose duration nobody knew, on the virtual clock.
    ``order``: how the order of starts was found, under the policy ``best``.
    """

    loaded: Loaded
    run: Run
    executor: str
    started_at: datetime
    simulated: bool
    stand_in: bool
    zero_at: str | None = None
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    trace_id: str | None = None
    assumed: Collection[str] = ()
    order: Document | None = None

    def figures(self) -> Summary:
        """Every figure of the run."""
        return summary(self.run.timeline, usable_cores=usable_cores())

    def repetition(self, *, baseline_seconds: float | None = None) -> Repetition:
        """The run as the result document takes it."""
        return Repetition(
            timeline=self.run.timeline,
            outputs=self.run.outputs,
            errors=self.run.errors,
            baseline_seconds=baseline_seconds,
            usable_cores=usable_cores(),
            steps={step.step_id: step for step in self.loaded.graph.steps},
            started_at=self.zero_at,
            trace_id=self.trace_id,
            facts=self.run.facts,
            reused=self.run.reused,
            resumed=self.run.resumed,
        )

    def result(self, figures: Summary | None = None, *, encoded_steps: bool = False) -> Document:
        """One entry of ``results``: this run alone. ``figures``: those of :meth:`figures`, where they are at hand.
        ``encoded_steps``: see :func:`.result_document`.
        """
        return result_document(
            [self.repetition()],
            executor=self.executor,
            parameters=self.loaded.parameters,
            summaries=None if figures is None else [figures],
            order=self.order,
            encoded_steps=encoded_steps,
        )


def execute(
    loaded: Loaded,
    *,
    executor: str = "threads",
    workers: int | None = None,
    policy: Policy = "dataflow",
    seed: int | None = None,
    llm: LanguageModel | None = None,
    backend_options: Mapping[str, str] | None = None,
    instruments: Sequence[Instrument] = (),
    tracing: Tracing | None = None,
    feed: Feed | None = None,
    keep: Keep | None = None,
    resumed: tuple[str, str | None] | None = None,
    cache: Callable[[str], Cache] | None = None,
) -> Execution:
    """Run a loaded file once and wait for its end.

    ``workers`` None: the executor's own default (8; processes: the usable cores; serial: 1). ``seed`` None: the
    scenario's. ``policy``: of ``best`` the order is in the priorities of the steps. ``llm``: the endpoint for model
    tools that name none. ``feed`` adds steps while the run goes on. ``keep`` says where the run is kept while it goes
    on; one that cannot be kept runs all the same, and says so. ``resumed``: the ids of the run that it goes on from and
    of its trace, for its own trace. ``cache``, by the run's id, holds what steps with ``cache: inputs`` take from
    earlier runs and leave for later ones.

    Raises:
        BackendError: there is no such executor, or it cannot be had.
        WorkflowError: a tool cannot be made.
        JournalError: the run that is to be resumed cannot be.

    """
    backend = make_backend(executor, workers, backend_options)
    simulated = backend.simulates
    if isinstance(backend, VirtualBackend):
        backend.expected_outputs = loaded.scenario.expected_outputs
    seed = loaded.scenario.seed if seed is None else seed
    started_at = datetime.now(UTC)
    clock = StartClock()
    run_id = uuid.uuid4().hex
    traced = None if tracing is None else tracing.begin(_name(run_id, loaded, resumed))
    with ExitStack() as open_things:
        if not simulated and llm is not None and calls_a_model(loaded, every_tool=feed is not None):
            from harness.local_llm import local_model, suited  # noqa: PLC0415 - few runs ask a model of this machine

            llm = open_things.enter_context(local_model(llm, needs_name=lacks_model(loaded)))
            loaded = suited(loaded, llm)
        tools, standin = open_things.enter_context(
            ready_tools(loaded, llm=llm, simulated=simulated, seed=seed, every_tool=feed is not None)
        )
        trace = None if traced is None else traced.trace_id
        options: RunOptions = {
            "backend": backend,
            "policy": scheduled(policy),
            "tools": tools,
            "resources": loaded.resources,
            "seed": seed,
            "instruments": [*instruments, clock, *(() if traced is None else [traced.instrument])],
            "scale": loaded.scenario.scale,
            "graph": loaded.graph,
            "feed": feed,
        }
        if cache is not None and not simulated:
            options["cache"] = cache(run_id)
        open_things.enter_context(current_folder_kept())
        try:
            done = _kept_run(loaded, options, None if keep is None or simulated else keep(run_id, trace))
        except Interrupted as interruption:
            done = interruption.run
        except BaseException:
            if tracing is not None and traced is not None:
                tracing.add(traced)
            raise
    stand_in = standin is not None and (
        standin.asked or points_at_stand_in(tools, [step.tool for step in loaded.graph.steps])
    )
    done.timeline.policy = policy
    if simulated:
        done.warnings.extend(cache_assumed(loaded))
    if tracing is not None and traced is not None:
        tracing.add(traced, done.timeline)
    trace_id = None if traced is None else traced.trace_id
    return Execution(
        loaded, done, executor, started_at, simulated, stand_in, clock.started_at, run_id, trace_id,
        backend.assumed if isinstance(backend, VirtualBackend) else (),
    )  # fmt: skip


@contextmanager
def current_folder_kept() -> Iterator[None]:
    """Go back to the current folder at the end of the block, wherever steps have gone."""
    try:
        # Not its name: it may be gone, or get another one.
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # a folder that may not be read
        yield
        return
    try:
        yield
    finally:
        os.fchdir(folder)
        os.close(folder)


def scheduled(policy: Policy) -> ScheduledPolicy:
    """The policy of the scheduler: ``best`` is ``dataflow`` with the priorities that were found."""
    return "dataflow" if policy == BEST else policy


def _name(run_id: str, loaded: Loaded, resumed: tuple[str, str | None] | None) -> RunName:
    run, trace = (None, None) if resumed is None else resumed
    return RunName(run_id, loaded.scenario.scenario, resumed_run=run, resumed_trace=trace)


def _kept_run(loaded: Loaded, options: RunOptions, kept: Journal | Resume | None) -> Run:
    """Run it, and keep it if that is possible.

    Raises:
        JournalError: it goes on from another run, and cannot.
    """
    if kept is None:
        return run(loaded.workflow, **options)
    from executor.journal.kept_run import Resume  # noqa: PLC0415  # SQLite, only where a run is kept

    if isinstance(kept, Resume):
        options["resume"] = kept
        return run(loaded.workflow, **options)
    options["journal"] = kept
    try:
        return run(loaded.workflow, **options)
    except JournalError as error:
        # Said before anything began.
        del options["journal"]
        done = run(loaded.workflow, **options)
        done.warnings.append(f"the run was not kept while it went on, so it could not be resumed: {error}")
        return done


def cache_assumed(loaded: Loaded) -> list[str]:
    """What is assumed of steps with ``cache: inputs`` where nothing runs; nothing where there is none."""
    cached = [step.step_id for step in loaded.graph.steps if step.cache is not None]
    if not cached:
        return []
    those = repr(cached[0]) if len(cached) == 1 else f"{len(cached):,} steps with `cache: inputs`"
    return [f"only a run knows what is in the cache: {those} {'is' if len(cached) == 1 else 'are'} taken to run"]


def calls_a_model(loaded: Loaded, *, every_tool: bool = False) -> bool:
    """Whether a step, or the code of one, may ask a model for which no endpoint is named (``every_tool``: any tool)."""
    used = set(loaded.tools) if every_tool else {step.tool for step in loaded.graph.steps if step.tool is not None}
    return needs_stand_in(loaded.tools, names_called(loaded.tools, used))


def lacks_model(loaded: Loaded) -> bool:
    """Whether a step asks an endpoint that it does not name for a model that it does not name either. What the code of
    a step asks for is not known before.
    """
    steps = loaded.graph.steps
    asking = names_without_model(loaded.tools, {step.tool for step in steps if step.tool is not None})
    return any(step.tool in asking and not (step.args or {}).get("model") for step in steps)


def workers_for(executor: str, asked: int | None, configured: int | None) -> int | None:
    """How many workers: those asked for, else the configured ones; None is the executor's default.

    ``serial`` has one whatever the configuration says of the others; asking it for more is a fault.
    """
    return asked if asked is not None or executor == "serial" else configured


@contextmanager
def ready_tools(
    loaded: Loaded,
    *,
    llm: LanguageModel | None = None,
    simulated: bool = False,
    seed: int = 0,
    every_tool: bool = False,
) -> Iterator[tuple[dict[str, ToolDeclaration], StandIn | None]]:
    """The declarations with every endpoint filled in, and the stand-in, if one may be asked; it ends with the block.
    ``every_tool``: any of them may be used, not only those that the steps name.
    """
    used = {step.tool for step in loaded.graph.steps if step.tool is not None}
    if every_tool:
        used |= set(loaded.tools)
    used = names_called(loaded.tools, used)
    tools = with_endpoint(loaded.tools, used, llm or LanguageModel())
    if simulated or not needs_stand_in(tools, used):
        yield tools, None
        return
    from harness.standin import StandIn  # noqa: PLC0415 - a server, for those who need it

    with StandIn(seed=seed, scale=loaded.scenario.scale) as standin:
        yield with_stand_in(tools, used, standin.base_url), standin


def with_endpoint(
    declarations: Mapping[str, ToolDeclaration], names_used: set[str], llm: LanguageModel
) -> dict[str, ToolDeclaration]:
    """The declarations, in which model tools that name no ``base_url`` use the configuration's."""
    found = dict(declarations)
    if llm.base_url is None or llm.base_url == LOCAL:
        # The local model has an address where it was started; it was not where no step asks a model.
        return found
    if "llm" in names_used:
        found.setdefault("llm", ToolDeclaration(kind="llm"))
    for name, declaration in found.items():
        options = declaration.options
        if declaration.kind != "llm" or options.get("base_url") is not None:
            continue
        words: dict[str, Any] = {"read_timeout_seconds": llm.timeout_seconds, "model": llm.model}
        if llm.api_key is not None and "api_key_env" not in options:
            words["api_key"] = llm.api_key.get_secret_value()
        given = declaration.model_dump(exclude_unset=True, exclude_none=True)
        found[name] = ToolDeclaration.model_validate({**words, **given, "base_url": llm.base_url})
    return found


def document_of(execution: Execution, result: Document | None = None) -> Document:
    """The whole ``makespan.run/1`` document of one run; ``result`` spares making it again."""
    environment = {**environment_facts(), "stand_in": execution.stand_in, "simulated": execution.simulated}
    return run_document(
        run_id=execution.run_id,
        scenario=execution.loaded.scenario.scenario,
        started_at=execution.started_at.isoformat(timespec="milliseconds"),
        environment=environment,
        results=[execution.result() if result is None else result],
    )
