"""Times of calls as their answers state them, in the run's own time: nanoseconds since t = 0 of the driver's clock.

Rules of this module:
- Processes of this machine share its clock: their times are taken as they are.
- Spans that the code of a step opened on another machine are brought along: they come as instants of its monotonic
  clock (:mod:`executor.tracing.worker_spans`) and become instants of the driver's wall clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from executor.backends.clocks.cluster_clocks import ClusterClocks, Span
from executor.host_id import host, machine
from executor.record.timeline import Attempt


class StatedTimes(Protocol):
    """What a worker says of a call. ``started`` and ``ended`` are nanoseconds of the clock of ``machine``."""

    @property
    def started(self) -> int:
        """Its begin."""

    @property
    def ended(self) -> int:
        """Its end."""

    @property
    def machine(self) -> str:
        """Whose clock it was."""

    @property
    def worker(self) -> str:
        """Who ran it."""

    @property
    def host(self) -> str:
        """Where that is."""


class PlacedTimes:
    """Of one run: when calls were sent and came back, and what that tells of clocks."""

    def __init__(self) -> None:
        self.clocks = ClusterClocks()
        self._sent: dict[Attempt, int] = {}
        self._returned: dict[Attempt, int] = {}

    def note_sending(self, attempt: Attempt, now: int) -> None:
        """It is submitted next. ``now`` is the driver's clock."""
        self._sent[attempt] = now

    def note_return(self, attempt: Attempt, now: int) -> None:
        """Its answer is here, or it is known that there will be none. From any thread."""
        self._returned[attempt] = now

    def forget(self, attempt: Attempt) -> None:
        """There was no answer."""
        self._sent.pop(attempt, None)
        self._returned.pop(attempt, None)

    def spans(self, attempt: Attempt, stated: Sequence[StatedTimes], origin: int) -> Sequence[Span]:
        """When the calls of one message (that of ``attempt``) started and ended, since t = 0."""
        sent = self._sent.pop(attempt, origin + attempt.granted)
        returned = self._returned.pop(attempt, sent)
        first = stated[0]
        found: Sequence[Span] = [(one.started, one.ended) for one in stated]
        if first.machine != machine():
            worker = worker_name(first.host, first.worker)
            found = self.clocks.on_driver(first.machine, worker, found, sent=sent, returned=returned)
        return [(started - origin, ended - origin) for started, ended in found]

    def facts(self, where: str, facts: dict[str, Any], carrier: Mapping[str, str] | None) -> dict[str, Any]:
        """The facts of a call, with its spans on the driver's clock."""
        if where == machine() or carrier is None:
            return facts
        from executor.tracing.worker_spans import moved_facts  # noqa: PLC0415  # only where there is a trace

        return moved_facts(facts, carrier, lambda instant: self.clocks.instant(where, instant))


def worker_name(where: str, worker: str) -> str:
    """A worker of this host by its own name, any other with its host's."""
    return worker if where in ("", host()) else f"{where} {worker}"
