"""What happened in a run, as data: the one record that every analysis reads.

A backend, the simulator or a reader of foreign traces makes a :class:`Timeline`; no ratio is computed here.

Rules of this module:
- All times are integer nanoseconds from the run's t = 0 (the first start call, workers already up).
- For every attempt: ``ready <= granted <= started <= ended <= known``.
- ``waits`` tile ``[ready, granted]`` without gaps where anything was waited for; waits after ``started`` are resumings,
  and ``transfer`` lies between ``granted`` and ``started``.
- Lists indexed by step are in file order; steps added during the run come last. They may be shared with the
  scheduler that filled them, so they are never changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from executor.model.workflow import Resource

AttemptOutcome = Literal["succeeded", "failed", "timed_out", "worker_died", "cancelled"]
StepStatus = Literal[
    "waiting", "ready", "running", "blocked", "resuming", "backing_off", "succeeded", "failed", "skipped", "cancelled"
]

NANOSECONDS = 1_000_000_000


class Wait(NamedTuple):
    """An interval in which an attempt waited: ``reason`` is one of backoff, barrier, ``lock.X``, ``resource.X``,
    ``rate.X``, worker, resuming; or transfer: its inputs were on their way to its worker. Nanoseconds.
    """

    reason: str
    start: int
    end: int


class Interval(NamedTuple):
    """``[start, end]`` in nanoseconds."""

    start: int
    end: int


class AttemptFailure(NamedTuple):
    """Why an attempt did not succeed. ``http_status_code`` is what the other side answered, ``retry_after_seconds`` the
    least wait that it asked for, None where it did neither.
    """

    error_type: str
    message: str = ""
    http_status_code: int | None = None
    retry_after_seconds: float | None = None


class ClockReading(NamedTuple):
    """What is known of the clock of a worker on another machine. ``offset_nanoseconds``: by how much it was ahead of
    the driver's at the last round trip. ``error_nanoseconds``: by how much a time of that worker is off at most.
    ``drift_ratio``: how much faster it runs, None where too little time was seen. ``resets``: how often it was set or
    stopped.
    """

    offset_nanoseconds: int
    error_nanoseconds: int
    drift_ratio: float | None
    round_trips: int
    resets: int


class Attempt:
    """One try at a step.

    ``index`` is the step's place in the timeline's lists, ``attempt`` counts from 1, ``parent`` is the step that made
    the call or None. ``released_by`` is the step whose end made this one ready. ``cpu_seconds`` is None where it was
    not measured. ``tokens_reserved`` and ``tokens_used`` belong to limits of tokens per minute. ``failure`` is None
    where it succeeded, was cancelled, or the cause is unknown.
    """

    __slots__ = (
        "_waits", "attempt", "blocked", "cpu_seconds", "ended", "failure", "granted", "index", "known", "outcome",
        "parent", "ready", "released_by", "started", "step_id", "tokens_reserved", "tokens_used", "worker",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        step_id: str,
        attempt: int,
        ready: int,
        granted: int,
        released_by: str | None = None,
        parent: str | None = None,
        waits: str | Sequence[Wait] | None = None,
    ) -> None:
        self.index = index
        self.step_id = step_id
        self.attempt = attempt
        self.ready = ready
        self.granted = granted
        self.released_by = released_by
        self.parent = parent
        self._waits = waits
        self.started: int | None = None
        self.ended: int | None = None
        self.known: int | None = None
        self.blocked: Sequence[Interval] = ()
        self.worker: str | None = None
        self.cpu_seconds: float | None = None
        self.outcome: AttemptOutcome | None = None
        self.failure: AttemptFailure | None = None
        self.tokens_reserved: int | None = None
        self.tokens_used: int | None = None

    @property
    def devices(self) -> Mapping[str, Sequence[str]] | None:
        """By kind, the ids of the devices that it had from grant to end; None where it needed none."""
        return None

    @property
    def waits(self) -> Sequence[Wait]:
        """Every wait with its reason. A single reason for the whole wait is kept as a bare string: most steps wait
        for one thing or for nothing, and a million of them have to fit in memory.
        """
        waits = self._waits
        if waits is None:
            return ()
        if isinstance(waits, str):
            return (Wait(waits, self.ready, self.granted),) if self.granted > self.ready else ()
        return waits

    @waits.setter
    def waits(self, waits: str | Sequence[Wait] | None) -> None:
        self._waits = waits

    def add_wait(self, wait: Wait) -> None:
        """Append a wait (the resuming ones come after ``started``)."""
        if isinstance(self._waits, list):
            self._waits.append(wait)
        else:
            self._waits = [*self.waits, wait]

    def __repr__(self) -> str:
        return (
            f"<Attempt {self.step_id!r} #{self.attempt} ready={self.ready} granted={self.granted} "
            f"started={self.started} ended={self.ended} known={self.known} outcome={self.outcome}>"
        )


class DeviceAttempt(Attempt):
    """An attempt that has devices. A class of its own, so that all others take no memory and no time for them."""

    __slots__ = ("held_devices",)

    held_devices: Mapping[str, Sequence[str]] | None

    @property
    def devices(self) -> Mapping[str, Sequence[str]] | None:
        """By kind, the ids of its devices."""
        return self.held_devices


@dataclass(slots=True)
class Timeline:
    """A whole run. Lists are indexed by step (``step_ids[i]``, ``statuses[i]``, …).

    ``data_parents[i]`` and ``order_parents[i]`` are the indices that step i depends on; ``nested_in[i]`` is the index
    of the calling step or -1. ``needs[i]`` maps a resource to the units held, of devices also to a share or to
    memory, or is None. ``workers`` and the capacities in ``resources`` are the largest that held during the run.
    ``attempts`` are in order of grant.
    ``capacity_changes``: of resources whose capacity was found out, (nanoseconds, capacity from then on). ``tools[i]``
    names the tool of step i, None where it is unknown; empty where no step's tool is known.
    ``worker_changes``: where the number of workers changed, (nanoseconds, workers from then on), the first at t = 0.
    ``clocks``: of each worker whose times were measured by another clock than the driver's.
    ``reused``: the steps whose result an earlier run left; they have no attempt here. ``cached``: those of them whose
    result any run might have left, by making the same call.
    """

    step_ids: Sequence[str]
    data_parents: Sequence[Sequence[int]]
    order_parents: Sequence[Sequence[int]]
    statuses: Sequence[StepStatus]
    attempts: Sequence[Attempt]
    workers: int
    nested_in: Sequence[int] = ()
    needs: Sequence[Mapping[str, float] | None] = ()
    resources: Mapping[str, Resource] = field(default_factory=dict)
    policy: str = "dataflow"
    backend: str = ""
    startup_seconds: float = 0.0
    capacity_changes: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    worker_changes: Sequence[tuple[int, int]] = ()
    clocks: Mapping[str, ClockReading] = field(default_factory=dict)
    tools: Sequence[str | None] = ()
    reused: Collection[int] = ()
    cached: Collection[int] = ()

    @property
    def makespan_nanoseconds(self) -> int:
        """From t = 0 to the last end; 0 without attempts."""
        return max((attempt.ended for attempt in self.attempts if attempt.ended is not None), default=0)

    @property
    def makespan_seconds(self) -> float:
        """From t = 0 to the last end; 0 without attempts."""
        return self.makespan_nanoseconds / NANOSECONDS
