"""What a run is given by name, and what it leaves: data alone.

Rules of this module:
- It imports nothing heavy: who imports :func:`executor.run` pays for a run when there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from executor.backends import Backend
    from executor.dependencies import Graph
    from executor.engine.engine import StepError
    from executor.engine.instruments import Instrument
    from executor.feed import Feed
    from executor.journal.earlier_run import EarlierRun
    from executor.journal.kept_run import Journal, Resume
    from executor.model.workflow import Resource, Workflow
    from executor.output_cache.cached_outputs import Cache
    from executor.record.timeline import Attempt, StepStatus, Timeline
    from executor.scheduler import Policy
    from executor.tools.registry import Declared


@dataclass(slots=True, repr=False)
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

    def __repr__(self) -> str:
        """One line: a notebook shows it of a cell that ends with a run, and a run may have a million steps."""
        counts = ", ".join(f"{count} {status}" for status, count in Counter(self.statuses.values()).most_common())
        ended = "interrupted, " if self.interrupted else ""
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return (
            f"<Run of {self.workflow.workflow_id!r} on {self.backend}, {workers}: {ended}{counts or 'no steps'}, "
            f"{self.timeline.makespan_seconds:.3g} s; see outputs, errors, timeline>"
        )

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
